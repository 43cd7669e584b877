"""Fused kernels with flash-attn for the talker's attention.

A kernel of ours norms, rotates and stores before it.
"""

from importlib.metadata import version

from torch import Tensor

from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Rope
from engine.ops.flash_attn import paged
from engine.ops.triton.attention.paged import store_kv
from engine.ops.triton.ops import TritonOps


class FlashOps(TritonOps):
    """`Ops` for bf16 on one CUDA device."""

    attention = f"flash-attn {version('flash_attn')}"
    block_size = paged.PAGE
    one_attention = False
    misfit = staticmethod(paged.misfit)

    def paged_decode(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        return paged.decode(store_kv(qkv, norms, rope, cache, metadata), cache, metadata)

    def paged_prefill(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        return paged.prefill(store_kv(qkv, norms, rope, cache, metadata), cache, metadata)
