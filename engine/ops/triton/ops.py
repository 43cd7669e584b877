"""`Ops` as fused Triton kernels.

Sizes that one does not take are the reference's.
"""

from torch import Tensor

from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Rope, SamplingTensors
from engine.ops.fallbacks import Fallbacks
from engine.ops.reference import ReferenceOps
from engine.ops.triton import rows, sampling
from engine.ops.triton.attention import dense, heads, paged
from engine.ops.triton.gemm import plan


class TritonOps(ReferenceOps):
    """`Ops` for bf16 on one CUDA device."""

    name = attention = "triton"

    def __init__(self) -> None:
        self._fallbacks = Fallbacks()

    def rms_norm(self, x: Tensor, norm: Tensor, eps: float) -> Tensor:
        if x.dim() > 2 or self._plain("rms_norm", rows.misfit(x)):
            return super().rms_norm(x, norm, eps)
        return rows.rms_norm(x, norm, eps)

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        if self._plain("linear", plan.misfit(x)):
            return super().linear(x, weight)
        return plan.linear(x, weight)

    def norm_linear(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float, normed: Tensor | None = None) -> Tensor:
        if self._plain("norm_linear", plan.misfit(x)):
            return super().norm_linear(x, norm, weight, eps, normed)
        return plan.linear(x, weight, norm, eps=eps, normed=normed)

    def linear_residual(
        self, x: Tensor, weight: Tensor, residual: Tensor, norm: Tensor, eps: float
    ) -> tuple[Tensor, Tensor | None]:
        if self._plain("linear_residual", plan.misfit(x)):
            return super().linear_residual(x, weight, residual, norm, eps)
        return plan.linear_residual(x, weight, residual, norm, eps)

    def partial_linear(self, x: Tensor, weight: Tensor, ranks: int) -> Tensor:
        if self._plain("partial_linear", plan.misfit(x)):
            return super().partial_linear(x, weight, ranks)
        return plan.partial(x, weight, ranks)

    def norm_swiglu(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float, normed: Tensor | None = None) -> Tensor:
        if self._plain("norm_swiglu", plan.misfit(x)):
            return super().norm_swiglu(x, norm, weight, eps, normed)
        return plan.linear(x, weight, norm, gated=True, eps=eps, normed=normed)

    def paged_decode(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        if self._plain("paged_decode", heads.misfit(qkv, cache)):
            return super().paged_decode(qkv, norms, rope, cache, metadata)
        return paged.decode(qkv, norms, rope, cache, metadata)

    def paged_prefill(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        if self._plain("paged_prefill", heads.misfit(qkv, cache)):
            return super().paged_prefill(qkv, norms, rope, cache, metadata)
        return paged.prefill(qkv, norms, rope, cache, metadata)

    def dense_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, start: int) -> Tensor:
        if self._plain("dense_attention", dense.misfit(qkv, cache)):
            return super().dense_attention(qkv, norms, rope, cache, start)
        return dense.attend(qkv, norms, rope, cache, start)

    def embed(self, table: Tensor, ids: Tensor, text: Tensor) -> Tensor:
        return rows.embed(table, ids, text)

    def uniforms(self, seeds: Tensor, frames: Tensor, count: int) -> Tensor:
        return sampling.uniforms(seeds, frames, count)

    def sample(self, logits: Tensor, params: SamplingTensors) -> Tensor:
        if self._plain("sample", sampling.misfit(logits)):
            return super().sample(logits, params)
        return sampling.sample(logits, params)[0]

    def sample_embed(self, logits: Tensor, params: SamplingTensors, table: Tensor) -> tuple[Tensor, Tensor]:
        if self._plain("sample_embed", sampling.misfit(logits)):
            return super().sample_embed(logits, params, table)
        return sampling.sample(logits, params, table=table)

    def sample_talker(
        self,
        logits: Tensor,
        params: SamplingTensors,
        penalty: Tensor,
        generated_mask: Tensor,
        slots: Tensor,
        may_end: Tensor,
        allowed: Tensor,
        end_id: int,
    ) -> Tensor:
        if self._plain("sample_talker", sampling.misfit(logits)):
            return super().sample_talker(logits, params, penalty, generated_mask, slots, may_end, allowed, end_id)
        rules = sampling.Rules(penalty, generated_mask, slots, may_end, allowed, end_id)
        return sampling.sample(logits, params, rules)[0]

    def _plain(self, operation: str, misfit: str | None) -> bool:
        return self._fallbacks.needed(operation, misfit)
