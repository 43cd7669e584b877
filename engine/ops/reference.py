"""The operations in plain PyTorch: the definition that every other implementation is tested against."""

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.ops.interface import HeadNorms, LayerCache, Picks, Rope
from engine.ops.philox import uniforms


class ReferenceOps:
    """Works on any device; on CUDA all but `prefill_attention` can be captured as graphs."""

    name = "reference"

    def rms_norm(self, x: Tensor, norm: Tensor, eps: float) -> Tensor:
        if x.dtype == torch.float32:
            return F.rms_norm(x, norm.shape, norm, eps)
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * norm

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight)

    def norm_linear(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float) -> Tensor:
        return F.linear(self.rms_norm(x, norm, eps), weight)

    def linear_residual(self, x: Tensor, weight: Tensor, residual: Tensor) -> Tensor:
        return residual + F.linear(x, weight)

    def norm_swiglu(self, x: Tensor, norm: Tensor, weight: Tensor, eps: float) -> Tensor:
        gate, up = self.norm_linear(x, norm, weight, eps).chunk(2, -1)
        return F.silu(gate) * up

    def decode_attention(
        self,
        qkv: Tensor,
        norms: HeadNorms,
        rope: Rope,
        cache: LayerCache,
        block_table: Tensor,
        slots: Tensor,
        positions: Tensor,
    ) -> Tensor:
        q, k, v = self._heads(qkv, norms, cache)
        q, k = rotate(q, rope, positions), rotate(k, rope, positions)
        table = block_table.index_select(0, slots)
        _write(cache, table, positions, k, v)
        keys, values = _read(cache, table, _longest(positions, table, cache))
        visible = torch.arange(keys.shape[1], device=qkv.device) <= positions[:, None]
        return _attend(q[:, None], keys, values, visible[:, None]).flatten(1)

    def prefill_attention(
        self,
        qkv: Tensor,
        norms: HeadNorms,
        rope: Rope,
        cache: LayerCache,
        block_table: Tensor,
        slots: Tensor,
        positions: Tensor,
    ) -> Tensor:
        q, k, v = self._heads(qkv, norms, cache)
        q, k = rotate(q, rope, positions), rotate(k, rope, positions)
        _write(cache, block_table.index_select(0, slots), positions, k, v)
        out = torch.empty_like(q)
        for slot in slots.unique():  # waits for a device: prefill by this definition is not for graphs
            mine = slots == slot
            keys, values = _read(cache, block_table[slot][None], int(positions[mine].max()) + 1)
            visible = torch.arange(keys.shape[1], device=qkv.device) <= positions[mine, None]
            out[mine] = _attend(q[mine][None], keys, values, visible[None])[0]
        return out.flatten(1)

    def short_attention(self, qkv: Tensor, norms: HeadNorms, rope: Rope, cache: LayerCache, start: int) -> Tensor:
        end = start + qkv.shape[1]
        q, k, v = self._heads(qkv, norms, cache)
        positions = slice(start, end)
        q, k = rotate(q, rope, positions), rotate(k, rope, positions)
        cache.keys[:, positions], cache.values[:, positions] = k, v
        visible = None
        if end - start > 1:
            visible = torch.ones(end - start, end, dtype=torch.bool, device=qkv.device).tril(start)[None]
        return _attend(q, cache.keys[:, :end], cache.values[:, :end], visible).flatten(2)

    def embed(self, table: Tensor, ids: Tensor, text: Tensor) -> Tensor:
        return F.embedding(ids, table).sum(1) + text

    def uniforms(self, seeds: Tensor, frames: Tensor, count: int) -> Tensor:
        return uniforms(seeds, frames, count)

    def sample(self, logits: Tensor, picks: Picks) -> Tensor:
        on_host = not logits.is_cuda  # only there may values steer the control flow without stalling a device
        greedy = logits.argmax(-1)
        if on_host and not picks.temperature.any():
            return greedy
        cold = picks.temperature == 0
        scaled = logits.float() / picks.temperature.masked_fill(cold, 1.0)[:, None]
        scaled = _top_k(scaled, picks.top_k, int(picks.top_k.max()) if on_host else logits.shape[-1])
        if not on_host or bool((picks.top_p < 1).any()):
            scaled = _top_p(scaled, picks.top_p)
        total = scaled.softmax(-1).cumsum(-1)
        drawn = (total >= picks.uniform[:, None] * total[:, -1:]).int().argmax(-1)
        return torch.where(cold, greedy, drawn)

    def sample_first(
        self,
        logits: Tensor,
        picks: Picks,
        penalty: Tensor,
        seen: Tensor,
        slots: Tensor,
        may_end: Tensor,
        allowed: Tensor,
        end_id: int,
    ) -> Tensor:
        scores = logits.float()
        rate = penalty[:, None]
        penalised = torch.where(scores < 0, scores * rate, scores / rate)
        scores = torch.where(seen.index_select(0, slots), penalised, scores).masked_fill(~allowed, -torch.inf)
        scores[:, end_id].masked_fill_(~may_end, -torch.inf)
        ids = self.sample(scores, picks)
        seen[slots, ids] = True
        return ids

    def _heads(self, qkv: Tensor, norms: HeadNorms, cache: LayerCache) -> tuple[Tensor, Tensor, Tensor]:
        """(..., (H + 2 G) D) -> q (..., H, D), k and v (..., G, D); q and k normed per head."""
        groups, width = cache.keys.shape[-2:]
        heads = qkv.unflatten(-1, (-1, width))
        q, k, v = heads.split((heads.shape[-2] - 2 * groups, groups, groups), -2)
        return self.rms_norm(q, norms.query, norms.eps), self.rms_norm(k, norms.key, norms.eps), v


