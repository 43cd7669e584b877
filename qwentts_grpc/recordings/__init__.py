"""Recordings that callers send: bounded in memory, decoded in child processes, judged for quality."""
