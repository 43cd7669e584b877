"""Recordings of callers: memory bounds, decoding in child processes, quality checks."""
