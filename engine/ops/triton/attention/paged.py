"""Attention over the paged cache.

Head norms, rotation and cache write are in the same kernel.
A program owns one row, one key-value head and one split of the positions. Positions are cut into spans of fixed size
dealt out to the splits in turn, and the split that finishes last adds the parts in split order: neither the spans nor
the order depend on how many rows run, and the host plans nothing.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Rope
from engine.ops.triton.attention.heads import (
    MOST_PROGRAMS,
    padded,
    pick,
    query_heads,
    rotate,
    spread,
    take,
    within,
)
from engine.ops.triton.launch import arrive, overlap, start

TILE = 64  # positions taken at a time
SPAN = 128  # positions dealt to a program at a time: few speeches are longer than one
SPLITS = 4  # programs that share one row and head
DECODE_WARPS = 4


@triton.jit
def _decode_kernel(
    qkv_ptr,  # (R, (H + 2 G) D)
    q_norm_ptr,  # (D,)
    k_norm_ptr,  # (D,)
    cos_ptr,  # (positions, D)
    sin_ptr,
    keys_ptr,  # (blocks, B, G, D)
    values_ptr,
    table_ptr,  # (S, M) int32
    slots_ptr,  # (R,), as positions a column of a wider table
    positions_ptr,
    out_ptr,  # (R, H D)
    parts_ptr,  # (R, G, SPLITS, E, D + 2) fp32: weighted values, then maximum and sum
    arrivals_ptr,  # (R, G) int32, zero between launches
    table_stride,
    slots_stride,
    positions_stride,
    eps,
    scale,
    G: tl.constexpr,
    E: tl.constexpr,  # query heads a key-value head
    HEADS: tl.constexpr,  # a power of two above E
    ROWS: tl.constexpr,  # of a matrix product: HEADS or more
    D: tl.constexpr,
    PAD: tl.constexpr,  # a power of two, D or more
    B: tl.constexpr,
    TILE: tl.constexpr,
    SPAN: tl.constexpr,
    SPLITS: tl.constexpr,
    OWN: tl.constexpr,  # the row's own key and value come from qkv and are stored; otherwise they are in the cache
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    start(OVERLAP)
    row, group, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    position = tl.load(positions_ptr + row * positions_stride).to(tl.int32)
    spans = position // SPAN + 1
    if split < spans:
        d = tl.arange(0, PAD)[None, :]
        mate_d = (d + D // 2) % D
        h = tl.arange(0, HEADS)  # the queries, then the key
        e = tl.arange(0, ROWS) * HEADS // ROWS  # the head of each row of the matrix products
        is_query = (e < E) & (tl.arange(0, ROWS) % (ROWS // HEADS) == 0)
        from_q = (h < E)[:, None]
        norm = tl.where(from_q, take(q_norm_ptr + d, d, D, PAD), take(k_norm_ptr + d, d, D, PAD)).to(tl.float32)
        mate_norm = tl.where(from_q, tl.load(q_norm_ptr + mate_d), tl.load(k_norm_ptr + mate_d)).to(tl.float32)
        cos = take(cos_ptr + position * D + d, d, D, PAD).to(tl.float32)
        sin = take(sin_ptr + position * D + d, d, D, PAD).to(tl.float32)
        sin = tl.where(d < D // 2, -sin, sin)
        table = table_ptr + tl.load(slots_ptr + row * slots_stride).to(tl.int64) * table_stride
        own_block = tl.load(table + position // B).to(tl.int64)
        first = split * SPAN + tl.arange(0, TILE)
        first_block = tl.load(table + first // B, mask=first <= position, other=0).to(tl.int64)
        arrive(OVERLAP)
        heads = qkv_ptr + row.to(tl.int64) * ((G * E + 2 * G) * D)
        head_at = heads + (tl.where(h < E, group * E + h, G * E + group) * D)[:, None]
        raw, mate = take(head_at + d, d, D, PAD), take(head_at + mate_d, d, D, PAD)
        rotated = rotate(raw, mate, norm, mate_norm, cos, sin, eps, D)
        queries = spread(rotated, HEADS, ROWS, PAD)
        own_mask, query_mask = within(d >= 0, d, D, PAD), within(is_query[:, None], d, D, PAD)
        if OWN:
            own_key = pick(rotated, h == E)
            own_value = take(heads + (G * E + G + group) * D + d, d, D, PAD)
            if split == (spans - 1) % SPLITS:
                own_at = ((own_block * B + position % B) * G + group) * D + d
                tl.store(keys_ptr + own_at, own_key, mask=own_mask)
                tl.store(values_ptr + own_at, own_value, mask=own_mask)
        top = tl.full((ROWS,), float("-inf"), tl.float32)
        total = tl.zeros((ROWS,), tl.float32)
        mixed = tl.zeros((ROWS, PAD), tl.float32)
        for turn in tl.range(0, tl.cdiv(spans - split, SPLITS) * (SPAN // TILE), num_stages=1):
            p0 = (split + turn // (SPAN // TILE) * SPLITS) * SPAN + turn % (SPAN // TILE) * TILE
            if p0 <= position:
                p = p0 + tl.arange(0, TILE)
                block = first_block
                if turn > 0:
                    block = tl.load(table + p // B, mask=p <= position, other=0).to(tl.int64)
                cached = within((p < position if OWN else p <= position)[:, None], d, D, PAD)
                at = ((block * B + p % B) * G + group)[:, None] * D + d
                keys = tl.load(keys_ptr + at, mask=cached, other=0.0)
                values = tl.load(values_ptr + at, mask=cached, other=0.0)
                if OWN:
                    here = (p == position)[:, None]
                    keys = tl.where(here, own_key, keys)
                    values = tl.where(here, own_value, values)
                scores = tl.dot(queries, tl.trans(keys)) * scale  # (ROWS, TILE)
                scores = tl.where((p <= position)[None, :], scores, float("-inf"))
                peak = tl.maximum(top, tl.max(scores, 1))
                shrink = tl.exp(top - peak)
                weights = tl.exp(scores - peak[:, None])
                total = total * shrink + tl.sum(weights, 1)
                mixed = tl.dot(weights.to(values.dtype), values, mixed * shrink[:, None])
                top = peak
        out_at = out_ptr + row.to(tl.int64) * (G * E * D) + (group * E + e[:, None]) * D + d
        if spans == 1:
            tl.store(out_at, (mixed * (1.0 / total)[:, None]).to(out_ptr.dtype.element_ty), mask=query_mask)
        else:
            parts = parts_ptr + (row * G + group) * (SPLITS * E * (D + 2)) + e * (D + 2)
            part = parts + split * (E * (D + 2))
            tl.store(part[:, None] + d, mixed, mask=query_mask)
            tl.store(part + D, top, mask=is_query)
            tl.store(part + D + 1, total, mask=is_query)
            tl.debug_barrier()
            last = tl.minimum(spans, SPLITS) - 1
            if tl.atomic_add(arrivals_ptr + row * G + group, 1, sem="acq_rel") == last:
                tl.store(arrivals_ptr + row * G + group, 0)
                top = tl.full((ROWS,), float("-inf"), tl.float32)
                total = tl.zeros((ROWS,), tl.float32)
                mixed = tl.zeros((ROWS, PAD), tl.float32)
                for other in tl.range(0, last + 1, num_stages=1):
                    part = parts + other * (E * (D + 2))
                    their_top = tl.load(part + D, mask=is_query, other=0.0, cache_modifier=".cg")
                    their_total = tl.load(part + D + 1, mask=is_query, other=1.0, cache_modifier=".cg")
                    theirs = tl.load(part[:, None] + d, mask=query_mask, other=0.0, cache_modifier=".cg")
                    peak = tl.maximum(top, their_top)
                    keep, add = tl.exp(top - peak), tl.exp(their_top - peak)
                    total = total * keep + their_total * add
                    mixed = mixed * keep[:, None] + theirs * add[:, None]
                    top = peak
                tl.store(out_at, (mixed * (1.0 / total)[:, None]).to(out_ptr.dtype.element_ty), mask=query_mask)


@triton.jit
def _store_kernel(
    qkv_ptr,  # (R, (H + 2 G) D)
    q_norm_ptr,
    k_norm_ptr,
    cos_ptr,
    sin_ptr,
    keys_ptr,  # (blocks, B, G, D)
    values_ptr,
    queries_ptr,  # (R, H, D)
    table_ptr,
    slots_ptr,
    positions_ptr,
    table_stride,
    slots_stride,
    positions_stride,
    eps,
    G: tl.constexpr,
    E: tl.constexpr,
    HEADS: tl.constexpr,
    D: tl.constexpr,
    PAD: tl.constexpr,
    B: tl.constexpr,
    QUERIES: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # type: ignore[no-untyped-def]
    """Store of one row's new key with its value.

    Of one key-value head; the key is normed and rotated, and so are the queries, stored where they are to be.
    In the tile of `_decode_kernel`, so that a key's squares are added in the same order.
    """
    start(OVERLAP)
    row, group = tl.program_id(0), tl.program_id(1)
    d = tl.arange(0, PAD)[None, :]
    mate_d = (d + D // 2) % D
    h = tl.arange(0, HEADS)  # the queries, then the key
    from_q = (h < E)[:, None]
    norm = tl.where(from_q, take(q_norm_ptr + d, d, D, PAD), take(k_norm_ptr + d, d, D, PAD)).to(tl.float32)
    mate_norm = tl.where(from_q, tl.load(q_norm_ptr + mate_d), tl.load(k_norm_ptr + mate_d)).to(tl.float32)
    position = tl.load(positions_ptr + row * positions_stride).to(tl.int32)
    cos = take(cos_ptr + position * D + d, d, D, PAD).to(tl.float32)
    sin = take(sin_ptr + position * D + d, d, D, PAD).to(tl.float32)
    sin = tl.where(d < D // 2, -sin, sin)
    table = table_ptr + tl.load(slots_ptr + row * slots_stride).to(tl.int64) * table_stride
    block = tl.load(table + position // B).to(tl.int64)
    arrive(OVERLAP)
    heads = qkv_ptr + row.to(tl.int64) * ((G * E + 2 * G) * D)
    head_at = heads + (tl.where(h < E, group * E + h, G * E + group) * D)[:, None]
    raw, mate = take(head_at + d, d, D, PAD), take(head_at + mate_d, d, D, PAD)
    rotated = rotate(raw, mate, norm, mate_norm, cos, sin, eps, D)
    at, keep = ((block * B + position % B) * G + group) * D + d, within(d >= 0, d, D, PAD)
    tl.store(keys_ptr + at, pick(rotated, h == E), mask=keep)
    tl.store(values_ptr + at, take(heads + (G * E + G + group) * D + d, d, D, PAD), mask=keep)
    if QUERIES:
        query_at = queries_ptr + row.to(tl.int64) * (G * E * D) + (group * E + h[:, None]) * D + d
        tl.store(query_at, rotated, mask=within(from_q, d, D, PAD))


def decode(qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata) -> Tensor:
    """One new position a row -> (R, H D)."""
    return _attend(qkv, norms, rope, cache, metadata, own=True)


def prefill(qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata) -> Tensor:
    """As `decode`, for several positions of a slot.

    All keys and values are stored first.
    """
    _store(qkv, norms, rope, cache, metadata, None)
    return _attend(qkv, norms, rope, cache, metadata, own=False)


def store_kv(qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata) -> Tensor:
    """Store every row's keys, values; return its queries.

    The queries (R, H, D) are normed and rotated too.
    """
    groups, width = cache.keys.shape[-2:]
    queries = torch.empty(len(qkv), groups * query_heads(qkv, cache), width, dtype=qkv.dtype, device=qkv.device)
    _store(qkv, norms, rope, cache, metadata, queries)
    return queries


def _store(
    qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata, queries: Tensor | None
) -> None:
    groups, width = cache.keys.shape[-2:]
    heads = query_heads(qkv, cache)
    _store_kernel[(len(qkv), groups)](
        qkv,
        norms.query,
        norms.key,
        rope.cos,
        rope.sin,
        cache.keys,
        cache.values,
        qkv if queries is None else queries,
        metadata.block_table,
        metadata.slots,
        metadata.positions,
        metadata.block_table.stride(0),
        metadata.slots.stride(0),
        metadata.positions.stride(0),
        norms.eps,
        G=groups,
        E=heads,
        HEADS=triton.next_power_of_2(heads + 1),
        D=width,
        PAD=padded(width),
        B=cache.keys.shape[1],
        QUERIES=queries is not None,
        num_warps=DECODE_WARPS,
        **overlap(qkv.device),
    )


def _attend(
    qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata, own: bool
) -> Tensor:
    groups, width = cache.keys.shape[-2:]
    heads = query_heads(qkv, cache)
    queries = triton.next_power_of_2(heads + 1)
    out = torch.empty(len(qkv), groups * heads * width, dtype=qkv.dtype, device=qkv.device)
    parts = torch.empty(len(qkv), groups, SPLITS, heads, width + 2, dtype=torch.float32, device=qkv.device)
    _decode_kernel[(len(qkv), groups, SPLITS)](
        qkv,
        norms.query,
        norms.key,
        rope.cos,
        rope.sin,
        cache.keys,
        cache.values,
        metadata.block_table,
        metadata.slots,
        metadata.positions,
        out,
        parts,
        _arrivals(qkv.device),
        metadata.block_table.stride(0),
        metadata.slots.stride(0),
        metadata.positions.stride(0),
        norms.eps,
        width**-0.5,
        G=groups,
        E=heads,
        HEADS=queries,
        ROWS=padded(queries),
        D=width,
        PAD=padded(width),
        B=cache.keys.shape[1],
        TILE=TILE,
        SPAN=SPAN,
        SPLITS=SPLITS,
        OWN=own,
        num_warps=DECODE_WARPS,
        **overlap(qkv.device),
    )
    return out


@functools.cache
def _arrivals(device: torch.device) -> Tensor:
    """Counters of finished splits.

    Kernels leave them zero. Launches of one stream may share them.
    """
    return torch.zeros(MOST_PROGRAMS, dtype=torch.int32, device=device)
