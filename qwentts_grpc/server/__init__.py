"""The server process: ports, models, drain, watchdog, side port."""
