"""Codec decoder as fused kernels."""
