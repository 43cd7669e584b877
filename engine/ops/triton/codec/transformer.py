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
    """sums + x @ (high + low) for fp32 x (M, K), to about 20 bits: x is split too, less the smallest term."""
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
    """out (M, N) = residual + x (M, K) @ weight (K, N) + bias, or silu(gate) * up of weight (K, 2 N), gate first.

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
    """One head of one stream: rotate, attend to the ring's window and to the new positions, then write the ring.

    qkv (B, n, 3 H D) fp32 -> out (B, n, H D) fp32, D = 2 HALF. keys, values: this layer's part of slot 0, a slot
    being slot_stride apart: (H, ring, D), keys already rotated; position p lives at p % ring. position (slots,)
    counts what came before; turns (HALF,) fp64 is how far a position turns each pair, in full turns, so that no
    speech is too long for fp32. ring >= window - 1 + n, so what is written is never what a query of this call still
    reads. Positions and ring are those that earlier calls left, and the call's first kernel waited for all of these:
    they are read before `arrive`.
    """
    start(OVERLAP)
    stream = tl.program_id(0)
    head = tl.program_id(1)
    slot = tl.load(rows + stream)
    before = tl.load(position + slot)
    d = tl.arange(0, HALF)
    j = before - BR + tl.arange(0, BR)
    kept = (j >= 0) & (j > before - window)
    home = slot.to(tl.int64) * slot_stride + head * ring * 2 * HALF
    old = home + ((j + ring * BR) % ring)[:, None] * 2 * HALF + d[None, :]
    old_key1 = tl.load(keys + old, mask=kept[:, None], other=0.0)
    old_key2 = tl.load(keys + old + HALF, mask=kept[:, None], other=0.0)
    old_value1 = tl.load(values + old, mask=kept[:, None], other=0.0)
    old_value2 = tl.load(values + old + HALF, mask=kept[:, None], other=0.0)
    arrive(OVERLAP)

    width = heads * 2 * HALF
    q = tl.arange(0, BQ)
    real = (q < frames)[:, None]
    new = qkv + (stream * frames + q)[:, None] * 3 * width + head * 2 * HALF + d[None, :]
    turn = (before + q).to(tl.float64)[:, None] * tl.load(turns + d)[None, :]
    angle = (turn - tl.floor(turn)).to(tl.float32) * 6.283185307179586
    cos = sine(angle + 1.5707963267948966)
    sin = sine(angle)
    q1 = tl.load(new, mask=real, other=0.0)
    q2 = tl.load(new + HALF, mask=real, other=0.0)
    k1 = tl.load(new + width, mask=real, other=0.0)
    k2 = tl.load(new + width + HALF, mask=real, other=0.0)
    v1 = narrowed(tl.load(new + 2 * width, mask=real, other=0.0), keys)
    v2 = narrowed(tl.load(new + 2 * width + HALF, mask=real, other=0.0), keys)
    query1 = narrowed(q1 * cos - q2 * sin, keys)
    query2 = narrowed(q2 * cos + q1 * sin, keys)
    key1 = narrowed(k1 * cos - k2 * sin, keys)
    key2 = narrowed(k2 * cos + k1 * sin, keys)

    past = tl.dot(query2, tl.trans(old_key2), tl.dot(query1, tl.trans(old_key1))) * softmax_scale
    near = tl.dot(query2, tl.trans(key2), tl.dot(query1, tl.trans(key1))) * softmax_scale
    own = before + q
    past = tl.where(kept[None, :] & (j[None, :] > own[:, None] - window), past, float("-inf"))
    near = tl.where((q[None, :] <= q[:, None]) & (q[None, :] > q[:, None] - window), near, float("-inf"))
    largest = tl.maximum(tl.max(past, 1), tl.max(near, 1))
    past = tl.exp(past - largest[:, None])
    near = tl.exp(near - largest[:, None])
    total = (tl.sum(past, 1) + tl.sum(near, 1))[:, None]
    past = past.to(v1.dtype)
    near = near.to(v1.dtype)
    mixed1 = tl.dot(past, old_value1, tl.dot(near, v1)) / total
    mixed2 = tl.dot(past, old_value2, tl.dot(near, v2)) / total
    result = out + (stream * frames + q)[:, None] * width + head * 2 * HALF + d[None, :]
    tl.store(result, narrowed(mixed1, out), mask=real)
    tl.store(result + HALF, narrowed(mixed2, out), mask=real)

    place = home + ((before + q) % ring)[:, None] * 2 * HALF + d[None, :]
    tl.store(keys + place, key1, mask=real)
    tl.store(keys + place + HALF, key2, mask=real)
    tl.store(values + place, v1, mask=real)
    tl.store(values + place + HALF, v2, mask=real)
