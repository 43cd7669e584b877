"""Causal convolution as a matrix product over its taps.

Everything around it is fused into the epilogue.
Activations are (B, T, C). A layer's input carries its past in front: (B, H + T, C) with H = (taps - 1) dilation, so tap
j of position t is row t + j dilation of the same sample and the product needs no case for the start of a chunk. The
kernel that writes an input also copies that past in, and the kernel that reads it copies the new past out: two
launches, so no program reads what another may have overwritten. A transposed convolution of stride s and 2 s taps is
the same product with two taps and s N outputs a position; a linear layer has one tap.
"""

import triton
import triton.language as tl

from engine.ops.triton.codec.math import copy_pasts, narrowed, snake, store_thrice
from engine.ops.triton.launch import arrive, fetch, start

LINE = tl.constexpr(64)  # halves of a line of the second-level cache


@triton.jit(do_not_specialize=["positions", "steps"])
def conv_kernel(
    x,
    weight,
    bias,
    frequency,
    gain,
    residual,
    raw,
    out,
    tail_home,
    past_home,
    rows,
    positions,
    steps,
    channels,
    width,
    depth_stride,
    width_stride,
    depth,
    tap_skip,
    x_sample,
    residual_sample,
    out_sample,
    home_stride,
    tail,
    past,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    PREFETCH: tl.constexpr,
    ACTIVATION: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RAW: tl.constexpr,
    OUT: tl.constexpr,
    THRICE: tl.constexpr,
    COPY: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """Convolution with its epilogue.

    x (B, H + T, C) @ weight (taps C, N) -> raw (B, T, N) before the activation, out (B, past + T N) after it,
    or (B, past + T 3 N) as high, low, high if THRICE.

    positions = B T, steps = T, channels = C, width = N, depth = taps C, tap_skip = (dilation - 1) C.
    The depth is added up in one order whatever the tile, so no sample depends on how many are decoded with it.
    """
    start(OVERLAP)
    tiles_n = tl.cdiv(width, BN)
    tiles = tl.cdiv(positions, BM) * tiles_n
    program = tl.program_id(0)
    chunks = depth // BK
    lane = tl.arange(0, BK)
    if PREFETCH and OVERLAP:
        column = ((program % tiles_n) * BN + tl.arange(0, BN))[:, None] * width_stride
        line = tl.arange(0, BK // LINE if BK > LINE else 1)[None, :] * LINE
        for chunk in range(0, chunks):
            fetch(weight + column + (chunk * BK + line) * depth_stride, OVERLAP)
    arrive(OVERLAP)
    if program >= tiles:
        if COPY:
            copy_pasts(
                program - tiles, x, tail_home, tail, x_sample, out, past_home, past,
                out_sample, rows, home_stride, COPY,
            )  # fmt: skip
    else:
        m = (program // tiles_n) * BM + tl.arange(0, BM)
        n = (program % tiles_n) * BN + tl.arange(0, BN)
        inside = tl.minimum(m, positions - 1)
        row = (inside // steps) * x_sample + (inside % steps) * channels
        x_tile = x + row[:, None] + lane[None, :]
        weight_tile = weight + lane[:, None] * depth_stride + n[None, :] * width_stride
        sums = tl.zeros((BM, BN), tl.float32)
        for chunk in range(0, chunks):
            k = chunk * BK
            taken = tl.load(x_tile + (k + (k // channels) * tap_skip))
            sums = tl.dot(taken, tl.load(weight_tile + k * depth_stride), sums)
        conv_epilogue(
            sums, m, n, bias, frequency, gain, residual, raw, out, positions, steps, width,
            residual_sample, out_sample, past, ACTIVATION, RESIDUAL, RAW, OUT, THRICE,
        )  # fmt: skip


@triton.jit
def conv_epilogue(
    sums, m, n, bias, frequency, gain, residual, raw, out, positions, steps, width,
    residual_sample, out_sample, past,
    ACTIVATION: tl.constexpr, RESIDUAL: tl.constexpr, RAW: tl.constexpr, OUT: tl.constexpr,
    THRICE: tl.constexpr,
):  # fmt: skip
    """Epilogue of a tile's sums (BM, BN) in fp32.

    Bias, GELU or residual, raw store, Snake, store behind the next layer's past.
    """
    real = (m < positions)[:, None] & (n < width)[None, :]
    sample = m // steps
    within = (m % steps)[:, None] * width + n[None, :]
    value = sums + tl.load(bias + n)[None, :]
    if ACTIVATION == "gelu":
        value = 0.5 * value * (1.0 + tl.erf(value * 0.7071067811865476))
    if RESIDUAL:
        value += tl.load(residual + sample[:, None] * residual_sample + within, mask=real).to(tl.float32)
    if RAW:
        tl.store(raw + m[:, None] * width + n[None, :], narrowed(value, raw), mask=real)
    if OUT:
        if ACTIVATION == "snake":
            value = snake(value, tl.load(frequency + n)[None, :], tl.load(gain + n)[None, :])
        if THRICE:
            thrice = (m % steps)[:, None] * 3 * width + n[None, :]
            store_thrice(out + sample[:, None] * out_sample + past + thrice, value, width, real)
        else:
            tl.store(out + sample[:, None] * out_sample + past + within, narrowed(value, out), mask=real)
