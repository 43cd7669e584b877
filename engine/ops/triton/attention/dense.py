"""Attention of the code predictor.

Its cache is short, and is taken whole by one program a row and key-value head.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.base import HeadNorms, LayerCache, Rope
from engine.ops.triton.attention import heads as sizes
from engine.ops.triton.attention.heads import padded, pick, query_heads, rotate, spread, take, within
from engine.ops.triton.launch import arrive, overlap, start

WARPS = 2
MOST_LENGTH = 64  # positions that registers hold


@triton.jit(do_not_specialize=["first"])
def _attend_kernel(
    qkv_ptr,  # (R, T, (H + 2 G) D)
    q_norm_ptr,
    k_norm_ptr,
    cos_ptr,  # (L, D)
    sin_ptr,
    keys_ptr,  # (R, L, G, D)
    values_ptr,
    out_ptr,  # (R, T, H D)
    first,
    eps,
    scale,
    T: tl.constexpr,
    L: tl.constexpr,
    LENGTH: tl.constexpr,  # a power of two, L or more
    G: tl.constexpr,
    E: tl.constexpr,
    HEADS: tl.constexpr,
    ROWS: tl.constexpr,  # of a matrix product: T HEADS or more
    D: tl.constexpr,
    PAD: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Dense attention of one row, one key-value head.

    All its positions: the cache is short and is taken whole.
    """
    start(OVERLAP)
    row, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    d = tl.arange(0, PAD)[None, :]
    mate_d = (d + D // 2) % D
    i = tl.arange(0, T * HEADS)  # of each new position the queries, then the key
    t, h = i // HEADS, i % HEADS
    from_q = (h < E)[:, None]
    norm = tl.where(from_q, take(q_norm_ptr + d, d, D, PAD), take(k_norm_ptr + d, d, D, PAD)).to(tl.float32)
    mate_norm = tl.where(from_q, tl.load(q_norm_ptr + mate_d), tl.load(k_norm_ptr + mate_d)).to(tl.float32)
    cos = take(cos_ptr + (first + t)[:, None] * D + d, d, D, PAD).to(tl.float32)
    sin = take(sin_ptr + (first + t)[:, None] * D + d, d, D, PAD).to(tl.float32)
    sin = tl.where(d < D // 2, -sin, sin)
    arrive(OVERLAP)
    p = tl.arange(0, LENGTH)
    at = ((row * L + p) * G + group)[:, None] * D + d
    cached = within((p < first)[:, None], d, D, PAD)
    keys = tl.load(keys_ptr + at, mask=cached, other=0.0)
    values = tl.load(values_ptr + at, mask=cached, other=0.0)
    heads = qkv_ptr + row * (T * (G * E + 2 * G) * D)
    head = t * (G * E + 2 * G) + tl.where(h < E, group * E + h, G * E + group)
    head_at = heads + head[:, None] * D
    raw, mate = take(head_at + d, d, D, PAD), take(head_at + mate_d, d, D, PAD)
    is_new = within(((p >= first) & (p < first + T))[:, None], d, D, PAD)
    value_at = heads + ((p - first) * (G * E + 2 * G) + G * E + G + group)[:, None] * D
    values = tl.where(is_new, tl.load(value_at + d, mask=is_new, other=0.0), values)
    rotated = rotate(raw, mate, norm, mate_norm, cos, sin, eps, D)
    for new in tl.static_range(T):
        keys = tl.where((p == first + new)[:, None], pick(rotated, i == new * HEADS + E), keys)
    tl.store(keys_ptr + at, keys, mask=is_new)
    tl.store(values_ptr + at, values, mask=is_new)
    scores = tl.dot(spread(rotated, T * HEADS, ROWS, PAD), tl.trans(keys)) * scale  # (ROWS, LENGTH)
    r = tl.arange(0, ROWS)
    head_of = r * (T * HEADS) // ROWS
    position, e = first + head_of // HEADS, head_of % HEADS
    scores = tl.where(p[None, :] <= position[:, None], scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    weights = weights * (1.0 / tl.sum(weights, 1))[:, None]
    mixed = tl.dot(weights.to(values.dtype), values)
    out_at = out_ptr + row * (T * G * E * D) + ((position - first) * (G * E) + group * E + e)[:, None] * D + d
    is_query = (e < E) & (r % (ROWS // (T * HEADS)) == 0)
    tl.store(out_at, mixed.to(out_ptr.dtype.element_ty), mask=within(is_query[:, None], d, D, PAD))


def misfit(qkv: Tensor, cache: LayerCache) -> str | None:
    """Heads or cache that this kernel does not take."""
    length = cache.keys.shape[1]
    return sizes.misfit(qkv, cache) or (f"{length} positions" if length > MOST_LENGTH else None)


def attend(qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, first: int) -> Tensor:
    """Dense attention of the code predictor.

    qkv (R, T, (H + 2 G) D) at positions first... -> (R, T, H D).
    """
    rows, steps = qkv.shape[:2]
    length, groups, width = cache.keys.shape[1:]
    heads = query_heads(qkv, cache)
    queries = triton.next_power_of_2(heads + 1)
    out = torch.empty(rows, steps, groups * heads * width, dtype=qkv.dtype, device=qkv.device)
    _attend_kernel[(rows, groups)](
        qkv,
        norms.query,
        norms.key,
        rope.cos,
        rope.sin,
        cache.keys,
        cache.values,
        out,
        first,
        norms.eps,
        width**-0.5,
        T=steps,
        L=length,
        LENGTH=padded(length),
        G=groups,
        E=heads,
        HEADS=queries,
        ROWS=padded(steps * queries),
        D=width,
        PAD=padded(width),
        num_warps=WARPS,
        **overlap(qkv.device),
    )
    return out
