"""Prompt columns into the talker's cache; the last prompt column is left to the frame step, as its first input."""

import torch
from torch import Tensor

from engine.model.talker import Talker
from engine.runner.inputs import Inputs
from engine.runner.slot_state import SlotState


class PrefillStage:
    """A function of (R, FIELDS + code groups) integers, rows being columns of one prompt or of several."""

    def __init__(self, talker: Talker, state: SlotState) -> None:
        self._talker, self._state = talker, state

    def forward(self, table: Tensor) -> None:
        """Write keys and values of the columns at their positions."""
        inputs, state = Inputs.of(table), self._state
        state.map_blocks(inputs.slots, inputs.positions, inputs.blocks)
        vectors = torch.where(inputs.flag[:, None] > 0, state.vector[inputs.slots], 0)
        x = self._talker.embed(inputs.text, inputs.codes) + vectors
        self._talker.prefill(x, state.block_table, inputs.slots, inputs.positions)
