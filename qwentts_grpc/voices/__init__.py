"""Models, their built-in voices, voices created by callers."""
