"""Metadata of paged attention for the rows of a step.

Made once a forward, computed once for all layers.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class VarlenMetadata:
    """Varlen segments: neighbouring rows of one slot, Q runs.

    Runs at the end are empty where there are fewer.
    tables (Q, M) int32: each run's blocks; rows, keys (Q + 1,) int32: `cu_seqlens_q` and `cu_seqlens_k`, where each
    run's rows begin, and the positions up to its last row, were they laid side by side.
    """

    tables: Tensor
    rows: Tensor
    keys: Tensor


@dataclass(frozen=True)
class AttentionMetadata:
    """Positions of R rows in the paged cache.

    block_table (S, M) int32, slots (R,) int64, positions (R,) int64; nothing here waits for a device.
    """

    block_table: Tensor
    slots: Tensor
    positions: Tensor

    @cached_property
    def tables(self) -> Tensor:
        """Blocks of each row's slot: (R, M) int32."""
        return self.block_table.index_select(0, self.slots)

    @cached_property
    def lengths(self) -> Tensor:
        """Positions that each row attends to: (R,) int32."""
        return self.positions.int() + 1

    @cached_property
    def runs(self) -> VarlenMetadata:
        """Rows in runs of one slot at consecutive positions."""
        count, device = len(self.slots), self.slots.device
        opens = self.slots.diff(prepend=self.slots.new_full((1,), -1)) != 0
        number = opens.cumsum(0) - 1  # run of each row
        most = min(count, len(self.block_table))
        rows = torch.searchsorted(number, torch.arange(most + 1, device=device))
        last = (rows[1:] - 1).clamp(min=0)
        seen = torch.where(rows.diff() > 0, self.lengths[last], 0)
        tables = self.block_table.index_select(0, self.slots[last])
        return VarlenMetadata(tables, rows.int(), F.pad(seen.cumsum(0), (1, 0)).int())
