"""The generator against a real server: everything is sent, timed and spoken to its length."""
