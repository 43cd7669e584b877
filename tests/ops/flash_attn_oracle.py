"""The two functions of flash-attn that the engine calls, in plain PyTorch: what its documentation says they compute."""

import torch
from torch import Tensor

PAGE = 256


def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    *,
    cache_seqlens: Tensor,
    block_table: Tensor,
    causal: bool,
    num_splits: int,
) -> Tensor:
    """q (B, T, H, D) at the ends of sequences of `cache_seqlens` (B,) positions -> (B, T, H, D)."""
    assert num_splits >= 0
    _check(k_cache, block_table, cache_seqlens)
    rows = zip(q, block_table, cache_seqlens.tolist(), strict=True)
    return torch.stack([_one(one, k_cache, v_cache, blocks, length, causal) for one, blocks, length in rows])


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    causal: bool,
    block_table: Tensor,
) -> Tensor:
    """q (total, H, D), sequence b being rows cu_seqlens_q[b] to cu_seqlens_q[b + 1] -> (total, H, D)."""
    _check(k, block_table, cu_seqlens_q, cu_seqlens_k)
    out = torch.full_like(q, torch.nan)  # of rows in no sequence
    ends, lengths = cu_seqlens_q.tolist(), cu_seqlens_k.diff().tolist()
    for first, last, length, blocks in zip(ends[:-1], ends[1:], lengths, block_table, strict=True):
        assert 0 <= last - first <= max_seqlen_q
        assert 0 <= length <= max_seqlen_k
        out[first:last] = _one(q[first:last], k, v, blocks, length, causal)
    return out


def _check(cache: Tensor, *integers: Tensor) -> None:
    assert cache.shape[1] % PAGE == 0
    assert all(tensor.dtype == torch.int32 and tensor.stride(-1) == 1 for tensor in integers)


def _one(q: Tensor, keys: Tensor, values: Tensor, blocks: Tensor, length: int, causal: bool) -> Tensor:
    """One sequence (T, H, D), its last query seeing all positions; a query that sees none gives zeros."""
    steps, heads, width = q.shape
    used = blocks[: -(-length // keys.shape[1])].long()
    share = heads // keys.shape[2]
    k, v = (cache[used].flatten(0, 1)[:length].repeat_interleave(share, 1) for cache in (keys, values))
    scores = torch.einsum("thd,lhd->htl", q.double(), k.double()) * width**-0.5
    if causal:
        scores = scores.masked_fill(torch.arange(length) > torch.arange(steps)[:, None] + length - steps, -torch.inf)
    weights = scores.softmax(-1).nan_to_num()
    return torch.einsum("htl,lhd->thd", weights, v.double()).to(q.dtype)
