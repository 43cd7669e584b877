"""Output speech: encodings, containers, sample rates."""
