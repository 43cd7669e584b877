"""Operations as fused Triton kernels.

Import from its modules, which need triton.
"""
