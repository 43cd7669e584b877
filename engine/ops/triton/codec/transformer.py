"""Kernels of the codec's transformer.

Products of two halves' precision, and attention over a ring of past keys and values.
What comes after multiplies an error made here by more than ten, and there is little to compute at one position a frame:
so activations are fp32 and weights the sum of two halves. Keys and values are kept in half precision.
"""

import triton
import triton.language as tl

from engine.ops.triton.codec.math import narrowed, sine, store_thrice
from engine.ops.triton.launch import arrive, fetch, start


@triton.jit
def product(x, high, low, sums):
    """Product of fp32 x (M, K), to about 20 bits.

    sums + x @ (high + low): x is split too, less the smallest term.
    """
    x_high = x.to(high.dtype)
    x_low = (x - x_high.to(tl.float32)).to(high.dtype)
    sums = tl.dot(x_low, high, tl.dot(x_high, low, sums))
    return tl.dot(x_high, high, sums)


@triton.jit(do_not_specialize=["positions"])
def linear_kernel(
    x, high, low, bias, residual, out, positions, width, weight_stride, eps,
    K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    NORM: tl.constexpr, GATED: tl.constexpr, BIAS: tl.constexpr, RESIDUAL: tl.constexpr,
    THRICE: tl.constexpr, PREFETCH: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Linear layer with residual, or with gate.

    out (M, N) = residual + x (M, K) @ weight (K, N) + bias, or silu(gate) * up of weight (K, 2 N), gate first.
    weight = high + low; x, residual and out are fp32, but if THRICE out is (M, 3 N): high, low, high. NORM divides x by
    its root mean square: the norm's own weight is folded into `weight`, and the divisor, one number a row, is applied
    to the product.
    """
    start(OVERLAP)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    lane = tl.arange(0, BK)
    if PREFETCH and OVERLAP:
        for k in range(0, K, BK):
            at = (k + lane) * weight_stride + tl.program_id(0) * BN
            fetch(high + at, OVERLAP)
            fetch(low + at, OVERLAP)
            if GATED:
                fetch(high + at + width, OVERLAP)
                fetch(low + at + width, OVERLAP)
    arrive(OVERLAP)
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    x_tile = x + tl.minimum(m, positions - 1)[:, None] * K + lane[None, :]
    tile = lane[:, None] * weight_stride + n[None, :]
    squares = tl.zeros((BM,), tl.float32)
    sums = tl.zeros((BM, BN), tl.float32)
    ups = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        taken = tl.load(x_tile + k)
        if NORM:
            squares += tl.sum(taken * taken, 1)
        at = tile + k * weight_stride
        sums = product(taken, tl.load(high + at), tl.load(low + at), sums)
        if GATED:
            ups = product(taken, tl.load(high + at + width), tl.load(low + at + width), ups)
    if NORM:
        scale = 1.0 / tl.sqrt(squares / K + eps)[:, None]
        sums *= scale
        if GATED:
            ups *= scale
    if GATED:
        sums = sums * tl.sigmoid(sums) * ups
    if BIAS:
        sums += tl.load(bias + n)[None, :]
    at = m[:, None] * width + n[None, :]
    real = (m < positions)[:, None]
    if RESIDUAL:
        sums += tl.load(residual + at, mask=real)
    if THRICE:
        store_thrice(out + m[:, None] * 3 * width + n[None, :], sums, width, real)
    else:
        tl.store(out + at, sums, mask=real)


@triton.jit(do_not_specialize=["frames"])
def attention_kernel(
    qkv, keys, values, out, rows, position, turns, frames, slot_stride, heads, ring, window, softmax_scale,
    HALF: tl.constexpr, BQ: tl.constexpr, BR: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Windowed attention of one stream's head.

    Rotate, attend to the window before each new position, write the ring.
    qkv (B, n, 3 H D) fp32 -> out (B, n, H D) fp32, D = 2 HALF. keys, values: this layer's part of slot 0, a slot
    being slot_stride apart: (H, ring, D), keys already rotated; position p lives at p % ring. position (slots,)
    counts what came before; turns (HALF,) fp64 is how far a position turns each pair, in full turns, so that no
    speech is too long for fp32. ring >= window - 1 + n, so what is written is never what a query of this call still
    reads. Every position is taken at its place in the ring, so that sums have one order, however many come in a call.
    Positions and ring are those that earlier calls left, and the call's first kernel waited for all of these:
    they are read before `arrive`.
    """
    start(OVERLAP)
    stream = tl.program_id(0)
    head = tl.program_id(1)
    slot = tl.load(rows + stream)
    before = tl.load(position + slot)
    d = tl.arange(0, HALF)
    c = tl.arange(0, BR)
    last = before + frames - 1
    j = last - (last - c + BR * ring) % ring  # the position at each place, once the new ones are there
    old = (c < ring) & (j >= 0) & (j < before) & (j > before - window)
    new = (c < ring) & (j >= before)
    place = slot.to(tl.int64) * slot_stride + head * ring * 2 * HALF + c[:, None] * 2 * HALF + d[None, :]
    old_key1 = tl.load(keys + place, mask=old[:, None], other=0.0)
    old_key2 = tl.load(keys + place + HALF, mask=old[:, None], other=0.0)
    old_value1 = tl.load(values + place, mask=old[:, None], other=0.0)
    old_value2 = tl.load(values + place + HALF, mask=old[:, None], other=0.0)
    arrive(OVERLAP)

    width = heads * 2 * HALF
    q = tl.arange(0, BQ)
    own = before + q
    real = (q < frames)[:, None]
    query = qkv + (stream * frames + q)[:, None] * 3 * width + head * 2 * HALF + d[None, :]
    query1, query2 = _rotated(query, own, real, turns, HALF)
    taken = qkv + (stream * frames + j - before)[:, None] * 3 * width + head * 2 * HALF + d[None, :]
    key1, key2 = _rotated(taken + width, j, new[:, None], turns, HALF)
    key1 = tl.where(new[:, None], narrowed(key1, keys), old_key1)
    key2 = tl.where(new[:, None], narrowed(key2, keys), old_key2)
    value1 = narrowed(tl.load(taken + 2 * width, mask=new[:, None], other=0.0), keys)
    value2 = narrowed(tl.load(taken + 2 * width + HALF, mask=new[:, None], other=0.0), keys)
    value1 = tl.where(new[:, None], value1, old_value1)
    value2 = tl.where(new[:, None], value2, old_value2)

    scores = tl.dot(narrowed(query1, keys), tl.trans(key1))
    scores = tl.dot(narrowed(query2, keys), tl.trans(key2), scores) * softmax_scale
    seen = (old | new)[None, :] & (j[None, :] <= own[:, None]) & (j[None, :] > own[:, None] - window)
    scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    total = tl.sum(weights, 1)[:, None]
    weights = weights.to(value1.dtype)
    result = out + (stream * frames + q)[:, None] * width + head * 2 * HALF + d[None, :]
    tl.store(result, narrowed(tl.dot(weights, value1) / total, out), mask=real)
    tl.store(result + HALF, narrowed(tl.dot(weights, value2) / total, out), mask=real)

    tl.store(keys + place, key1, mask=new[:, None])
    tl.store(keys + place + HALF, key2, mask=new[:, None])
    tl.store(values + place, value1, mask=new[:, None])
    tl.store(values + place + HALF, value2, mask=new[:, None])


@triton.jit
def _rotated(at, position, real, turns, HALF: tl.constexpr):
    """Halves of heads (n, 2 HALF), rotated by their positions.

    Read at `at`; positions (n,).
    """
    turn = position.to(tl.float64)[:, None] * tl.load(turns + tl.arange(0, HALF))[None, :]
    angle = (turn - tl.floor(turn)).to(tl.float32) * 6.283185307179586
    cos = sine(angle + 1.5707963267948966)
    sin = sine(angle)
    low = tl.load(at, mask=real, other=0.0)
    high = tl.load(at + HALF, mask=real, other=0.0)
    return low * cos - high * sin, high * cos + low * sin
