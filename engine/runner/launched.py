"""A step on the device, with its results."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from engine.api.observer import StageTiming
from engine.api.types import Pcm
from engine.runner.chunk_groups import in_order
from engine.runner.staging import StepBuffers
from engine.scheduler.batch import Batch


@dataclass(frozen=True, slots=True)
class Group:
    """One codec call.

    `members`: positions in the batch of its chunks; `audio` (chunks, samples): a piece of the audio buffer.
    """

    members: Sequence[int]
    audio: Tensor


@dataclass(frozen=True, slots=True)
class LaunchedStep:
    """A batch on the device since `at`.

    Its rows' graph has room for `riding` prompt tokens; `kind` determines its duration.
    """

    batch: Batch
    buffers: StepBuffers
    riding: int
    groups: Sequence[Group]
    kind: tuple[int, int]
    at: float

    def wait(self) -> None:
        """Wait for the frames.

        All below but `decoded` is there from then on.
        """
        self.buffers.events.framed.synchronize()

    @property
    def seconds(self) -> float:
        """Duration of the frames, prompts included."""
        events = self.buffers.events
        seconds: float = events.started.elapsed_time(events.framed) / 1e3
        return seconds

    def frames(self) -> npt.NDArray[np.int32]:
        """Codes with flags: (rows, code groups + 1)."""
        return self.buffers.frames[: len(self.batch.rows)].numpy().copy()

    def timings(self) -> tuple[StageTiming, ...]:
        """Durations of the stages before the codec."""
        events, apart = self.buffers.events, 0 if self.riding else self.batch.tokens
        prefill = events.started.elapsed_time(events.prefilled) / 1e3
        frame = events.prefilled.elapsed_time(events.framed) / 1e3
        timings = (
            StageTiming("prefill", apart, prefill, graph=True),
            StageTiming("frame", len(self.batch.rows), frame, graph=True),
        )
        return tuple(timing for timing in timings if timing.batch)

    def decoded(self) -> tuple[list[Pcm], tuple[StageTiming, ...]]:
        """Audio of each chunk, awaited, with the codec's timing."""
        events = self.buffers.events
        events.decoded.synchronize()
        seconds = events.decoding.elapsed_time(events.decoded) / 1e3
        audio = in_order((group.members, group.audio.numpy().copy()) for group in self.groups)
        return audio, (StageTiming("codec", len(self.batch.chunks), seconds, graph=True),)
