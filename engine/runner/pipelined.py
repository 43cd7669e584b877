"""Pipelined runner: CUDA graphs, one step ahead of the results.

Audio is decoded beside the next frame.
"""

import time
from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np
import torch
from torch import Tensor

from engine.runner import nvtx, step_graphs
from engine.runner.chunk_groups import by_size
from engine.runner.codec import CodecStage
from engine.runner.cuda_graphs import Graphs
from engine.runner.frame import FrameStage
from engine.runner.inputs import pack_prefills, pack_rows
from engine.runner.launched import Group, LaunchedStep
from engine.runner.pacer import StepPacer
from engine.runner.passes import FRAME, PROMPTS, Tell, nobody
from engine.runner.prefill import PrefillStage
from engine.runner.slot_state import SlotState, pack_starts
from engine.runner.staging import StagingBuffer, StepBuffers
from engine.runner.step_graphs import StepGraphs
from engine.scheduler.batch import NOTHING, Batch, Chunk, Prefill, SlotInit, StepOutput

DEPTH = 4  # sets of host buffers: the step being filled, the one in flight, two whose audio is still to be read


class PipelinedRunner:
    """Runner of captured graphs, on the device thread.

    Everything is captured when it is built; afterwards a step launches graphs and copies, and allocates nothing.
    """

    @torch.inference_mode()
    def __init__(
        self,
        state: SlotState,
        prefill: PrefillStage,
        frame: FrameStage,
        codec: CodecStage,
        tokens: int,
        tell: Tell = nobody,
        prepared: Callable[[], None] | None = None,
    ) -> None:
        """`tokens`: the most prompt tokens of a step.

        `tell` peers of each pass; `prepared` is called when all kernels have run once, before the capture.
        """
        self._tell = tell
        self._state, self._frame, self._codec = state, frame, codec
        self._device, self._groups = state.codes.device, state.codes.shape[1]
        self._main = torch.cuda.Stream(self._device)
        self._side = torch.cuda.Stream(self._device, step_graphs.AUDIO_PRIORITY)
        self._graphs = StepGraphs(state, prefill, frame, codec, tokens, prepared)
        self._buffers = cycle([StepBuffers(self._graphs) for _ in range(DEPTH)])
        self._in_flight: LaunchedStep | None = None
        self._read: LaunchedStep | None = None  # the step whose frames were read last
        self._pacer = StepPacer()

    @torch.inference_mode()
    def step(self, batch: Batch) -> StepOutput:
        """Launch `batch`; return the output of the one before.

        An empty batch launches nothing.
        """
        with torch.cuda.device(self._device):
            launched = None if batch.empty else self._launch(batch)
            before, self._in_flight = self._in_flight, launched
            self._read = before
            return NOTHING if before is None else self._output(before)

    # ---- launch

    def _launch(self, batch: Batch) -> LaunchedStep:
        """Launch all stages.

        Prompts and frames on one stream, audio beside them on the other.
        """
        buffers, riding = next(self._buffers), self._graphs.riding_size(batch)
        with torch.cuda.stream(self._main):
            self._launch_frames(batch, riding, buffers)
            at = time.monotonic()
        with torch.cuda.stream(self._side):
            groups = self._launch_audio(batch, buffers)
        return LaunchedStep(batch, buffers, riding, groups, self._graphs.kind(batch, riding), at)

    def _launch_frames(self, batch: Batch, riding: int, buffers: StepBuffers) -> None:
        """Launch prompts, then frames.

        The prompts go first: while the device reads them, the host has time for all else.
        """
        if self._read is not None:  # slots and rings that its audio came from may be written again from here on
            self._main.wait_event(self._read.buffers.events.decoded)
        buffers.events.started.record()
        for init in batch.inits:
            self._state.load_vector(init)
        with nvtx.stage("prefill"):
            self._run_prefill([] if riding else batch.prefills, buffers)
        buffers.events.prefilled.record()
        self._start_slots(batch.inits, buffers)
        with nvtx.stage("frame"):
            self._run_rows(batch, riding, buffers)
        buffers.events.framed.record()
        if self._in_flight is not None:
            self._pacer.record_launch(underran=self._in_flight.buffers.events.framed.query())

    def _launch_audio(self, batch: Batch, buffers: StepBuffers) -> Sequence[Group]:
        """Launch the codec behind this step's frames."""
        if batch.inits:
            buffers.resets.load(np.array([[init.slot] for init in batch.inits], np.int64), self._graphs.resets)
            self._graphs.resets.replay(len(batch.inits))
        for init in batch.inits:
            self._codec.restore(init.slot, init.reference, init.primed, init.scope)
        self._side.wait_event(buffers.events.framed)
        buffers.events.decoding.record()
        with nvtx.stage("codec"):
            groups = self._run_chunks(batch.chunks, buffers)
        buffers.events.decoded.record()
        return groups

    def _start_slots(self, inits: Sequence[SlotInit], buffers: StepBuffers) -> None:
        if inits:
            buffers.starts.load(pack_starts(inits), self._graphs.starts)
            self._graphs.starts.replay(len(inits))
        for init in inits:
            self._state.load_past(init)

    def _run_prefill(self, prefills: Sequence[Prefill], buffers: StepBuffers) -> None:
        if prefills:
            packed = pack_prefills(prefills, self._groups)
            buffers.tokens.load(packed, self._graphs.prefill)
            self._tell(PROMPTS, self._graphs.prefill.size(len(packed)))
            self._graphs.prefill.replay(len(packed))

    def _run_rows(self, batch: Batch, riding: int, buffers: StepBuffers) -> None:
        """One frame a row, after `riding` prompt tokens.

        All in the same pass.
        """
        if not batch.rows:
            return
        count, table = len(batch.rows), pack_rows(batch.rows, self._groups)
        graphs, staging = self._graphs.rows, buffers.rows
        if riding:
            graphs, staging = self._graphs.riding[riding], buffers.riding[riding]
            table = np.concatenate((self._graphs.padded_prompts(batch, riding), table))
        staging.load(table, graphs)
        self._tell(riding or FRAME, graphs.size(len(table)))
        buffers.frames[:count].copy_(graphs.replay(len(table))[:count], non_blocking=True)

    def _run_chunks(self, chunks: Sequence[Chunk], buffers: StepBuffers) -> list[Group]:
        """One codec call a size, in order of the chunks.

        Their audio lies side by side.
        """
        groups, used = [], 0
        for size, members in by_size(chunks).items():
            # Contiguous, for any other copy would wait for the device.
            samples = len(members) * size * self._graphs.frame_samples
            audio = buffers.audio[used : used + samples].view(len(members), -1)
            _decode([chunks[i] for i in members], buffers.chunks[size], self._graphs.chunks[size], audio)
            groups.append(Group(members, audio))
            used += samples
        return groups

    # ---- output

    def _output(self, launched: LaunchedStep) -> StepOutput:
        launched.wait()
        sampled_at = time.monotonic()
        self._pacer.observe(launched.kind, launched.seconds)
        frames = launched.frames()
        return StepOutput(
            launched.batch,
            codes=frames[:, :-1],
            finite=frames[:, -1].astype(bool),
            audio=(),
            sampled_at=sampled_at,
            timings=launched.timings(),
            next_by=self._next_by(sampled_at),
            decoding=launched.decoded if launched.batch.chunks else None,
        )

    def _next_by(self, sampled_at: float) -> float:
        """When to launch the step after the one in flight.

        That one began when the one before it ended.
        """
        in_flight = self._in_flight
        return 0.0 if in_flight is None else self._pacer.next_by(in_flight.kind, max(sampled_at, in_flight.at))


def _decode(chunks: Sequence[Chunk], staging: StagingBuffer, graphs: Graphs[Tensor], audio: Tensor) -> None:
    """Decode chunks of one size to `audio` on the host.

    audio (chunks, samples) int16.
    """
    staging.load(np.array([(chunk.slot, chunk.first) for chunk in chunks], np.int64), graphs)
    audio.copy_(graphs.replay(len(chunks))[: len(chunks)], non_blocking=True)
