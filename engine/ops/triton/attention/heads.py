"""Heads in attention kernels: loads, norm, rotation, tile sizes.

Heads of odd widths are padded with zeros.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.base import LayerCache

MOST_PROGRAMS = 1 << 16  # rows x key-value heads of one launch
LEAST_TILE = 16  # rows, and columns that are summed over, of a matrix product
MOST_WIDTH, MOST_HEADS = 256, 31  # what registers hold: of a head, of queries a group


@triton.jit
def take(at, d, D: tl.constexpr, PAD: tl.constexpr):  # type: ignore[no-untyped-def]
    """Load heads (n, PAD), zeros beyond their width D."""
    if D == PAD:
        return tl.load(at)
    else:
        return tl.load(at, mask=d < D, other=0.0)


@triton.jit
def within(keep, d, D: tl.constexpr, PAD: tl.constexpr):  # type: ignore[no-untyped-def]
    """Mask of rows `keep` (n, 1), of a head's width."""
    if D == PAD:
        return keep
    else:
        return keep & (d < D)


@triton.jit
def round_to(x, dtype):  # type: ignore[no-untyped-def]
    """Rounding of fp32 values as by a store to `dtype`.

    The result is fp32 again.
    """
    return x.to(dtype).to(tl.float32)


@triton.jit
def rotate(raw, mate, scale, mate_scale, cos, sin, eps, D: tl.constexpr):  # type: ignore[no-untyped-def]
    """Norm, then rotate heads (n, D).

    Every step rounds to the model's dtype as separate operations would.
    `mate` and `mate_scale` are `raw` and `scale` with their halves swapped; sin is negated on the low half.
    """
    dtype = raw.dtype
    wide = raw.to(tl.float32)
    rate = tl.rsqrt(tl.sum(wide * wide, 1) / D + eps)[:, None]
    own = round_to(round_to(wide * rate, dtype) * scale, dtype)
    other = round_to(round_to(mate.to(tl.float32) * rate, dtype) * mate_scale, dtype)
    return (round_to(own * cos, dtype) + round_to(other * sin, dtype)).to(dtype)


@triton.jit
def spread(x, n: tl.constexpr, ROWS: tl.constexpr, D: tl.constexpr):  # type: ignore[no-untyped-def]
    """Repetition of rows: x (n, D) -> (ROWS, D).

    Each row ROWS / n times: a matrix product takes no fewer than LEAST_TILE.
    """
    return tl.reshape(tl.broadcast_to(x[:, None, :], (n, ROWS // n, D)), (ROWS, D))


@triton.jit
def pick(x, chosen):  # type: ignore[no-untyped-def]
    """Row (1, D) of x (n, D) where `chosen` holds."""
    return tl.sum(tl.where(chosen[:, None], x.to(tl.float32), 0.0), 0)[None, :].to(x.dtype)


def misfit(qkv: Tensor, cache: LayerCache) -> str | None:
    """Heads that the kernels do not take."""
    groups, width = cache.keys.shape[-2:]
    if qkv.dtype not in (torch.bfloat16, torch.float16):
        return f"{qkv.dtype}"
    if width > MOST_WIDTH:
        return f"heads of {width}"
    if query_heads(qkv, cache) > MOST_HEADS:
        return f"{query_heads(qkv, cache)} query heads a key-value head"
    if len(qkv) * groups > MOST_PROGRAMS:
        return f"{len(qkv)} rows of {groups} key-value heads"
    return None


def query_heads(qkv: Tensor, cache: LayerCache) -> int:
    """Query heads a key-value head."""
    groups, width = cache.keys.shape[-2:]
    return (qkv.shape[-1] // width - 2 * groups) // groups


def padded(size: int) -> int:
    """Power of two that a matrix product takes."""
    return max(LEAST_TILE, int(triton.next_power_of_2(size)))
