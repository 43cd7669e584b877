"""Attention with head norms, rotation and cache write in the same kernel: over the paged cache, over a dense one."""
