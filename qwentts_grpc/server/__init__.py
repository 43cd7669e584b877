"""The server's process: ports, models, calls, drain; watchdog and side port beside them."""
