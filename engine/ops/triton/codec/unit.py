"""A whole residual unit in one kernel.

Dilated conv, Snake, 1x1 conv, + x, Snake; the middle never leaves the chip.
For the wide-and-thin end of the codec, where a tile can hold all channels. Their number is not a power of two (96,
192), so a tile is two column blocks, A and B, of the largest power of two below it and the rest.
"""

import triton
import triton.language as tl

from engine.ops.triton.codec.math import copy_pasts, narrowed, snake
from engine.ops.triton.launch import arrive, fetch, start

LINES = tl.constexpr(128)


@triton.jit(do_not_specialize=["positions", "steps"])
def unit_kernel(
    x,
    residual,
    weight1,
    bias1,
    frequency1,
    gain1,
    weight2,
    bias2,
    frequency2,
    gain2,
    raw,
    out,
    tail_home,
    past_home,
    rows,
    positions,
    steps,
    tap_skip,
    x_sample,
    out_sample,
    home_stride,
    tail,
    past,
    chunks,
    TAPS: tl.constexpr,
    C: tl.constexpr,
    CA: tl.constexpr,
    CB: tl.constexpr,
    BM: tl.constexpr,
    BK: tl.constexpr,
    RAW: tl.constexpr,
    PREFETCH: tl.constexpr,
    COPY: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    """Residual unit of two convolutions.

    x (B, H + T, C) after Snake, residual (B, T, C) before it -> raw (B, T, C), out (B, past + T C) after Snake.
    weight1 (chunks BK, C): TAPS C rows and zeros; weight2 (C, C); the rest (C,).
    tap_skip = (dilation - 1) C. C = CA + CB, both powers of two.
    """
    start(OVERLAP)
    tiles = tl.cdiv(positions, BM)
    program = tl.program_id(0)
    if PREFETCH and OVERLAP:
        lines = chunks * BK * C // 64  # of 64 halves each; this program's share, so that all are fetched once
        for line in range(program * LINES, lines, tiles * LINES):
            fetch(weight1 + tl.minimum(line + tl.arange(0, LINES), lines - 1) * 64, OVERLAP)
    arrive(OVERLAP)
    if program >= tiles:
        copy_pasts(
            program - tiles, x, tail_home, tail, x_sample, out, past_home, past, out_sample, rows, home_stride, COPY
        )
    else:
        m = program * BM + tl.arange(0, BM)
        inside = tl.minimum(m, positions - 1)
        row = (inside // steps) * x_sample + (inside % steps) * C
        real = (m < positions)[:, None]
        a = tl.arange(0, CA)
        b = CA + tl.arange(0, CB)
        lane = tl.arange(0, BK)
        weight_a = weight1 + lane[:, None] * C + a[None, :]
        weight_b = weight1 + lane[:, None] * C + b[None, :]
        sums_a = tl.zeros((BM, CA), tl.float32)
        sums_b = tl.zeros((BM, CB), tl.float32)
        x_rows = x + row[:, None]
        for chunk in range(0, chunks):
            k = chunk * BK
            if C % BK == 0:
                taken = tl.load(x_rows + (k + (k // C) * tap_skip + lane)[None, :])
            else:
                at = k + lane
                at = tl.where(at < TAPS * C, at, at - C)  # meets zero weights: any finite value will do
                at = tl.max_contiguous(tl.multiple_of(at + (at // C) * tap_skip, 16), 16)
                taken = tl.load(x_rows + at[None, :])
            sums_a = tl.dot(taken, tl.load(weight_a + k * C), sums_a)
            sums_b = tl.dot(taken, tl.load(weight_b + k * C), sums_b)

        middle_a = snake(
            sums_a + tl.load(bias1 + a)[None, :], tl.load(frequency1 + a)[None, :], tl.load(gain1 + a)[None, :]
        )
        middle_b = snake(
            sums_b + tl.load(bias1 + b)[None, :], tl.load(frequency1 + b)[None, :], tl.load(gain1 + b)[None, :]
        )
        middle_a = narrowed(middle_a, x)
        middle_b = narrowed(middle_b, x)
        flat = m[:, None] * C
        begin = (m // steps)[:, None] * out_sample + past + (m % steps)[:, None] * C
        for half in tl.static_range(2):
            n = a if half == 0 else b
            value = tl.dot(middle_a, tl.load(weight2 + a[:, None] * C + n[None, :]))
            value = tl.dot(middle_b, tl.load(weight2 + b[:, None] * C + n[None, :]), value)
            value += tl.load(bias2 + n)[None, :]
            value += tl.load(residual + flat + n[None, :], mask=real).to(tl.float32)
            if RAW:
                tl.store(raw + flat + n[None, :], narrowed(value, raw), mask=real)
            value = snake(value, tl.load(frequency2 + n)[None, :], tl.load(gain2 + n)[None, :])
            tl.store(out + begin + n[None, :], narrowed(value, out), mask=real)
