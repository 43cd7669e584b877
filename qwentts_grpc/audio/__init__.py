"""Audio at the edge: what leaves in the caller's encoding and rate, what comes in as a reference recording."""
