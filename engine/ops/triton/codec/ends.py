"""Kernels of the codec's two ends, its depthwise stage.

They move memory rather than multiply matrices.
"""

import triton
import triton.language as tl

from engine.ops.triton.codec.math import copy_pasts, narrowed, store_thrice
from engine.ops.triton.launch import arrive, start


@triton.jit(do_not_specialize=["streams", "frames"])
def embed_kernel(
    codes, tables, out, past_home, rows, streams, frames, vocabulary, groups, out_sample, home_stride, past,
    C: tl.constexpr, COPY: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Sum of the code groups' embeddings.

    out (B, past + n 3 C) = sum over groups g of tables[g, codes[b, t, g]]: codes (B, n, G), tables (G, V, C) fp32.
    The tables hold the codebooks already projected; a sum is written as (high, low, high).
    """
    start(OVERLAP)
    arrive(OVERLAP)
    program = tl.program_id(0)
    if program >= streams * frames:
        copy_pasts(
            program - streams * frames, out, past_home, 0, 0, out, past_home, past, out_sample, rows, home_stride, COPY
        )
    else:
        c = tl.arange(0, C)
        total = tl.zeros((C,), tl.float32)
        for group in range(groups):
            code = tl.load(codes + program * groups + group)
            total += tl.load(tables + (group * vocabulary + code) * C + c)
        at = out + (program // frames) * out_sample + past + (program % frames) * 3 * C + c
        store_thrice(at, total, C, c < C)


@triton.jit(do_not_specialize=["positions", "steps"])
def depthwise_norm_kernel(
    x, weight, bias, norm_weight, norm_bias, out, tail_home, rows, positions, steps, x_sample, home_stride, tail, eps,
    TAPS: tl.constexpr, C: tl.constexpr, COPY: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Depthwise causal convolution, then layer norm.

    x (B, TAPS - 1 + T, C), weight (TAPS, C) -> out (B, T, C).
    """
    start(OVERLAP)
    arrive(OVERLAP)
    program = tl.program_id(0)
    if program >= positions:
        copy_pasts(
            program - positions, x, tail_home, tail, x_sample, x, tail_home, 0, x_sample, rows, home_stride, COPY
        )
    else:
        c = tl.arange(0, C)
        row = x + (program // steps) * x_sample + (program % steps) * C
        value = tl.load(bias + c)
        for tap in tl.static_range(TAPS):
            value += tl.load(row + tap * C + c).to(tl.float32) * tl.load(weight + tap * C + c)
        centred = value - tl.sum(value, 0) / C
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 0) / C + eps)
        value = centred * scale * tl.load(norm_weight + c) + tl.load(norm_bias + c)
        tl.store(out + program * C + c, narrowed(value, out))


@triton.jit(do_not_specialize=["streams", "frames", "positions", "steps"])
def wave_kernel(
    x, weight, bias, out, tail_home, rows, position, streams, frames, positions, steps, x_sample, home_stride, tail,
    TAPS: tl.constexpr, C: tl.constexpr, BC: tl.constexpr, BM: tl.constexpr,
    COPY: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Last convolution, to one channel, clamped.

    x (B, TAPS - 1 + T, C), weight (TAPS, C) -> out (B, T).
    Being the last kernel of a call, it also moves every stream's position on by its frames.
    """
    start(OVERLAP)
    arrive(OVERLAP)
    program = tl.program_id(0)
    tiles = tl.cdiv(positions, BM)
    if program >= tiles:
        copy_pasts(program - tiles, x, tail_home, tail, x_sample, x, tail_home, 0, x_sample, rows, home_stride, COPY)
    else:
        m = program * BM + tl.arange(0, BM)
        inside = tl.minimum(m, positions - 1)
        c = tl.arange(0, BC)
        row = x + ((inside // steps) * x_sample + (inside % steps) * C)[:, None] + c[None, :]
        products = tl.zeros((BM, BC), tl.float32)
        for tap in tl.static_range(TAPS):
            taken = tl.load(row + tap * C, mask=(c < C)[None, :], other=0.0).to(tl.float32)
            products += taken * tl.load(weight + tap * C + c, mask=c < C, other=0.0)[None, :]
        wave = tl.sum(products, 1) + tl.load(bias)
        wave = tl.minimum(tl.maximum(wave, -1.0), 1.0)
        tl.store(out + m, wave, mask=m < positions)
    if program < streams:
        slot = tl.load(rows + program)
        tl.store(position + slot, tl.load(position + slot) + frames)
