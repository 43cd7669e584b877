"""The parts of `python -m tools.codec`; each file does one thing, and says which in its first line."""
