"""Sampling without sorting: one program a row.

The host takes no part.
Thresholds of top-k and top-p are found by fixing the bits of an order-preserving integer key from the highest down;
counting replaces sorting, so that ties at the threshold survive by construction.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.base import SamplingTensors
from engine.ops.triton.launch import arrive, overlap, start

MOST_IDS = 1 << 15  # a program holds a row of them in registers


@triton.jit
def _key(x, BITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Unsigned integer in the order of fp32 x.

    Of BITS bits; 16 are enough where x came from bf16.
    """
    bits = (x + 0.0).to(tl.uint32, bitcast=True)  # adding 0 turns -0 into 0
    key = tl.where((bits >> 31) != 0, bits ^ 0xFFFFFFFF, bits ^ 0x80000000)
    return (key >> (32 - BITS)).to(tl.int64 if BITS == 32 else tl.int32)


@triton.jit
def _kth_highest(key, k, BITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Highest t with at least k keys >= t.

    Two bits a round: three counts travel in one integer.
    Loops stay loops: unrolled, the code outgrows the instruction cache and its fetching is what takes the time.
    """
    t = tl.zeros((), key.dtype)
    shift = tl.full((), BITS, key.dtype)
    for _ in tl.range(BITS // 2):
        shift -= 2
        reach = (key - t) >> shift  # keys below t are negative and reach no candidate
        one, two, three = (reach >= 1).to(tl.int64), (reach >= 2).to(tl.int64), (reach >= 3).to(tl.int64)
        counts = tl.sum(one + (two << 20) + (three << 40), 0)
        steps = ((counts & 0xFFFFF) >= k).to(key.dtype)
        steps += (((counts >> 20) & 0xFFFFF) >= k).to(key.dtype) + ((counts >> 40) >= k).to(key.dtype)
        t += steps << shift
    return t


@triton.jit
def _tail_end(key, share, tail, BITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Highest t whose lower keys hold at most `tail`.

    In sums of the probability `share`.
    """
    t = tl.zeros((), key.dtype)
    bit = tl.full((), 1, key.dtype) << (BITS - 1)
    for _ in tl.range(BITS):
        candidate = t + bit
        below = tl.sum(tl.where(key < candidate, share, 0.0), 0)
        t = tl.where(below <= tail, candidate, t)
        bit = bit >> 1
    return t


@triton.jit
def _nucleus(key, share, v, tail, BITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """What survives when the lowest probabilities, `tail` together, are dropped.

    Of equals the first go first.
    """
    end = _tail_end(key, share, tail, BITS)
    tied = key == end
    below = tl.sum(tl.where(key < end, share, 0.0), 0)
    dropped = below + tl.cumsum(tl.where(tied, share, 0.0), 0) <= tail
    best = tl.max(tl.where(key == tl.max(key, 0), v, 0), 0)
    return (key > end) | (tied & (dropped == 0)) | (v == best)


@triton.jit
def _draw(scores, v, temperature, top_k, top_p, uniform, V: tl.constexpr, BITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Id by the inverse transform of `uniform` over scores.

    scores (padded V,), -inf where impossible.
    """
    best = tl.max(scores, 0)
    if temperature > 0.0:
        key = _key(scores, BITS)
        keep = scores > float("-inf")
        if top_k > 0:
            keep = keep & (key >= _kth_highest(key, top_k, BITS))
        share = tl.where(keep, tl.exp((scores - best) * (1.0 / temperature)), 0.0)
        if top_p < 1.0:
            keep = keep & _nucleus(key, share, v, (1.0 - top_p) * tl.sum(share, 0), BITS)
            share = tl.where(keep, share, 0.0)
        reached = tl.cumsum(share, 0)
        hit = keep & (reached >= uniform * tl.max(reached, 0))
        # Rounding may leave the very end unreached: then it is the last that was kept, found by the same reduction.
        drawn = tl.min(tl.where(hit, v, tl.where(keep, 2 * V - v, 3 * V)), 0)
        drawn = tl.where(drawn < V, drawn, 2 * V - drawn)
    else:
        drawn = tl.min(tl.where(scores == best, v, V), 0)
    return tl.minimum(tl.maximum(drawn, 0), V - 1)  # inside the row even where no score is a number


@triton.jit
def _sample(
    logits_ptr,  # (R, V)
    temperature_ptr,  # (R,)
    top_k_ptr,
    top_p_ptr,
    uniform_ptr,
    penalty_ptr,  # (R,)
    seen_ptr,  # (S, V) bool
    slots_ptr,  # (R,)
    may_end_ptr,  # (R,) bool
    allowed_ptr,  # (V,) bool
    out_ptr,  # (R,) int64
    table_ptr,  # (V, WIDTH)
    rows_ptr,  # (R, WIDTH): the table's rows of the drawn ids
    uniform_stride,
    slots_stride,
    end_id,
    V: tl.constexpr,
    PAD: tl.constexpr,
    BITS: tl.constexpr,
    FIRST: tl.constexpr,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,  # a power of two, WIDTH or more
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    row = tl.program_id(0)
    v = tl.arange(0, PAD)
    temperature, top_k, top_p = tl.load(temperature_ptr + row), tl.load(top_k_ptr + row), tl.load(top_p_ptr + row)
    arrive(OVERLAP)
    uniform = tl.load(uniform_ptr + row * uniform_stride)
    scores = tl.load(logits_ptr + row * V + v, mask=v < V, other=float("-inf")).to(tl.float32)
    if FIRST:
        seen_at = seen_ptr + tl.load(slots_ptr + row * slots_stride) * V
        seen = tl.load(seen_at + v, mask=v < V, other=0) != 0
        rate = tl.load(penalty_ptr + row)
        scores = tl.where(seen, tl.where(scores < 0, scores * rate, scores * (1.0 / rate)), scores)
        possible = tl.load(allowed_ptr + v, mask=v < V, other=0) != 0
        possible = possible & ((v != end_id) | (tl.load(may_end_ptr + row) != 0))
        scores = tl.where(possible, scores, float("-inf"))
    drawn = _draw(scores, v, temperature, top_k, top_p, uniform, V, BITS)
    tl.store(out_ptr + row, drawn.to(tl.int64))
    if FIRST:
        tl.store(seen_at + drawn, 1)
    if WIDTH > 0:
        k = tl.arange(0, WIDE)
        inside = k < WIDTH
        tl.store(rows_ptr + row * WIDTH + k, tl.load(table_ptr + drawn * WIDTH + k, mask=inside), mask=inside)


@triton.jit
def _philox(
    seeds_ptr, frames_ptr, out_ptr, frames_stride, COUNT: tl.constexpr, PAD: tl.constexpr, OVERLAP: tl.constexpr
):  # type: ignore[no-untyped-def]
    """Philox 4x32-10: the first word of each column.

    With key = seed, counter = (frame, column, 0, 0).
    """
    start(OVERLAP)
    arrive(OVERLAP)
    row = tl.program_id(0)
    column = tl.arange(0, PAD)
    seed = tl.load(seeds_ptr + row)
    low, high = (seed & 0xFFFFFFFF).to(tl.uint32), ((seed >> 32) & 0xFFFFFFFF).to(tl.uint32)
    first = (tl.load(frames_ptr + row * frames_stride) + tl.zeros((PAD,), tl.int64)).to(tl.uint32)
    second = column.to(tl.uint32)
    third, fourth = tl.zeros((PAD,), tl.uint32), tl.zeros((PAD,), tl.uint32)
    for _ in tl.static_range(10):
        a, b = tl.full((PAD,), 0xD2511F53, tl.uint32), tl.full((PAD,), 0xCD9E8D57, tl.uint32)
        above, beyond = tl.umulhi(first, a), tl.umulhi(third, b)
        first, second, third, fourth = beyond ^ second ^ low, third * b, above ^ fourth ^ high, first * a
        low += 0x9E3779B9
        high += 0xBB67AE85
    uniform = ((first >> 8).to(tl.float32) + 0.5) * 5.9604644775390625e-08  # 2^-24
    tl.store(out_ptr + row * COUNT + column, uniform, mask=column < COUNT)


def uniforms(seeds: Tensor, frames: Tensor, count: int) -> Tensor:
    """Addressed randomness (R, count), as `Ops.uniforms`."""
    out = torch.empty(len(seeds), count, dtype=torch.float32, device=seeds.device)
    _philox[(len(seeds),)](
        seeds,
        frames,
        out,
        frames.stride(0),
        COUNT=count,
        PAD=triton.next_power_of_2(count),
        num_warps=1,
        **overlap(seeds.device),
    )
    return out


@dataclass(frozen=True, slots=True)
class Rules:
    """Logits processors of the talker, as in `Ops.sample_talker`."""

    penalty: Tensor
    generated_mask: Tensor
    slots: Tensor
    may_end: Tensor
    allowed: Tensor
    end_id: int


def misfit(logits: Tensor) -> str | None:
    """Vocabulary that `sample` does not take."""
    return f"{logits.shape[1]} ids" if logits.shape[1] > MOST_IDS else None


def sample(
    logits: Tensor, params: SamplingTensors, rules: Rules | None = None, table: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Draw one id a row, with its row of `table`.

    Ids (R,), rows (R, width), or empty without a table.
    """
    rows, vocab = logits.shape
    width = 0 if table is None else table.shape[1]
    ids = torch.empty(rows, dtype=torch.int64, device=logits.device)
    fetched = logits.new_empty(rows, width)
    exact = rules is None and logits.dtype == torch.bfloat16  # bf16 differs in its upper half alone
    _sample[(rows,)](
        logits,
        params.temperature,
        params.top_k,
        params.top_p,
        params.uniform,
        rules and rules.penalty,
        rules and rules.generated_mask,
        rules and rules.slots,
        rules and rules.may_end,
        rules and rules.allowed,
        ids,
        table,
        fetched,
        params.uniform.stride(0),
        rules.slots.stride(0) if rules else 0,
        rules.end_id if rules else 0,
        V=vocab,
        PAD=triton.next_power_of_2(vocab),
        BITS=16 if exact else 32,
        FIRST=rules is not None,
        WIDTH=width,
        WIDE=triton.next_power_of_2(width),
        num_warps=8 if rules is None else 16,
        **overlap(logits.device),
    )
    return ids, fetched
