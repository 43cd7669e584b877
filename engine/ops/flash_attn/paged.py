"""Attention over the paged cache by flash-attn 2.

Queries that are ready against keys and values that are stored.
Imported only where flash-attn is installed. Written against version 2.8, whose pages are multiples of 256 positions.
"""

from typing import cast

import torch
from flash_attn import flash_attn_varlen_func, flash_attn_with_kvcache
from torch import Tensor

from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import LayerCache

PAGE = 256  # positions; the cache's block size is a multiple of it
MOST_WIDTH = 256  # of a head


def misfit(heads: int, groups: int, width: int, device: torch.device) -> str | None:
    """Heads that this build of flash-attn does not take.

    Found by a trial on `device`, for builds differ in what they hold. None where it takes them.
    """
    if width > MOST_WIDTH or width % 8 or heads % groups:
        return f"{heads} heads of {width} over {groups}"
    page = torch.zeros(1, PAGE, groups, width, dtype=torch.bfloat16, device=device)
    nowhere = torch.zeros(1, 1, dtype=torch.int64, device=device)
    metadata, queries = AttentionMetadata(nowhere.int(), nowhere[0], nowhere[0]), page.new_zeros(1, heads, width)
    try:
        for attend in (decode, prefill):
            attend(queries, LayerCache(page, page), metadata).sum().item()
    except RuntimeError as error:
        return f"{heads} heads of {width} over {groups} here ({' '.join(str(error).split())[:200]})"
    return None


def decode(queries: Tensor, cache: LayerCache, metadata: AttentionMetadata) -> Tensor:
    """Attention of one position a row.

    queries (R, H, D) -> (R, H D).
    The positions are not split between programs: so no row's rounding depends on how many others there are.
    """
    out = flash_attn_with_kvcache(
        queries[:, None],
        cache.keys,
        cache.values,
        cache_seqlens=metadata.lengths,
        block_table=metadata.tables,
        causal=True,
        num_splits=1,
    )
    return cast(Tensor, out).flatten(1)


def prefill(queries: Tensor, cache: LayerCache, metadata: AttentionMetadata) -> Tensor:
    """Attention of rows that may be several of one slot.

    queries (R, H, D) -> (R, H D).
    """
    runs = metadata.runs
    out = flash_attn_varlen_func(
        queries,
        cache.keys,
        cache.values,
        cu_seqlens_q=runs.rows,
        cu_seqlens_k=runs.keys,
        max_seqlen_q=len(queries),
        max_seqlen_k=runs.tables.shape[1] * cache.keys.shape[1],
        causal=True,
        block_table=runs.tables,
    )
    return cast(Tensor, out).flatten(1)
