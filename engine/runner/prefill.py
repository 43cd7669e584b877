"""Prefill of prompt tokens into the talker's cache.

The last prompt token is left to the frame step, as its first input.
"""

import torch
from torch import Tensor

from engine.model.talker import Talker
from engine.runner.inputs import Inputs
from engine.runner.slot_state import SlotState


class PrefillStage:
    """Prefill as a function of an integer table.

    (R, FIELDS + code groups), rows being tokens of one prompt or of several.
    """

    def __init__(self, talker: Talker, state: SlotState) -> None:
        self._talker, self._state = talker, state

    def forward(self, table: Tensor) -> None:
        """Write keys, values of the tokens at their positions."""
        inputs, state = Inputs.of(table), self._state
        self._talker.share(table)
        state.map_blocks(inputs.slots, inputs.positions, inputs.blocks)
        x = embed_prompt(self._talker, state, inputs)
        self._talker.prefill(x, state.block_table, inputs.slots, inputs.positions)


def embed_prompt(talker: Talker, state: SlotState, inputs: Inputs) -> Tensor:
    """Embeddings (R, K) of prompt tokens, with the speaker's vector."""
    vectors = torch.where(inputs.flag[:, None] > 0, state.vector[inputs.slots], 0)
    return talker.embed(inputs.text, inputs.codes) + vectors
