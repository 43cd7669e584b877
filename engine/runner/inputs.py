"""A step's integers as one table: a row a position, the same fields for prompt columns and for frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from engine.prompt.prompt_tokens import VECTOR
from engine.scheduler.batch import DecodeRow, Prefill

FIELDS = 8  # slot, position, block, text, flag, index, frame, may_end; then the codes, one a code group


@dataclass(frozen=True, slots=True)
class Inputs:
    """Columns of the table, (R,) each, and codes (R, code groups), -1 where absent.

    `flag`: of a prompt column, that the slot's vector is added; of a frame, that `codes` are given here and not
    taken from the slot. `index`: the frame within its segment, `frame`: within its turn, `may_end`: 0 or 1.
    """

    slots: Tensor
    positions: Tensor
    blocks: Tensor
    text: Tensor
    flag: Tensor
    index: Tensor
    frame: Tensor
    may_end: Tensor
    codes: Tensor

    @classmethod
    def of(cls, table: Tensor) -> "Inputs":
        """The columns of a table (R, FIELDS + code groups) int64, each contiguous as kernels want them."""
        slots, positions, blocks, text, flag, index, frame, may_end = table[:, :FIELDS].t().contiguous().unbind()
        codes = table[:, FIELDS:]
        return cls(slots, positions, blocks, text, flag, index, frame, may_end, codes)


def pack_rows(rows: Sequence[DecodeRow], groups: int) -> npt.NDArray[np.int64]:
    """The table of frames."""
    table = np.full((len(rows), FIELDS + groups), -1, np.int64)
    table[:, :FIELDS] = [
        (r.slot, r.position, r.block, r.text, r.codes is not None, r.index, r.frame, r.may_end) for r in rows
    ]
    for line, row in enumerate(rows):
        if row.codes is not None:
            table[line, FIELDS : FIELDS + len(row.codes)] = row.codes
    return table


def pack_prefills(prefills: Sequence[Prefill], groups: int) -> npt.NDArray[np.int64]:
    """The table of prompt columns, one prompt after the other."""
    tokens = [(work, i, token) for work in prefills for i, token in enumerate(work.tokens)]
    table = np.full((len(tokens), FIELDS + groups), -1, np.int64)
    table[:, :FIELDS] = [
        (work.slot, work.start + i, work.blocks[i], token.text, token.codes == VECTOR, 0, 0, 0)
        for work, i, token in tokens
    ]
    for line, (_, _, token) in enumerate(tokens):
        table[line, FIELDS : FIELDS + len(token.codes)] = token.codes
    return table


def padding(dummy: int, groups: int) -> list[int]:
    """A row that may be added to fill a batch: it touches the dummy slot and the scratch block alone."""
    return [dummy, 0, 0, 0, 0, 0, 0, 1] + [-1] * groups
