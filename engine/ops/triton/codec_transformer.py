"""The codec's transformer: RMS norm fused into the product behind it, and attention over a ring of past keys and values."""

import triton
import triton.language as tl

from engine.ops.triton.codec_math import narrowed, sine
from engine.ops.triton.launch import arrive, start


@triton.jit
def norm_linear_kernel(
    x, weight, bias, out, positions, width, weight_stride, out_stride, eps,
    K: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GATED: tl.constexpr, BIAS: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    """out (M, N) = rms(x) @ weight (K, N) + bias, or silu(gate) * up with weight (K, 2 N), gate columns first.

    x (M, K) fp32. The norm's own weight is folded into `weight`, and its divisor, one number a row, is applied to the
    product: the squares are summed while the tiles pass by.
    """
    start(OVERLAP)
    arrive(OVERLAP)
    m = tl.program_id(1) * BM + tl.arange(0, BM)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    lane = tl.arange(0, BK)
    x_tile = x + tl.minimum(m, positions - 1)[:, None] * K + lane[None, :]
    weight_tile = weight + lane[:, None] * weight_stride + n[None, :]
    squares = tl.zeros((BM,), tl.float32)
    sums = tl.zeros((BM, BN), tl.float32)
    ups = tl.zeros((BM, BN), tl.float32)
    for k in range(0, K, BK):
        taken = tl.load(x_tile + k)
        squares += tl.sum(taken * taken, 1)
        narrow = narrowed(taken, weight)
        sums = tl.dot(narrow, tl.load(weight_tile + k * weight_stride), sums)
        if GATED:
            ups = tl.dot(narrow, tl.load(weight_tile + k * weight_stride + width), ups)
    scale = 1.0 / tl.sqrt(squares / K + eps)[:, None]
    value = sums * scale
    if GATED:
        value = value * tl.sigmoid(value) * (ups * scale)
    if BIAS:
        value += tl.load(bias + n)[None, :]
    tl.store(out + m[:, None] * out_stride + n[None, :], narrowed(value, out), mask=(m < positions)[:, None])


@triton.jit
def attention_kernel(
    qkv, keys, values, out, rows, position, turns, frames, slot_stride, heads, ring, window, softmax_scale,
    HALF: tl.constexpr, BQ: tl.constexpr, BR: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """One head of one stream: rotate, attend to the ring's window and to the new positions, then write the ring.

    qkv (B, n, 3 H D) -> out (B, n, H D), D = 2 HALF. keys, values: this layer's part of slot 0, a slot being
    slot_stride apart: (H, ring, D), keys already rotated; position p lives at p % ring. position (slots,) counts what came
    before; turns (HALF,) fp64 is how far a position turns each pair, in full turns, so that no speech is too long for fp32.
    ring >= window - 1 + n, so what is written is never what a query of this call still reads.
    """
    start(OVERLAP)
    arrive(OVERLAP)
    stream = tl.program_id(0)
    head = tl.program_id(1)
    slot = tl.load(rows + stream)
    before = tl.load(position + slot)
    width = heads * 2 * HALF
    q = tl.arange(0, BQ)
    d = tl.arange(0, HALF)
    real = (q < frames)[:, None]
    new = qkv + (stream * frames + q)[:, None] * 3 * width + head * 2 * HALF + d[None, :]
    turn = (before + q).to(tl.float64)[:, None] * tl.load(turns + d)[None, :]
    angle = (turn - tl.floor(turn)).to(tl.float32) * 6.283185307179586
    cos = sine(angle + 1.5707963267948966)
    sin = sine(angle)
    q1 = tl.load(new, mask=real, other=0.0).to(tl.float32)
    q2 = tl.load(new + HALF, mask=real, other=0.0).to(tl.float32)
    k1 = tl.load(new + width, mask=real, other=0.0).to(tl.float32)
    k2 = tl.load(new + width + HALF, mask=real, other=0.0).to(tl.float32)
    v1 = tl.load(new + 2 * width, mask=real, other=0.0)
    v2 = tl.load(new + 2 * width + HALF, mask=real, other=0.0)
    query1 = narrowed(q1 * cos - q2 * sin, keys)
    query2 = narrowed(q2 * cos + q1 * sin, keys)
    key1 = narrowed(k1 * cos - k2 * sin, keys)
    key2 = narrowed(k2 * cos + k1 * sin, keys)

    j = before - BR + tl.arange(0, BR)
    kept = (j >= 0) & (j > before - window)
    home = slot.to(tl.int64) * slot_stride + head * ring * 2 * HALF
    old = home + ((j + ring * BR) % ring)[:, None] * 2 * HALF + d[None, :]
    old_key1 = tl.load(keys + old, mask=kept[:, None], other=0.0)
    old_key2 = tl.load(keys + old + HALF, mask=kept[:, None], other=0.0)
    old_value1 = tl.load(values + old, mask=kept[:, None], other=0.0)
    old_value2 = tl.load(values + old + HALF, mask=kept[:, None], other=0.0)

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
