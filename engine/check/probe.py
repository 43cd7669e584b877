"""Operations under watch.

A probe passes every call on to a device's operations. It notes the largest value of each result, and puts given codes
in the place of drawn ones. One probe's half layers can be recorded, and forced on another: then each half layer of the
other computes on the recorded input, and its error is its own alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.model.layers import DecoderStack
from engine.model.predictor import Predictor
from engine.model.talker import Talker
from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Ops, Rope, SamplingTensors


@dataclass(frozen=True, slots=True)
class Half:
    """Result of half a layer, with its residual.

    `base` is None for the input of a stack itself.
    """

    name: str
    out: Tensor
    base: Tensor | None


@dataclass(slots=True)
class Trace:
    """Notes of one run: in order of the calls.

    `logits` (V,) and `drawn` (1,) of each code, `halves` where they were recorded, `peaks`: name and largest magnitude
    of each result, NaN or infinite where any value is. `errors`: name, squared error and squared size of each
    forced half.
    """

    logits: list[Tensor] = field(default_factory=list)
    drawn: list[Tensor] = field(default_factory=list)
    halves: list[Half] = field(default_factory=list)
    peaks: list[tuple[str, Tensor]] = field(default_factory=list)
    errors: list[tuple[str, Tensor, Tensor]] = field(default_factory=list)


class Probe:
    """`Ops` that trace other ones, row by row."""

    def __init__(self, ops: Ops) -> None:
        self._ops = ops
        self.name, self.attention, self.block_size = ops.name, ops.attention, ops.block_size
        self.one_attention = ops.one_attention
        self.trace = Trace()
        self._record = self._following = False
        self._forced: Iterator[Half] = iter(())
        self._names: dict[int, str] = {}
        self._first: dict[int, str] = {}  # the part whose first half layer a weight belongs to
        self._codes: Sequence[int] | None = None
        self._step = 0

    def watch(self, talker: Talker, predictor: Predictor) -> None:
        """Record the names of all weights."""
        for part, stack in (("talker", talker.stack), ("predictor", predictor.stack)):
            self._names |= _named(part, stack)
            self._first[id(stack.layers[0].out)] = part
        self._names[id(talker.head)] = "head of codebook 0"
        self._names |= {id(head): f"head of codebook {g}" for g, head in enumerate(predictor.heads, 1)}

    def begin(self, record: bool = False, forced: Sequence[Half] | None = None) -> Trace:
        """Start a new trace.

        Halves are recorded, or taken from `forced`.
        """
        self._record, self._forced = record, iter(forced or ())
        self._following = forced is not None
        self.trace, self._codes = Trace(), None
        return self.trace

    def give(self, codes: Sequence[int] | None) -> None:
        """Set the codes of the next frame.

        None takes the drawn ones.
        """
        self._codes = codes

    # ---- operations

    def rms_norm(self, x: Tensor, norm: Tensor, eps: float) -> Tensor:
        return self._seen(norm, self._ops.rms_norm(x, norm, eps))

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._seen(weight, self._ops.linear(x, weight))

    def norm_linear(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float, normed: Tensor | None = None) -> Tensor:
        return self._seen(weight, self._ops.norm_linear(x, norm, weight, eps, normed))

    def linear_residual(
        self, x: Tensor, weight: Tensor, residual: Tensor, norm: Tensor, eps: float
    ) -> tuple[Tensor, Tensor | None]:
        if part := self._first.get(id(weight)):
            self._half(Half(self._input(part), residual, None))
        out = self._seen(weight, self._ops.linear_residual(x, weight, residual, norm, eps)[0])
        return self._half(Half(self._names[id(weight)], out, residual)), None  # what is forced has another norm

    def partial_linear(self, x: Tensor, weight: Tensor, ranks: int) -> Tensor:
        return self._seen(weight, self._ops.partial_linear(x, weight, ranks))

    def norm_swiglu(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float, normed: Tensor | None = None) -> Tensor:
        return self._seen(weight, self._ops.norm_swiglu(x, norm, weight, eps, normed))

    def paged_decode(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        return self._seen(norms, self._ops.paged_decode(qkv, norms, rope, cache, metadata))

    def paged_prefill(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        return self._seen(norms, self._ops.paged_prefill(qkv, norms, rope, cache, metadata))

    def dense_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, start: int) -> Tensor:
        return self._seen(norms, self._ops.dense_attention(qkv, norms, rope, cache, start))

    def embed(self, table: Tensor, ids: Tensor, text: Tensor) -> Tensor:
        return self._seen(table, self._ops.embed(table, ids, text))

    def uniforms(self, seeds: Tensor, frames: Tensor, count: int) -> Tensor:
        return self._ops.uniforms(seeds, frames, count)

    def sample(self, logits: Tensor, params: SamplingTensors) -> Tensor:
        return self._taught(logits, self._ops.sample(logits, params))

    def sample_embed(self, logits: Tensor, params: SamplingTensors, table: Tensor) -> tuple[Tensor, Tensor]:
        drawn, rows = self._ops.sample_embed(logits, params, table)
        code = self._taught(logits, drawn)
        return code, torch.where((code == drawn)[:, None], rows, F.embedding(code, table))

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
        self._step, before = 0, generated_mask.clone()
        drawn = self._ops.sample_talker(logits, params, penalty, generated_mask, slots, may_end, allowed, end_id)
        code = self._taught(logits, drawn)
        generated_mask.copy_(before)
        generated_mask[slots, code] = True
        return code

    # ---- notes

    def _taught(self, logits: Tensor, drawn: Tensor) -> Tensor:
        """The given code in place of the drawn one."""
        self.trace.logits.append(logits[0].float())
        self.trace.drawn.append(drawn)
        code = drawn if self._codes is None else torch.full_like(drawn, self._codes[self._step])
        self._step += 1
        return code

    def _seen(self, of: object, out: Tensor) -> Tensor:
        self.trace.peaks.append((self._names.get(id(of), "an embedding"), out.abs().amax()))
        return out

    def _half(self, half: Half) -> Tensor:
        if self._record:
            self.trace.halves.append(half)
        if not self._following:
            return half.out
        wanted = next(self._forced)
        assert wanted.name == half.name, f"{half.name} follows, where {wanted.name} was recorded"
        exact = wanted.out.to(half.out.device, torch.float64)
        size = exact if wanted.base is None else exact - wanted.base.to(exact)
        self.trace.errors.append((half.name, (half.out.double() - exact).square().sum(), size.square().sum()))
        return exact.to(half.out.dtype)

    def _input(self, part: str) -> str:
        """Name of a stack's input.

        The predictor's first holds the talker's hidden state with codebook 0, each later one a codebook.
        """
        return f"{part}'s input" if part == "talker" else f"embedding of codebook {self._step - 1}"


def _named(part: str, stack: DecoderStack) -> dict[int, str]:
    """Names of a stack's weights by id."""
    names = {id(stack.norm): f"{part}'s last norm"}
    for number, layer in enumerate(stack.layers):
        at = f"{part} layer {number}"
        names |= {id(weight): f"{at} attention" for weight in (layer.qkv, layer.heads, layer.out)}
        names |= {id(weight): f"{at} mlp" for weight in (layer.gate_up, layer.down)}
    return names


def forced_errors(traces: Sequence[Trace]) -> dict[str, float]:
    """Relative error of each forced half over all its calls."""
    sums: dict[str, Tensor] = {}
    for name, error, size in (each for trace in traces for each in trace.errors):
        pair = torch.stack((error, size))
        sums[name] = sums[name] + pair if name in sums else pair
    return {name: float((pair[0] / pair[1]).sqrt()) for name, pair in sums.items()}


def peaks(traces: Sequence[Trace]) -> Iterator[tuple[str, float]]:
    """Largest magnitude of each named result, in order."""
    named = [each for trace in traces for each in trace.peaks]
    values = torch.stack([value.float() for _, value in named]).tolist() if named else []
    yield from zip((name for name, _ in named), values, strict=True)
