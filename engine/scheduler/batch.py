"""Values between event loop thread, device thread.

One step's work, and its output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.api.observer import StageTiming
from engine.api.request import Sampling
from engine.api.types import Pcm
from engine.prompt.prompt_tokens import PromptToken


@dataclass(frozen=True, slots=True)
class SlotInit:
    """Initial state of a slot for its next segment.

    `vector`: the speaker's vector, at the prompt's VECTOR token, if any.
    Empty but for cloning and for a speech that was evicted:
    `reference` (frames, code groups) int32, cached within `scope`, then `primed`: the past of the codec,
    the recording's frames and those decoded before;
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
    """Prompt tokens at positions `start...` of a slot.

    They are to be written to the cache; `blocks`: the block of each position.
    """

    slot: int
    start: int
    tokens: Sequence[PromptToken]
    blocks: Sequence[int]


@dataclass(slots=True)  # not frozen, which would cost more than half of making one
class DecodeRow:
    """One frame of one speech.

    The talker reads `text` and the slot's last codes at `position`, held in `block`.
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


@dataclass(slots=True)
class Chunk:
    """Frames of a slot's segment to decode: `count` from `first`."""

    slot: int
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One engine step, run in the order of its fields.

    Slot initialisations come first, since prefills read the slot, then prefills, rows, chunks.
    """

    inits: Sequence[SlotInit] = ()
    prefills: Sequence[Prefill] = ()
    rows: Sequence[DecodeRow] = ()
    chunks: Sequence[Chunk] = ()

    @property
    def tokens(self) -> int:
        """Prompt tokens to prefill."""
        return sum(len(work.tokens) for work in self.prefills)

    @property
    def empty(self) -> bool:
        """Whether the step only fetches outstanding results."""
        return not (self.inits or self.prefills or self.rows or self.chunks)


@dataclass(frozen=True, slots=True)
class StepOutput:
    """Output of one step.

    codes (rows, code groups); finite (rows,): False where the model's values broke down;
    audio: int16 samples a chunk, which may be longer than `count` frames, the surplus at the end;
    `decoding` waits for the audio on another thread and returns it with the stage's timings, None where it is here;
    `sampled_at`: `time.monotonic()` when the codes were sampled; `next_by`: until when
    the next batch may wait for newcomers, because the device has work till then.
    """

    batch: Batch
    codes: npt.NDArray[np.int32]
    finite: npt.NDArray[np.bool_]
    audio: Sequence[Pcm]
    sampled_at: float
    timings: tuple[StageTiming, ...] = field(default=())
    next_by: float = 0.0
    decoding: "Decoding | None" = None


Decoding = Callable[[], tuple[Sequence[Pcm], tuple[StageTiming, ...]]]
NOTHING = StepOutput(Batch(), np.empty((0, 0), np.int32), np.empty(0, np.bool_), (), 0.0)  # before any step has ended


class Runner(Protocol):
    """Runner of steps, on the device thread.

    The one seam where tests put a fake.
    """

    def step(self, batch: Batch) -> StepOutput:
        """Run one step.

        A pipelined runner returns an earlier batch's output, `NOTHING` at its first step.
        """
