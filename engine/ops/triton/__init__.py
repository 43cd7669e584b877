"""The operations as fused Triton kernels; import from its modules, which need triton."""
