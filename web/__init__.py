"""The server: the dashboard, calls, the interface for other programs.

Each package does one thing. They import downward only, from the first to the last:

- `commands`: the commands that may show a page.
- `server`: runs the application, until Ctrl-C.
- `app`: the application; puts every route in its place, and lists them.
- `exports`, `ingest`, `webrtc`: files to take away; media by WebSocket; media by WHIP and WHEP.
- `calls`: the rooms, and who is in them.
- `sessions`: those that run and those that ended, uploads.
- `access`, `observability`: who may do what, and how much; logs, health, metrics.
- `errors`, `settings`: refusals; options and limits.
"""
