"""Prompt columns into the talker's cache; the last prompt column is left to the frame step, as its first input."""

import torch
from torch import Tensor

from engine.batch import Prefill
from engine.model.config import ModelConfig
from engine.model.talker import Talker
from engine.prompt import VECTOR
from engine.slots import SlotState


class PrefillStage:
    """Runs one speech's columns at a time; how many a step may hold is the scheduler's choice."""

    def __init__(self, config: ModelConfig, talker: Talker, state: SlotState) -> None:
        self._groups, self._talker, self._state = config.code_groups, talker, state
        self._device = state.codes.device

    def run(self, work: Prefill) -> None:
        """Write keys and values of `work.columns` at their positions."""
        self._talker.prefill(self._embed(work), self._state.block_table, work.slot, work.start)

    def _embed(self, work: Prefill) -> Tensor:
        text = torch.tensor([column.text for column in work.columns], device=self._device)
        codes = torch.tensor([self._padded(column.codes) for column in work.columns], device=self._device)
        x = self._talker.embed(text, codes)
        for row, column in enumerate(work.columns):
            if column.codes == VECTOR:
                assert work.vector is not None
                x[row] += torch.from_numpy(work.vector).to(x)
        return x

    def _padded(self, codes: tuple[int, ...]) -> tuple[int, ...]:
        return codes + (-1,) * (self._groups - len(codes))
