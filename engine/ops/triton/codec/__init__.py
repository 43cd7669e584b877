"""The codec decoder as fused kernels."""
