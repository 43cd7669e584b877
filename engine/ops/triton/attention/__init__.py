"""Attention kernels: over the paged cache, over a dense one.

Head norms, rotation and cache write are in the same kernel.
"""
