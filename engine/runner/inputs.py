"""Integers of a step as one table.

A row a position, the same fields for prompt tokens and for frames.
"""

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
    """Fields of the table: (R,) each; codes (R, code groups).

    Codes are -1 where absent.
    `flag`: of a prompt token, that the slot's vector is added; of a frame, that `codes` are given here and not
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
        """Fields of a table (R, FIELDS + code groups) int64.

        Each is contiguous, as kernels require.
        """
        slots, positions, blocks, text, flag, index, frame, may_end = table[:, :FIELDS].t().contiguous().unbind()
        codes = table[:, FIELDS:]
        return cls(slots, positions, blocks, text, flag, index, frame, may_end, codes)


def pack_rows(rows: Sequence[DecodeRow], groups: int) -> npt.NDArray[np.int64]:
    """Table of frames."""
    table = np.full((len(rows), FIELDS + groups), -1, np.int64)
    table[:, :FIELDS] = [
        (r.slot, r.position, r.block, r.text, r.codes is not None, r.index, r.frame, r.may_end) for r in rows
    ]
    for line, row in enumerate(rows):
        if row.codes is not None:
            table[line, FIELDS : FIELDS + len(row.codes)] = row.codes
    return table


def pack_prefills(prefills: Sequence[Prefill], groups: int) -> npt.NDArray[np.int64]:
    """Table of prompt tokens, one prompt after the other."""
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
    """Row that fills up a batch without effect.

    It touches the dummy slot and the scratch block alone.
    """
    return [dummy, 0, 0, 0, 0, 0, 0, 1] + [-1] * groups
