"""Parts of `python -m tools.codec`, one task a file."""
