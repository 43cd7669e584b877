"""The speaker encoder: a recording to an embedding."""
