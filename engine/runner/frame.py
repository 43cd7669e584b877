"""One frame for every row.

Talker step, codebook 0, fifteen predictor steps, and the state for the next frame.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from engine.checkpoint.config import ModelConfig
from engine.model.predictor import Predictor
from engine.model.talker import Talker
from engine.ops.base import Ops, SamplingTensors
from engine.runner.inputs import Inputs
from engine.runner.slot_state import RING, SlotState


class FrameStage:
    """Frame as a function of an integer table.

    (R, FIELDS + code groups) -> (R, code groups + 1), all else being slot state.
    `halfway` is called between talker and predictor, for timing.
    """

    def __init__(self, config: ModelConfig, talker: Talker, predictor: Predictor, state: SlotState, ops: Ops) -> None:
        self._talker, self._predictor, self._state, self._ops = talker, predictor, state, ops
        self._groups, self._audio_ids, self._end = config.code_groups, config.predictor.vocab, config.codec.eos
        ids = torch.arange(config.talker.vocab, device=state.generated_mask.device)
        # Audio ids, end of speech; the others are control ids that the talker must never draw.
        self._allowed = (ids < config.predictor.vocab) | (ids == config.codec.eos)

    def forward(self, table: Tensor, halfway: Callable[[], None] = lambda: None) -> Tensor:
        """Codes of one frame a row, with a flag.

        table (R, FIELDS + code groups) int64 -> (R, code groups + 1) int32: codes, then 1 where logits were finite.
        Codes 1..15 are undefined where code 0 is the end-of-speech id.
        """
        inputs, state = Inputs.of(table), self._state
        slots = inputs.slots
        state.map_blocks(slots, inputs.positions, inputs.blocks)
        hidden, logits = self._talk(inputs)
        uniform = self._ops.uniforms(state.seed[slots], inputs.frame, self._groups).t().contiguous()
        first = self._first(logits, slots, uniform[0], inputs.may_end.bool())
        halfway()
        audible = torch.where(first < self._audio_ids, first, 0)  # the end's id has no embedding
        codes = self._predict(hidden, audible, slots, uniform)
        state.codes[slots] = codes
        state.frames[slots, inputs.index % RING] = codes
        return torch.cat((first[:, None], codes[:, 1:], logits.isfinite().all(-1, keepdim=True)), 1).int()

    def _talk(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        codes = torch.where(inputs.flag[:, None] > 0, inputs.codes, self._state.codes[inputs.slots])
        x = self._talker.embed(inputs.text, codes)
        return self._talker.decode(x, self._state.block_table, inputs.slots, inputs.positions)

    def _first(self, logits: Tensor, slots: Tensor, uniform: Tensor, may_end: Tensor) -> Tensor:
        state = self._state
        params = state.talker_sampling(slots, uniform)
        return self._ops.sample_talker(
            logits, params, state.penalty[slots], state.generated_mask, slots, may_end, self._allowed, self._end
        )

    def _predict(self, hidden: Tensor, first: Tensor, slots: Tensor, uniform: Tensor) -> Tensor:
        params = self._state.predictor_sampling(slots, uniform[1])

        def sampling_at(step: int) -> SamplingTensors:
            return SamplingTensors(params.temperature, params.top_k, params.top_p, uniform[step + 1])

        return self._predictor.forward(hidden, first, sampling_at)
