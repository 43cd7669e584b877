"""Device functions that the codec's kernels share.

Snake, saturating stores, and the copies of a stream's past.
"""

import triton
import triton.language as tl
from triton.language.extra import libdevice

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
LARGEST_HALF = tl.constexpr(65504.0)


@triton.jit
def sine(x):
    """sin(x), absolute error below 1e-5 for |x| < 100."""
    if INTERPRETED:
        return tl.sin(x)
    else:
        return libdevice.fast_sinf(x)


@triton.jit
def snake(x, frequency, gain):
    """`x + gain sin(frequency x)^2` in fp32.

    The fast sine is wrong by less than fp16 can show.
    """
    wave = sine(x * frequency)
    return x + gain * wave * wave


@triton.jit
def narrowed(x, pointer):
    """x in the type that `pointer` stores.

    Fp16 saturates, since one infinity would silence the stream for good.
    """
    if pointer.dtype.scalar.element_ty == tl.float16:
        x = tl.minimum(tl.maximum(x, -LARGEST_HALF), LARGEST_HALF)
    return x.to(pointer.dtype.scalar.element_ty)


@triton.jit
def store_thrice(pointers, x, apart, mask):
    """Store of fp32 x as (high, low, high).

    They are `apart` values apart; high + low in half precision are x to about 20 bits.
    A layer whose input channels are these and whose weights are (high, high, low) is computed to as many bits.
    """
    high = narrowed(x, pointers)
    tl.store(pointers, high, mask=mask)
    tl.store(pointers + apart, narrowed(x - high.to(tl.float32), pointers), mask=mask)
    tl.store(pointers + 2 * apart, high, mask=mask)


@triton.jit
def copy_pasts(
    program, x, tail_home, tail, x_sample, out, past_home, past, out_sample, rows, home_stride, COPY: tl.constexpr
):
    """Program's share of a causal layer's two copies.

    A chunk of COPY values of one sample.
    The last `tail` values of each sample of x (B, x_sample), the layer's input, become its past in `tail_home`;
    the past of the next layer, `past` values in `past_home`, opens each sample of out (B, out_sample), that layer's
    input. Homes hold a row of `home_stride` values a slot. Neither copy touches what the layer itself computes.
    """
    tail_chunks = tl.cdiv(tail, COPY)
    chunks = tail_chunks + tl.cdiv(past, COPY)
    sample = program // chunks
    chunk = program % chunks
    home = tl.load(rows + sample) * home_stride
    if chunk < tail_chunks:
        at = chunk * COPY + tl.arange(0, COPY)
        values = tl.load(x + sample * x_sample + x_sample - tail + at, mask=at < tail)
        tl.store(tail_home + home + at, values, mask=at < tail)
    else:
        at = (chunk - tail_chunks) * COPY + tl.arange(0, COPY)
        opening = tl.load(past_home + home + at, mask=at < past)
        tl.store(out + sample * out_sample + at, opening, mask=at < past)
