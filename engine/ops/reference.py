"""Operations in plain PyTorch: their definition.

Every other implementation is tested against it.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Rope, SamplingTensors
from engine.ops.philox import uniforms

MOST_GATHERED = 1 << 28  # bytes of keys, values gathered at a time


class ReferenceOps:
    """Reference backend, for any device.

    On CUDA every operation can be captured in a graph.
    """

    name = "reference"
    attention = "torch"
    block_size = 16
    one_attention = True

    def rms_norm(self, x: Tensor, norm: Tensor, eps: float) -> Tensor:
        return torch.rms_norm(x, x.shape[-1:], eps=eps) * norm

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight)

    def norm_linear(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float, normed: Tensor | None = None) -> Tensor:
        return F.linear(self.rms_norm(x, norm, eps) if normed is None else normed, weight)

    def linear_residual(
        self, x: Tensor, weight: Tensor, residual: Tensor, norm: Tensor, eps: float
    ) -> tuple[Tensor, Tensor | None]:
        return torch.addmm(residual, x, weight.t()), None

    def partial_linear(self, x: Tensor, weight: Tensor, ranks: int) -> Tensor:
        return F.linear(x, weight).float()[None]

    def norm_swiglu(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float, normed: Tensor | None = None) -> Tensor:
        gate, up = self.norm_linear(x, norm, weight, eps, normed).chunk(2, -1)
        return F.silu(gate) * up

    def paged_decode(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        q, k, v = self._heads(qkv, norms, rope, cache, metadata.positions)
        _write(cache, metadata.tables, metadata.positions, k, v)
        return _attend_rows(q, cache, metadata)

    def paged_prefill(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, metadata: AttentionMetadata
    ) -> Tensor:
        q, k, v = self._heads(qkv, norms, rope, cache, metadata.positions)
        _write(cache, metadata.tables, metadata.positions, k, v)
        return _attend_rows(q, cache, metadata) if q.is_cuda else _attend_slots(q, cache, metadata)

    def dense_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, start: int) -> Tensor:
        end = start + qkv.shape[1]
        positions = slice(start, end)
        q, k, v = self._heads(qkv, norms, rope, cache, positions)
        cache.keys[:, positions], cache.values[:, positions] = k, v
        visible = None
        if end - start > 1:
            visible = torch.ones(end - start, end, dtype=torch.bool, device=qkv.device).tril(start)[None]
        return _attend(q, cache.keys[:, :end], cache.values[:, :end], visible)

    def embed(self, table: Tensor, ids: Tensor, text: Tensor) -> Tensor:
        return F.embedding(ids, table).sum(1) + text

    def uniforms(self, seeds: Tensor, frames: Tensor, count: int) -> Tensor:
        return uniforms(seeds, frames, count)

    def sample(self, logits: Tensor, params: SamplingTensors) -> Tensor:
        needs = _needs(params)
        if not needs.draws:
            return logits.argmax(-1)
        cold = params.temperature == 0
        scores = logits.float() / torch.where(cold, 1.0, params.temperature)[:, None]
        if needs.top_k:
            scores = torch.where(scores < _threshold(scores, params.top_k), -torch.inf, scores)
        if needs.top_p:
            scores = _top_p(scores, params.top_p)
        drawn = _invert(scores.softmax(-1).cumsum(-1), params.uniform)
        return torch.where(cold, logits.argmax(-1), drawn) if needs.greedy else drawn

    def sample_embed(self, logits: Tensor, params: SamplingTensors, table: Tensor) -> tuple[Tensor, Tensor]:
        ids = self.sample(logits, params)
        return ids, F.embedding(ids, table)

    def sample_talker(
        self,
        logits: Tensor,
        params: SamplingTensors,
        penalty: Tensor,
        generated_mask: Tensor,
        slots: Tensor,
        may_end: Tensor,
        allowed: Tensor,
        end_id: int,
    ) -> Tensor:
        scores = logits.float()
        rate = penalty[:, None]
        penalised = torch.where(scores < 0, scores * rate, scores / rate)
        scores = torch.where(generated_mask.index_select(0, slots), penalised, scores).masked_fill(~allowed, -torch.inf)
        scores[:, end_id].masked_fill_(~may_end, -torch.inf)
        ids = self.sample(scores, params)
        generated_mask[slots, ids] = True
        return ids

    def _heads(
        self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, positions: Tensor | slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys, values of `qkv`, normed per head, rotated.

        (..., (H + 2 G) D) -> q (..., H, D), k and v (..., G, D); v is neither normed nor rotated.
        """
        groups, width = cache.keys.shape[-2:]
        heads = qkv.view(*qkv.shape[:-1], -1, width)
        queries = heads.shape[-2] - 2 * groups
        qk, v = heads.split_with_sizes((queries + groups, groups), -2)
        norm = torch.cat((norms.query.expand(queries, -1), norms.key.expand(groups, -1)))
        q, k = rotate(self.rms_norm(qk, norm, norms.eps), rope, positions).split_with_sizes((queries, groups), -2)
        return q, k, v


def rotate(x: Tensor, rope: Rope, positions: Tensor | slice) -> Tensor:
    """Rotary embedding in its half-split form.

    x (..., T, heads, D) at `positions` (T).
    """
    cos, sin = rope.cos[positions, None], rope.sin[positions, None]
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat((-high, low), -1) * sin


def _longest(positions: Tensor, table: Tensor, cache: LayerCache) -> int:
    return table.shape[1] * cache.keys.shape[1] if positions.is_cuda else int(positions.max()) + 1


