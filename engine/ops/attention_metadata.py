"""Where the rows of a step stand in the paged cache: made once a forward, worked out once for all layers."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class VarlenMetadata:
    """Neighbouring rows of one slot taken together, Q runs, those at the end empty where there are fewer.

    tables (Q, M) int32: each run's blocks; rows (Q + 1,), keys (Q + 1,) int32: where each run's rows begin, and where
    the positions that its last row sees would, were they laid side by side.
    """

    tables: Tensor
    rows: Tensor
    keys: Tensor


@dataclass(frozen=True)
class AttentionMetadata:
    """block_table (S, M) int32, slots (R,) int64, positions (R,) int64 of R rows; nothing here waits for a device."""

    block_table: Tensor
    slots: Tensor
    positions: Tensor

    @cached_property
    def tables(self) -> Tensor:
        """The blocks of each row's slot: (R, M) int32."""
        return self.block_table.index_select(0, self.slots)

    @cached_property
    def lengths(self) -> Tensor:
        """How many positions each row sees: (R,) int32."""
        return self.positions.int() + 1

    @cached_property
    def runs(self) -> VarlenMetadata:
        """The rows in runs, where rows of a slot adjoin at positions that follow each other."""
        count, device = len(self.slots), self.slots.device
        opens = self.slots.diff(prepend=self.slots.new_full((1,), -1)) != 0
        number = opens.cumsum(0) - 1  # of the run that each row belongs to
        most = min(count, len(self.block_table))
        rows = torch.searchsorted(number, torch.arange(most + 1, device=device))
        last = (rows[1:] - 1).clamp(min=0)
        seen = torch.where(rows.diff() > 0, self.lengths[last], 0)
        tables = self.block_table.index_select(0, self.slots[last])
        return VarlenMetadata(tables, rows.int(), F.pad(seen.cumsum(0), (1, 0)).int())
