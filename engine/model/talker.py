"""Talker: embeddings in, codebook-0 logits, hidden states out.

One of each a frame, from text and codec embeddings.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.checkpoint.config import DecoderConfig, ModelConfig
from engine.checkpoint.tensors import Tensors
from engine.model.layers import DecoderStack, rope_tables
from engine.ops.attention_metadata import AttentionMetadata
from engine.ops.base import HeadNorms, LayerCache, Ops
from engine.ops.peers import Peers


class TextEmbedding(Protocol):
    """Text ids (R,) -> (R, K)."""

    def __call__(self, ids: Tensor) -> Tensor: ...


class ProjectedText:
    """`fc2(silu(fc1(embedding[ids])))`, computed for the ids at hand."""

    def __init__(self, weights: Tensors) -> None:
        self._embedding = weights["talker.model.text_embedding.weight"]
        self._first = _linear(weights, "talker.text_projection.linear_fc1")
        self._second = _linear(weights, "talker.text_projection.linear_fc2")

    def __call__(self, ids: Tensor) -> Tensor:
        hidden = F.silu(F.linear(F.embedding(ids, self._embedding), *self._first))
        return F.linear(hidden, *self._second)

    def table(self, piece: int = 8192) -> "TextTable":
        """Projection of the whole vocabulary.

        Worth its memory where every launch counts.
        """
        ids = torch.arange(len(self._embedding), device=self._embedding.device)
        return TextTable(torch.cat([self(part) for part in ids.split(piece)]))


class TextTable:
    """Projection as a lookup table (text vocabulary, K)."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __call__(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.rows)


class CodecEmbedding:
    """Embeddings of all sixteen codebooks as one table.

    A frame is then one lookup of sixteen rows.
    Codebook 0 has the control, language and speaker ids too. A row of zeros precedes each codebook's: id -1, an absent
    one, is its embedding.
    """

    def __init__(self, config: ModelConfig, weights: Tensors) -> None:
        names = ["talker.model.codec_embedding.weight"]
        names += [f"talker.code_predictor.model.codec_embedding.{g}.weight" for g in range(config.code_groups - 1)]
        tables = [weights[name] for name in names]
        self.table = torch.cat([F.pad(table, (0, 0, 1, 0)) for table in tables])
        sizes = torch.tensor([1] + [len(table) + 1 for table in tables[:-1]], device=self.table.device)
        self._offsets = sizes.cumsum(0)

    def rows(self, codes: Tensor) -> Tensor:
        """Rows of `table` for codes (R, code groups).

        A code is -1 where absent.
        """
        return codes + self._offsets


class TalkerLayers:
    """Layers over paged keys, values.

    With peers a shard of each. `cache` holds one pair of tensors a layer, of the shard's heads.
    """

    def __init__(
        self,
        config: DecoderConfig,
        weights: Tensors,
        cache: list[LayerCache],
        positions: int,
        ops: Ops,
        peers: Peers | None = None,
    ) -> None:
        self.stack = DecoderStack(config, weights, "talker.model", ops, peers)
        self.rope = rope_tables(config, positions, self.stack.norm)
        self.cache = cache
        self._ops, self._peers = ops, peers

    def forward(self, x: Tensor, metadata: AttentionMetadata, several: bool) -> tuple[Tensor, Tensor | None]:
        """State of rows before the final norm.

        x (R, K) -> (R, K), and after that norm where it has been computed on the way.
        `several`: the rows may be several positions of a slot. Peers take the x of rank 0.
        """
        paged = self._ops.paged_prefill if several else self._ops.paged_decode

        def attend(layer: int, qkv: Tensor, norms: HeadNorms) -> Tensor:
            return paged(qkv, norms, self.rope, self.cache[layer], metadata)

        if self._peers is not None:
            self._peers.broadcast(x)
        return self.stack.run_layers(x, attend)


class Talker:
    """Embeddings, layers, head; the layers shared with peers, if any."""

    def __init__(
        self,
        config: ModelConfig,
        weights: Tensors,
        text: TextEmbedding,
        cache: list[LayerCache],
        positions: int,
        ops: Ops,
        peers: Peers | None = None,
    ) -> None:
        self.layers = TalkerLayers(config.talker, weights, cache, positions, ops, peers)
        self.head = weights["talker.codec_head.weight"]
        self.text = text
        self.codec = CodecEmbedding(config, weights)
        self._ops, self._peers = ops, peers

    @property
    def stack(self) -> DecoderStack:
        """The decoder layers."""
        return self.layers.stack

    def embed(self, text: Tensor, codes: Tensor) -> Tensor:
        """Sum of text embedding with codec embeddings.

        Text ids (R,), codes (R, code groups) -> (R, K).
        """
        return self._ops.embed(self.codec.table, self.codec.rows(codes), self.text(text))

    def share(self, table: Tensor) -> None:
        """Give peers the table of a step."""
        if self._peers is not None:
            self._peers.broadcast(table)

    def decode(
        self, x: Tensor, block_table: Tensor, slots: Tensor, positions: Tensor, prompt: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Hidden states, logits of one position a row.

        x (P + R, K) -> hidden state after the final norm (R, K), logits (R, V).
        The first `prompt` = P rows are prompt tokens, of which keys, values alone are kept.
        """
        x, normed = self.layers.forward(x, AttentionMetadata(block_table, slots, positions), several=prompt > 0)
        stack = self.stack
        hidden = self._ops.rms_norm(x[prompt:], stack.norm, stack.eps) if normed is None else normed[prompt:]
        return hidden, self._ops.linear(hidden, self.head)

    def prefill(self, x: Tensor, block_table: Tensor, slots: Tensor, positions: Tensor) -> None:
        """Write keys, values of rows x (R, K), without output.

        The rows may be several positions of a slot.
        """
        self.layers.forward(x, AttentionMetadata(block_table, slots, positions), several=True)


def _linear(weights: Tensors, name: str) -> tuple[Tensor, Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]
