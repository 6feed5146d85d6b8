"""How the server is: its log, its health, its figures for Prometheus."""
