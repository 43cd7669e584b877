"""Shard of the talker's layers: what one rank holds.

Heads and the columns between gate and down projection are dealt out; embeddings, norms and all other parts are whole.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.api.errors import CheckpointError
from engine.checkpoint.config import DecoderConfig

SLICES = 8  # of a product's inputs: fused kernels add their sums as a tree, ((0+4)+(2+6))+((1+5)+(3+7))
LAYERS = "talker.model.layers."
OUTPUTS = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")  # weights (N, K) of which N is dealt out
INPUTS = ("o_proj", "down_proj")  # K is


@dataclass(frozen=True, slots=True)
class Shard:
    """What `rank` of `ranks` holds of a talker.

    Raises `CheckpointError` where heads or columns are not divisible.
    """

    talker: DecoderConfig
    rank: int
    ranks: int

    def __post_init__(self) -> None:
        sizes = {"key-value heads": self.talker.kv_heads, "heads": self.talker.heads}
        for name, count in (sizes | {"intermediate columns": self.talker.intermediate}).items():
            if count % self.ranks:
                raise CheckpointError(f"tensor parallel {self.ranks}: the talker's {count} {name} do not divide by it")

    @property
    def config(self) -> DecoderConfig:
        """Sizes of the shard."""
        talker, ranks = self.talker, self.ranks
        return replace(
            talker,
            heads=talker.heads // ranks,
            kv_heads=talker.kv_heads // ranks,
            intermediate=talker.intermediate // ranks,
        )

    def take(self, name: str, tensor: Tensor) -> Tensor | None:
        """Own part of a tensor.

        None of what rank 0 alone needs.
        """
        if self.ranks == 1:
            return tensor
        layer = name.startswith(LAYERS)
        kind = name.split(".")[-2] if layer else ""
        if kind in OUTPUTS:
            return self._deal(tensor, 0, self._count(kind))
        if kind in INPUTS:
            return self._deal(tensor, 1, self._count(kind))
        return tensor if self.rank == 0 or layer or name == "talker.model.norm.weight" else None

    def _count(self, kind: str) -> int:
        """Number of what is dealt out.

        Key-value heads, with their queries, or columns.
        """
        return self.talker.intermediate if kind in ("gate_proj", "up_proj", "down_proj") else self.talker.kv_heads

    def _deal(self, tensor: Tensor, dim: int, count: int) -> Tensor:
        """Each `ranks`-th piece.

        Where pieces are slices, a rank's sum is a branch of their tree.
        """
        pieces = SLICES if count % SLICES == 0 and SLICES % self.ranks == 0 else self.ranks
        cut: Tensor = tensor.unflatten(dim, (pieces, -1))
        own = torch.arange(self.rank, pieces, self.ranks, device=tensor.device)
        return cut.index_select(dim, own).flatten(dim, dim + 1)
