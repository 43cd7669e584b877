"""What crosses between the event loop and the device thread: one step's work, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.api.observer import StageTiming
from engine.api.request import Sampling
from engine.prompt.prompt_tokens import PromptToken


@dataclass(frozen=True, slots=True)
class SlotInit:
    """A speech enters a slot, or its next segment does. `vector`: what stands in the prompt's VECTOR column, if any.

    Empty but for cloning and for a speech that was evicted:
    `reference` (frames, code groups) int32, remembered within `scope`, then `primed`: what the codec has to have heard
    before, the recording's frames and those decoded before;
    `pending`: frames from number `first_pending` of the segment on, made and not yet decoded;
    `generated`: codebook-0 ids already generated in this segment.
    """

    slot: int
    sampling: Sampling
    seed: int
    vector: npt.NDArray[np.float32] | None
    reference: npt.NDArray[np.int32] | None
    primed: Sequence[tuple[int, ...]]
    pending: Sequence[tuple[int, ...]]
    first_pending: int
    generated: Sequence[int]
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Prefill:
    """Columns at positions `start...` of a slot, to be written to the cache; `blocks`: the block of each position."""

    slot: int
    start: int
    tokens: Sequence[PromptToken]
    blocks: Sequence[int]


@dataclass(frozen=True, slots=True)
class DecodeRow:
    """One speech makes one frame: the talker reads `text` and the slot's last codes at `position`, held in `block`.

    `codes` overrides the slot's last codes (first frame after a prefill). `index`: the frame's number within the
    segment, `frame`: within the turn, which addresses its randomness.
    """

    slot: int
    position: int
    block: int
    text: int
    codes: tuple[int, ...] | None
    index: int
    frame: int
    may_end: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Decode frames `first...first + count - 1` of a slot's segment to audio."""

    slot: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One engine step, in this order: inits, prefills, rows, chunks."""

    inits: Sequence[SlotInit] = ()
    prefills: Sequence[Prefill] = ()
    rows: Sequence[DecodeRow] = ()
    chunks: Sequence[Chunk] = ()

    @property
    def empty(self) -> bool:
        """Nothing to run: the step only fetches results that are outstanding."""
        return not (self.inits or self.prefills or self.rows or self.chunks)


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What `batch` came to: codes (rows, code groups), finite (rows,): False where the model's values broke down;
    audio: int16 samples a chunk; `sampled_at`: `time.monotonic()` when the codes were known; `next_by`: until when
    the next batch may wait for newcomers, because the device has work till then."""

    batch: Batch
    codes: npt.NDArray[np.int32]
    finite: npt.NDArray[np.bool_]
    audio: Sequence[npt.NDArray[np.int16]]
    sampled_at: float
    timings: tuple[StageTiming, ...] = field(default=())
    next_by: float = 0.0


NOTHING = StepOutput(Batch(), np.empty((0, 0), np.int32), np.empty(0, np.bool_), (), 0.0)  # no step has ended yet


class Runner(Protocol):
    """What the engine loop asks of the device, on a thread of its own; the one place where tests put a fake."""

    def step(self, batch: Batch) -> StepOutput:
        """Run one step. A pipelined runner returns an earlier batch's output, `NOTHING` at its first step."""
