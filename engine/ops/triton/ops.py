"""The operations as fused Triton kernels; what they do not fit falls back to the definition."""

from torch import Tensor

from engine.ops.interface import HeadNorms, LayerCache, Picks, Rope
from engine.ops.places import Places
from engine.ops.reference import ReferenceOps
from engine.ops.triton import attention, rows, sampling
from engine.ops.triton.linear import fits, linear


class TritonOps(ReferenceOps):
    """For bf16 on one CUDA device; see `Ops` for the meaning of every method."""

    name = attention = "triton"

    def rms_norm(self, x: Tensor, norm: Tensor, eps: float) -> Tensor:
        if x.dim() > 2 or not rows.fits(x):
            return super().rms_norm(x, norm, eps)
        return rows.rms_norm(x, norm, eps)

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        return linear(x, weight) if fits(x, weight) else super().linear(x, weight)

    def norm_linear(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float) -> Tensor:
        if not fits(x, weight):
            return super().norm_linear(x, norm, weight, eps)
        return linear(x, weight, norm=norm, eps=eps)

    def linear_residual(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        if not fits(x, weight):
            return super().linear_residual(x, weight, residual)
        return linear(x, weight, residual=residual)

    def norm_swiglu(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float) -> Tensor:
        if not fits(x, weight):
            return super().norm_swiglu(x, norm, weight, eps)
        return linear(x, weight, norm=norm, gated=True, eps=eps)

    def decode_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, places: Places) -> Tensor:
        return attention.decode(qkv, norms, rope, cache, places)

    def prefill_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, places: Places) -> Tensor:
        return attention.fill_and_attend(qkv, norms, rope, cache, places)

    def short_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, start: int) -> Tensor:
        return attention.short(qkv, norms, rope, cache, start)

    def embed(self, table: Tensor, ids: Tensor, text: Tensor) -> Tensor:
        return rows.embed(table, ids, text)

    def uniforms(self, seeds: Tensor, frames: Tensor, count: int) -> Tensor:
        return sampling.uniforms(seeds, frames, count)

    def sample(self, logits: Tensor, picks: Picks) -> Tensor:
        return sampling.sample(logits, picks)[0]

    def sample_embed(self, logits: Tensor, picks: Picks, table: Tensor) -> tuple[Tensor, Tensor]:
        return sampling.sample(logits, picks, table=table)

    def sample_first(
        self,
        logits: Tensor,
        picks: Picks,
        penalty: Tensor,
        seen: Tensor,
        slots: Tensor,
        may_end: Tensor,
        allowed: Tensor,
        end_id: int,
    ) -> Tensor:
        rules = sampling.Rules(penalty, seen, slots, may_end, allowed, end_id)
        return sampling.sample(logits, picks, rules)[0]
