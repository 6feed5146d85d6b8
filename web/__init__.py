"""The server: the dashboard, calls, the interface for other programs.

`app` puts every route in its place, `server` runs it, `settings` has its limits. Each package is
one thing that it does; imports go from `app` down: `exports`, `webrtc`, `ingest`, then `calls`,
`sessions`, `access`, and `errors` and `settings` at the bottom.
"""