def _write(cache: LayerCache, table: Tensor, positions: Tensor, keys: Tensor, values: Tensor) -> None:
    """Store R rows at (block of position, offset in block).

    table (R, M), positions (R,).
    """
    size = cache.keys.shape[1]
    blocks, offsets = table.gather(1, (positions // size)[:, None])[:, 0].long(), positions % size
    cache.keys[blocks, offsets] = keys
    cache.values[blocks, offsets] = values.nan_to_num()  # masked values weigh 0, but 0 x NaN would be NaN


def _read(cache: LayerCache, table: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Keys, values of the first `length` positions.

    Rounded up to whole blocks: (R, L, G, D) each.
    """
    blocks = table[:, : -(-length // cache.keys.shape[1])].long()
    return cache.keys[blocks].flatten(1, 2), cache.values[blocks].flatten(1, 2)


def _attend_rows(q: Tensor, cache: LayerCache, metadata: AttentionMetadata) -> Tensor:
    """Attention of each row by itself, without a device wait.

    q (R, H, D) -> (R, H D).
    A device reads all that a block table can hold, as many rows at a time as memory allows.
    """
    length = _longest(metadata.positions, metadata.tables, cache)
    rows = max(1, MOST_GATHERED // (2 * length * cache.keys[0, 0].nbytes))
    pieces = zip(q.split(rows), metadata.tables.split(rows), metadata.positions.split(rows), strict=True)
    return torch.cat([_attend_piece(*piece, cache, length) for piece in pieces])


def _attend_piece(q: Tensor, table: Tensor, positions: Tensor, cache: LayerCache, length: int) -> Tensor:
    keys, values = _read(cache, table, length)
    visible = torch.arange(keys.shape[1], device=q.device) <= positions[:, None]
    return _attend(q[:, None], keys, values, visible[:, None])[:, 0]


def _attend_slots(q: Tensor, cache: LayerCache, metadata: AttentionMetadata) -> Tensor:
    """Attention slot by slot.

    q (R, H, D) -> (R, H D). The keys and values of a slot are read once for all its rows.
    """
    slots, positions = metadata.slots, metadata.positions
    out = torch.empty_like(q).flatten(1)
    for slot in slots.unique():
        mine = slots == slot
        keys, values = _read(cache, metadata.block_table[slot][None], int(positions[mine].max()) + 1)
        visible = torch.arange(keys.shape[1], device=q.device) <= positions[mine, None]
        out[mine] = _attend(q[mine][None], keys, values, visible[None])[0]
    return out


def _attend(q: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
    """Grouped-query attention.

    q (R, T, H, D), keys and values (R, L, G, D), visible (R, T, L) -> (R, T, H D).
    The query heads that share a key head become rows below each other. What is not visible may be another speech's,
    and not finite: its scores are replaced, where a mask for the fused call would be added to them.
    """
    rows, steps, heads, width = q.shape
    groups = keys.shape[2]
    q = q.reshape(rows, steps, groups, -1, width).transpose(1, 2).flatten(2, 3)
    keys, values = keys.transpose(1, 2), values.transpose(1, 2)
    if visible is None:
        out = F.scaled_dot_product_attention(q, keys, values)
    else:
        scores = q @ keys.transpose(2, 3) * width**-0.5
        scores = torch.where(visible.repeat_interleave(heads // groups, 1)[:, None], scores, -torch.inf)
        out = scores.softmax(-1, dtype=torch.float32).to(q.dtype) @ values
    return out.reshape(rows, groups, steps, -1).transpose(1, 2).flatten(2)


class _Needs(NamedTuple):
    """Sampling steps that the rows of a batch need.

    A GPU does everything, since looking at the values would stall it.
    """

    draws: bool = True
    greedy: bool = True
    top_k: bool = True
    top_p: bool = True


def _needs(params: SamplingTensors) -> _Needs:
    if params.temperature.is_cuda:
        return _Needs()
    temperature, top_k, top_p = params.temperature.tolist(), params.top_k.tolist(), params.top_p.tolist()
    return _Needs(any(temperature), not all(temperature), any(top_k), min(top_p) < 1)


def _threshold(scores: Tensor, top_k: Tensor) -> Tensor:
    """k-th highest score of each row (R, 1).

    k = 0 stands for all of them.
    """
    width = scores.shape[-1]
    if scores.is_cuda:
        rank = torch.where(top_k > 0, width - top_k, 0).clamp(min=0)  # from the lowest up
        return scores.sort(-1).values.gather(-1, rank[:, None].long())
    ranks = [width - k if 0 < k < width else 0 for k in top_k.tolist()]
    ordered = np.partition(scores.numpy(), sorted(set(ranks)), -1)  # several times faster than sorting or topk
    return torch.from_numpy(ordered[range(len(ranks)), ranks])[:, None]


def _invert(cumulative: Tensor, uniform: Tensor) -> Tensor:
    """First id whose cumulative probability reaches uniform x total.

    Inside the row even where that is NaN.
    """
    ids = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:])
    return ids[:, 0].clamp(max=cumulative.shape[-1] - 1)


def _top_p(scores: Tensor, top_p: Tensor) -> Tensor:
    """Drop the tail of cumulative probability 1 - p.

    Counted from the lowest up; the best always survives.
    """
    ordered, order = scores.sort(-1)
    drop = ordered.softmax(-1).cumsum(-1) <= 1 - top_p[:, None]
    drop[:, -1] = False
    return scores.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
