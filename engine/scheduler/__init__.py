"""What runs in the next step: sequences of segments, KV blocks, codec chunks, one `Batch` a step. No torch."""
