"""One frame for every row: talker step, codebook 0, fifteen predictor steps, and the state for the next frame."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.batch import Row
from engine.model.config import ModelConfig
from engine.model.predictor import Predictor
from engine.model.talker import Talker
from engine.ops.interface import Ops, Picks
from engine.slots import RING, SlotState

FIELDS = 6  # integers a row: slot, position, text id, frame within the segment, frame within the turn, may end


class FrameStage:
    """A function from (R, FIELDS) integers to (R, code groups + 1) integers, everything else being slot state."""

    def __init__(self, config: ModelConfig, talker: Talker, predictor: Predictor, state: SlotState, ops: Ops) -> None:
        self._talker, self._predictor, self._state, self._ops = talker, predictor, state, ops
        self._groups, self._audio_ids, self._end = config.code_groups, config.predictor.vocab, config.codec.eos
        allowed = torch.arange(config.talker.vocab, device=state.seen.device)
        # Audio ids and end of speech; what lies between are control ids that the talker must never say.
        self._allowed = (allowed < config.predictor.vocab) | (allowed == config.codec.eos)

    def pack(self, rows: Sequence[Row]) -> list[list[int]]:
        """The integers of `rows`."""
        return [[r.slot, r.position, r.text, r.index, r.frame, int(r.may_end)] for r in rows]

    @property
    def padding(self) -> list[int]:
        """A row that may be added to fill a batch: it touches the dummy slot alone."""
        return [self._state.dummy, 0, 0, 0, 0, 1]

    def forward(self, rows: Tensor) -> Tensor:
        """rows (R, FIELDS) int64 -> (R, code groups + 1) int32: the codes, then 1 where the logits were finite.

        Codebook 0 is the end-of-speech id where the speech ends; the row's other codes mean nothing then.
        """
        slots, positions, text, index, frame, may_end = rows.unbind(1)
        hidden, logits = self._talk(text, slots, positions)
        uniform = self._ops.uniforms(self._state.seed[slots], frame, self._groups)
        first = self._first(logits, slots, uniform[:, 0], may_end.bool())
        codes = self._predict(hidden, torch.where(first == self._end, 0, first), slots, uniform)
        self._state.codes[slots] = codes
        self._state.frames[slots, index % RING] = codes
        return torch.cat((first[:, None], codes[:, 1:], logits.isfinite().all(-1, keepdim=True)), 1).int()

    def _talk(self, text: Tensor, slots: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        x = self._talker.embed(text, self._state.codes[slots])
        return self._talker.decode(x, self._state.block_table, slots, positions)

    def _first(self, logits: Tensor, slots: Tensor, uniform: Tensor, may_end: Tensor) -> Tensor:
        state = self._state
        picks = state.talker_picks(slots, uniform)
        return self._ops.sample_first(
            logits, picks, state.penalty[slots], state.seen, slots, may_end, self._allowed, self._end
        )

    def _predict(self, hidden: Tensor, first: Tensor, slots: Tensor, uniform: Tensor) -> Tensor:
        picks = self._state.predictor_picks(slots, uniform[:, 1])

        def draw(step: int, logits: Tensor) -> Tensor:
            return self._ops.sample(logits, _at(picks, uniform[:, step + 1]))

        return self._predictor.forward(hidden, first, draw)


def _at(picks: Picks, uniform: Tensor) -> Picks:
    return dataclasses.replace(picks, uniform=uniform)
