"""Speaker encoder: a recording to an embedding."""
