"""Contents of the next step, without torch.

Sequences of segments, KV blocks, codec chunks, one `Batch` a step.
"""