def rotate(x: Tensor, rope: Rope, positions: Tensor | slice) -> Tensor:
    """Rotary embedding in its half-split form: x (..., T, heads, D) at `positions` (T)."""
    cos, sin = rope.cos[positions][..., None, :], rope.sin[positions][..., None, :]
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat((-high, low), -1) * sin


def _longest(positions: Tensor, table: Tensor, cache: LayerCache) -> int:
    return table.shape[1] * cache.keys.shape[1] if positions.is_cuda else int(positions.max()) + 1


def _write(cache: LayerCache, table: Tensor, positions: Tensor, keys: Tensor, values: Tensor) -> None:
    """Store R rows at (block of position, offset in block): table (R, M), positions (R,)."""
    size = cache.keys.shape[1]
    blocks, offsets = table.gather(1, (positions // size)[:, None])[:, 0].long(), positions % size
    cache.keys[blocks, offsets] = keys
    cache.values[blocks, offsets] = values.nan_to_num()  # a masked position weighs 0, and 0 x NaN would be NaN


def _read(cache: LayerCache, table: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Keys and values of the first `length` positions, rounded up to whole blocks: (R, L, G, D) each."""
    blocks = table[:, : -(-length // cache.keys.shape[1])].long()
    return cache.keys[blocks].flatten(1, 2), cache.values[blocks].flatten(1, 2)


def _attend(q: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
    """Grouped-query attention: q (R, T, H, D), keys and values (R, L, G, D), visible (R, T, L) -> (R, T, H, D)."""
    rows, length, groups, width = keys.shape
    steps, heads = q.shape[1:3]
    grouped = q.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4).reshape(rows, groups, -1, width)
    scores = (grouped @ keys.permute(0, 2, 3, 1)) * width**-0.5
    if visible is not None:
        mask = visible[:, None, None].expand(rows, groups, heads // groups, steps, length)
        scores = scores.masked_fill(~mask.reshape(scores.shape), -torch.inf)
    weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
    out = weights @ values.permute(0, 2, 1, 3)
    return out.view(rows, groups, heads // groups, steps, width).permute(0, 3, 1, 2, 4).flatten(2, 3)


def _top_k(scores: Tensor, top_k: Tensor, most: int) -> Tensor:
    """Drop scores below the k-th highest of their row; 0 keeps all, ties with the k-th survive."""
    if most == 0:
        return scores
    k = torch.where(top_k > 0, top_k, scores.shape[-1]).clamp(max=scores.shape[-1]).long()
    most = scores.shape[-1] if scores.is_cuda else int(k.max())
    threshold = scores.topk(most, -1).values.gather(-1, k[:, None] - 1)
    return scores.masked_fill(scores < threshold, -torch.inf)


def _top_p(scores: Tensor, top_p: Tensor) -> Tensor:
    """Drop the tail whose cumulative probability, from the lowest up, is at most 1 - p; the best always survives."""
    ordered, order = scores.sort(-1)
    drop = ordered.softmax(-1).cumsum(-1) <= 1 - top_p[:, None]
    drop[:, -1] = False
    return scores.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -torch.inf)
