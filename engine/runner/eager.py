"""Eager runner: slots, prefills, frames, audio, on one thread."""

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from engine.api.observer import StageTiming
from engine.api.types import Pcm
from engine.runner import nvtx
from engine.runner.chunk_groups import by_size, in_order
from engine.runner.codec import CodecStage
from engine.runner.frame import FrameStage
from engine.runner.inputs import pack_prefills, pack_rows
from engine.runner.passes import FRAME, PROMPTS, Tell, nobody
from engine.runner.prefill import PrefillStage
from engine.runner.slot_state import SlotState, pack_starts
from engine.scheduler.batch import Batch, Chunk, DecodeRow, SlotInit, StepOutput


class Stopwatch:
    """Durations of stages, recorded as each ends.

    `graph` as in `StageTiming`.
    """

    def __init__(self, graph: bool | None) -> None:
        self._graph = graph
        self._since = time.perf_counter()
        self.timings: list[StageTiming] = []

    def lap(self, stage: str, batch: int) -> None:
        """Charge the time since the last lap to `stage`.

        A stage without rows is not recorded.
        """
        now = time.perf_counter()
        if batch:
            self.timings.append(StageTiming(stage, batch, now - self._since, self._graph))
        self._since = now


class EagerRunner:
    """Runner that completes each step at once, on any device.

    Belongs to the device thread.
    """

    def __init__(
        self, state: SlotState, prefill: PrefillStage, frame: FrameStage, codec: CodecStage, tell: Tell = nobody
    ) -> None:
        """`tell` peers of each pass."""
        self._tell = tell
        self._state, self._prefill, self._frame, self._codec = state, prefill, frame, codec
        self._device, self._groups = state.codes.device, state.codes.shape[1]

    @torch.inference_mode()
    def step(self, batch: Batch) -> StepOutput:
        """Run one batch; raises whatever the device raises."""
        watch = Stopwatch(False if self._device.type == "cuda" else None)
        if batch.inits:
            self._start(batch.inits)
        if batch.prefills:
            table = pack_prefills(batch.prefills, self._groups)
            self._tell(PROMPTS, len(table))
            with nvtx.stage("prefill"):
                self._prefill.forward(torch.from_numpy(table).to(self._device))
            watch.lap("prefill", len(table))
        with nvtx.stage("frame"):
            frames = self._run_rows(batch.rows, watch)
        sampled_at = time.monotonic()
        with nvtx.stage("codec"):
            audio = self._decode(batch.chunks)
        watch.lap("codec", len(batch.chunks))
        return StepOutput(batch, frames[:, :-1], frames[:, -1].astype(bool), audio, sampled_at, tuple(watch.timings))

    def _start(self, inits: Sequence[SlotInit]) -> None:
        table = torch.from_numpy(pack_starts(inits)).to(self._device)
        self._state.load(table)
        self._codec.reset(table[:, 0])
        for init in inits:
            self._state.load_vector(init)
            self._state.load_past(init)
            self._codec.restore(init.slot, init.reference, init.primed, init.scope)

    def _run_rows(self, rows: Sequence[DecodeRow], watch: Stopwatch) -> npt.NDArray[np.int32]:
        if not rows:
            return np.empty((0, self._groups + 1), np.int32)
        table = torch.from_numpy(pack_rows(rows, self._groups)).to(self._device)
        self._tell(FRAME, len(rows))
        frames = self._frame.forward(table, lambda: watch.lap("talker", len(rows)))
        watch.lap("predictor", len(rows))
        result: npt.NDArray[np.int32] = frames.cpu().numpy()
        return result

    def _decode(self, chunks: Sequence[Chunk]) -> list[Pcm]:
        """Audio of each chunk, in order.

        Chunks of one size share a codec call.
        """
        calls = by_size(chunks).items()
        return in_order((members, self._decode_call([chunks[i] for i in members], size)) for size, members in calls)

    def _decode_call(self, chunks: Sequence[Chunk], size: int) -> Pcm:
        slots, device = [chunk.slot for chunk in chunks], self._device
        first = torch.tensor([chunk.first for chunk in chunks], device=device)
        codes = self._state.pending_codes(torch.tensor(slots, device=device), first, size)
        pcm: Pcm = self._codec.decode(slots, codes).cpu().numpy()
        return pcm
