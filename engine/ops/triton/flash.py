"""The fused kernels, with flash-attn for the talker's attention: one of ours norms, rotates and stores before it."""

from importlib import metadata

from torch import Tensor

from engine.ops import flash
from engine.ops.interface import HeadNorms, LayerCache, Rope
from engine.ops.places import Places
from engine.ops.triton import attention
from engine.ops.triton.ops import TritonOps


class FlashOps(TritonOps):
    """For bf16 on one CUDA device; see `Ops` for the meaning of every method."""

    attention = f"flash-attn {metadata.version('flash_attn')}"
    block_size = flash.PAGE
    misfit = staticmethod(flash.misfit)

    def decode_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, places: Places) -> Tensor:
        return flash.decode(attention.fill(qkv, norms, rope, cache, places), cache, places)

    def prefill_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, places: Places) -> Tensor:
        return flash.prefill(attention.fill(qkv, norms, rope, cache, places), cache, places)
