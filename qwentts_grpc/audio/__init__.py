"""Speech as it leaves: encodings, containers, sample rates."""
