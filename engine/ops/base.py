"""Interface of the operations that a device implements.

`reference.py` is the definition, in plain PyTorch; any other implementation is tested equal to it. Letters in shapes:
R rows, K input width, N output width, I intermediate width, H query heads, G key-value heads, D head width,
V vocabulary, S slots, M blocks a sequence may hold. Weights are stored (N, K) as in the checkpoint.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from engine.checkpoint.config import DecoderConfig
from engine.ops.attention_metadata import AttentionMetadata


@dataclass(frozen=True, slots=True)
class HeadNorms:
    """Per-head RMS norms before the rotary embedding.

    Weights (D,), for queries and for keys.
    """

    query: Tensor
    key: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary tables (positions, D), the halves alike.

    Computed in fp32 and rounded to the model's dtype.
    """

    cos: Tensor
    sin: Tensor


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Paged keys, values of one layer: (blocks, block_size, G, D).

    Block 0 is scratch for padded rows.
    """

    keys: Tensor
    values: Tensor


def new_caches(sizes: DecoderConfig, blocks: int, block_size: int, like: Tensor) -> list[LayerCache]:
    """Empty caches of all layers, of the device and dtype of `like`."""
    shape = (blocks, block_size, sizes.kv_heads, sizes.head_dim)
    return [LayerCache(like.new_zeros(shape), like.new_zeros(shape)) for _ in range(sizes.layers)]


@dataclass(frozen=True, slots=True)
class SamplingTensors:
    """Sampling parameters of R rows.

    temperature (R,) fp32 with 0 = greedy, top_k (R,) int32 with 0 = off,
    top_p (R,) fp32, uniform (R,) fp32 in (0, 1].
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    uniform: Tensor


class Ops(Protocol):
    """Operations of the language models.

    `block_size`: positions of a block that suit the attention. `one_attention`: `paged_prefill` gives a row whose
    past is stored what `paged_decode` gives it, bit for bit.
    """

    name: str
    attention: str
    block_size: int
    one_attention: bool

    def rms_norm(self, x: Tensor, norm: Tensor, eps: float) -> Tensor:
        """RMS norm: (R, K) -> (R, K).

        `x * rsqrt(mean(x^2) + eps)` in fp32, rounded to the dtype of x, then times norm.
        """

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """Linear map `x @ weight.T`.

        x (R, K), weight (N, K) -> (R, N).
        """

    def norm_linear(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float, normed: Tensor | None = None) -> Tensor:
        """RMS norm, then a linear map.

        x (R, K), norm (K,), weight (N, K) -> (R, N). `normed`: the RMS norm of x, where it is there already.
        """

    def linear_residual(
        self, x: Tensor, weight: Tensor, residual: Tensor, norm: Tensor, eps: float
    ) -> tuple[Tensor, Tensor | None]:
        """Linear map with residual: `residual + x @ weight.T`.

        x (R, K), weight (N, K), residual (R, N) -> (R, N), and its RMS norm where that costs less here than later.
        """

    def partial_linear(self, x: Tensor, weight: Tensor, ranks: int) -> Tensor:
        """Own part of a linear map over several ranks.

        Its inputs are dealt out to them. x (R, K), weight (N, K), K being a rank's own -> (parts, R, N) fp32, for
        `Peers.reduce`: the sum of all ranks' parts is `x @ weight.T`.
        """

    def norm_swiglu(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float, normed: Tensor | None = None) -> Tensor:
        """RMS norm, projection, then `silu(gate) * up`.

        x (R, K), weight (2 I, K), gate rows first -> (R, I). `normed` as in `norm_linear`.
        """

    def paged_decode(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        """Paged attention of one new position a row.

        Norm and rotate q and k, write k and v to the cache, attend to positions 0..own.
        qkv (R, (H + 2 G) D) -> (R, H D).
        """

    def paged_prefill(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        """As `paged_decode`, for several positions of a slot.

        All are stored before any is read. Rows of a slot adjoin, and their positions follow each other.
        """

    def dense_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, start: int) -> Tensor:
        """Dense causal attention of the code predictor.

        qkv (R, T, (H + 2 G) D) at positions start..start+T-1 of a cache (R, 16, G, D) -> (R, T, H D).
        """

    def embed(self, table: Tensor, ids: Tensor, text: Tensor) -> Tensor:
        """Text embedding plus the sum of table rows.

        table (T, K), ids (R, C) int64, text (R, K) -> (R, K).
        The sum is one reduction rounded once; adding the text rounds again.
        """

    def uniforms(self, seeds: Tensor, frames: Tensor, count: int) -> Tensor:
        """Addressed randomness: (R, count) fp32 in (0, 1].

        A function of (seed, frame, codebook) alone.
        Philox 4x32-10 (Salmon et al., SC 2011) with key = seed and counter = (frame, codebook, 0, 0); the first
        output word w gives ((w >> 8) + 0.5) / 2^24. seeds (R,) int64 (the bits of a uint64), frames (R,) int64.
        """

    def sample(self, logits: Tensor, params: SamplingTensors) -> Tensor:
        """One id a row, (R,) int64, from logits (R, V).

        Inverse transform of `params.uniform`.
        Temperature, then top-k (ties with the k-th survive), then top-p (the best always survives), softmax in fp32;
        the id is the first whose cumulative probability, in index order, reaches uniform x total.
        """

    def sample_embed(self, logits: Tensor, params: SamplingTensors, table: Tensor) -> tuple[Tensor, Tensor]:
        """`sample`, with the drawn ids' rows of `table` (V, K).

        -> (R,) int64, (R, K).
        """

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
        """`sample` after the talker's logits processors.

        In this order: repetition penalty (R,) on ids marked in `generated_mask[slots]` (S, V) bool, `end_id` forbidden
        where may_end (R,) bool is False, ids outside allowed (V,) bool suppressed. The drawn ids are then marked in
        `generated_mask`.
        """
