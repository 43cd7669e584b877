"""One frame for every row.

Talker step, codebook 0, fifteen predictor steps, and the state for the next frame.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.checkpoint.config import ModelConfig
from engine.model.predictor import Predictor
from engine.model.talker import Talker
from engine.ops.base import Ops, SamplingTensors
from engine.runner.inputs import Inputs
from engine.runner.prefill import embed_prompt
from engine.runner.slot_state import RING, SlotState


class FrameStage:
    """Frame as a function of an integer table.

    (R, FIELDS + code groups) -> (R, code groups + 1), all else being slot state.
    `halfway` is called between talker and predictor, for timing. `takes_prompts`: whether a frame comes out the same
    where prompt tokens are read with it.
    """

    def __init__(self, config: ModelConfig, talker: Talker, predictor: Predictor, state: SlotState, ops: Ops) -> None:
        self._talker, self._predictor, self._state, self._ops = talker, predictor, state, ops
        self.takes_prompts = ops.one_attention
        self._groups, self._audio_ids, self._end = config.code_groups, config.predictor.vocab, config.codec.eos
        ids = torch.arange(config.talker.vocab, device=state.generated_mask.device)
        # Audio ids, end of speech; the others are control ids that the talker must never draw.
        self._allowed = (ids < config.predictor.vocab) | (ids == config.codec.eos)

    def forward(self, table: Tensor, halfway: Callable[[], None] = lambda: None, prompt: int = 0) -> Tensor:
        """Codes of one frame a row, with a flag.

        table (P + R, FIELDS + code groups) int64 -> (R, code groups + 1) int32: codes, then 1 where all
        logits were finite.
        Codes 1..15 are undefined where code 0 is the end-of-speech id.
        The first `prompt` = P rows are prompt tokens, as `PrefillStage` takes: the talker reads them in the same pass.
        """
        every, state = Inputs.of(table), self._state
        inputs = Inputs.of(table[prompt:]) if prompt else every
        slots = inputs.slots
        self._talker.share(table)
        state.map_blocks(every.slots, every.positions, every.blocks)
        x = self._embed(inputs)
        if prompt:
            x = torch.cat((embed_prompt(self._talker, state, Inputs.of(table[:prompt])), x))
        hidden, logits = self._talker.decode(x, state.block_table, every.slots, every.positions, prompt)
        uniform = self._ops.uniforms(state.seed[slots], inputs.frame, self._groups).t().contiguous()
        talker, predictor, penalty = state.sampling(slots, uniform)
        first = self._ops.sample_talker(
            logits, talker, penalty, state.generated_mask, slots, inputs.may_end.bool(), self._allowed, self._end
        )
        halfway()
        audible = torch.where(first < self._audio_ids, first, 0)  # the end's id has no embedding
        codes, predicted = self._predict(hidden, audible, predictor, uniform)
        state.codes[slots] = codes
        state.frames[slots, inputs.index % RING] = codes
        return torch.cat((first[:, None], codes[:, 1:], _finite([logits, *predicted])), 1).int()

    def _embed(self, inputs: Inputs) -> Tensor:
        codes = torch.where(inputs.flag[:, None] > 0, inputs.codes, self._state.codes[inputs.slots])
        return self._talker.embed(inputs.text, codes)

    def _predict(
        self, hidden: Tensor, first: Tensor, params: SamplingTensors, uniform: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        def sampling_at(step: int) -> SamplingTensors:
            return SamplingTensors(params.temperature, params.top_k, params.top_p, uniform[step + 1])

        return self._predictor.forward(hidden, first, sampling_at)


def _finite(logits: Sequence[Tensor]) -> Tensor:
    """Whether all values of a row are finite.

    (R, V) each -> (R, 1).
    """
    largest = torch.linalg.vector_norm(torch.cat(list(logits), 1), torch.inf, -1, keepdim=True)
    finite: Tensor = largest < torch.inf  # not of NaN either
    return finite
