"""Who can speak: models, their built-in voices, and voices that callers created."""
