"""Recordings of callers: memory bounds, sandboxed decoding, quality checks."""
