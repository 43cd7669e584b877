"""Fused kernels in Triton for NVIDIA GPUs of compute capability 9.0 on (they run, less overlapped, from 8.0)."""

from engine.ops.triton.ops import TritonOps

__all__ = ["TritonOps"]
