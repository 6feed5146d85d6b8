"""What sessions told, kept in a file: one SQLite database, sealed, and the keys that open it.

`store` is the file as others use it; `tables` its rows, `keys` what opens them, `versions` how an
older file becomes one of today, `values` what goes in and comes out. The `films` of sessions lie
beside it, each a `sealed` file.
"""
