"""Cost of a frame: the runner's own graphs, replayed alone.

The rows stand in the middle of a speech.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor

from benchmarks.parts.stopwatch import WARM_UP, cpu_times, milliseconds
from engine.api.request import Sampling
from engine.prompt.prompt_tokens import PromptToken
from engine.runner.cuda_graphs import Graphs, build
from engine.runner.eager import EagerRunner
from engine.runner.frame import FrameStage
from engine.runner.inputs import pack_prefills, pack_rows
from engine.runner.pipelined import PipelinedRunner
from engine.runner.slot_state import pack_starts
from engine.scheduler.batch import Batch, DecodeRow, Prefill, SlotInit

ROWS = (1, 8, 32, 64)
STREAMS = (1, 8, 32, 64)
CHUNKS = (1, 2, 4, 12)  # frames
COLUMNS = (16, 64)
ARRIVAL = 16  # prompt columns of a newcomer
CONTEXT = 60  # positions behind a row: its prompt, and half of a typical speech
TEXT_ID = 11

AnyRunner = PipelinedRunner | EagerRunner


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Milliseconds of a frame, its halves, a step.

    `talker` includes codebook 0's sampling, `predictor` its own; `step`: with the host's work; `arrival`: the
    frame with ARRIVAL prompt columns in its talker's pass, None where they are read apart.
    """

    rows: int
    talker: float
    predictor: float
    frame: float
    step: float
    arrival: float | None


@dataclass(frozen=True, slots=True)
class PrefillTimes:
    """Milliseconds for the prompt columns of one new speech."""

    columns: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class CodecTimes:
    """Milliseconds for the next `frames` frames of `streams` streams."""

    streams: int
    frames: int
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Times:
    """All replay times of one engine."""

    frames: Sequence[FrameTimes]
    prefill: Sequence[PrefillTimes]
    codec: Sequence[CodecTimes]


@torch.inference_mode()
def replay_times(runner: AnyRunner, defaults: Sampling, repeats: int) -> Times:
    """Times of an otherwise idle engine.

    Slots and cache blocks are written to, as speeches would.
    """
    slots = runner._state.dummy
    frames = [frame_times(runner, defaults, rows, repeats) for rows in _upto(ROWS, slots)]
    prefill = [PrefillTimes(columns, prefill_time(runner, columns, repeats)) for columns in COLUMNS]
    codec = [
        CodecTimes(streams, count, codec_time(runner, streams, count, repeats))
        for count in CHUNKS
        for streams in _upto(STREAMS, slots)
    ]
    return Times(frames, prefill, codec)


def frame_times(runner: AnyRunner, defaults: Sampling, rows: int, repeats: int) -> FrameTimes:
    """The frame, its first half, a whole step.

    A step packs rows and fetches results too.
    """
    batch = Batch(rows=[_enter(runner, defaults, slot) for slot in range(rows)])
    table = torch.from_numpy(pack_rows(batch.rows, runner._groups)).to(runner._device)
    frame = milliseconds(_frame(runner, table), runner._device, repeats)
    talker = milliseconds(_talker(runner, table), runner._device, repeats)
    step = _step_time(runner, batch, repeats)
    return FrameTimes(rows, talker, frame - talker, frame, step, _arrival_time(runner, table, repeats))


def _arrival_time(runner: AnyRunner, rows: Tensor, repeats: int) -> float | None:
    """Milliseconds of a frame that reads a newcomer's prompt too."""
    if isinstance(runner, EagerRunner) or ARRIVAL not in runner._graphs.riding:
        return None
    graphs, size = runner._graphs.riding[ARRIVAL], ARRIVAL + len(rows)
    graphs.table[:size] = torch.cat((_prompt_table(runner, ARRIVAL), rows))
    return milliseconds(lambda: graphs.replay(size), runner._device, repeats)


def _prompt_table(runner: AnyRunner, columns: int) -> Tensor:
    """Prompt columns of a speech in slot 0."""
    size = runner._state.block_size
    work = Prefill(0, 0, [PromptToken(TEXT_ID, ())] * columns, [1 + position // size for position in range(columns)])
    return torch.from_numpy(pack_prefills([work], runner._groups)).to(runner._device)


def prefill_time(runner: AnyRunner, columns: int, repeats: int) -> float:
    """Milliseconds of one prompt of `columns` columns in slot 0."""
    table = _prompt_table(runner, columns)
    if isinstance(runner, PipelinedRunner):
        graphs = runner._graphs.prefill
        graphs.table[:columns] = table
        return milliseconds(lambda: graphs.replay(columns), runner._device, repeats)
    return milliseconds(lambda: runner._prefill.forward(table), runner._device, repeats)


def codec_time(runner: AnyRunner, streams: int, frames: int, repeats: int) -> float:
    """Milliseconds of one decoding call."""
    places = torch.tensor([(slot, 0) for slot in range(streams)], device=runner._device)
    if isinstance(runner, PipelinedRunner):
        graphs = runner._graphs.chunks[frames]
        graphs.table[:streams] = places
        return milliseconds(lambda: graphs.replay(streams), runner._device, repeats)
    slots, codes = places[:, 0], runner._state.frames[:streams, :frames]
    return milliseconds(lambda: runner._codec.forward(slots, codes), runner._device, repeats)


class _HalfwayError(Exception):
    """Ends a frame after its talker."""


def _frame(runner: AnyRunner, table: Tensor) -> Callable[[], object]:
    if isinstance(runner, EagerRunner):
        return lambda: runner._frame.forward(table)
    runner._graphs.rows.table[: len(table)] = table
    return lambda: runner._graphs.rows.replay(len(table))


def _talker(runner: AnyRunner, table: Tensor) -> Callable[[], object]:
    """The frame up to its middle; a graph on GPU."""

    half = partial(half_frame, runner._frame)
    if isinstance(runner, EagerRunner):
        return lambda: half(table)
    graphs = Graphs(half, table, [len(table)], torch.cuda.graph_pool_handle())
    build([graphs])
    return lambda: graphs.replay(len(table))


def half_frame(stage: FrameStage, table: Tensor) -> None:
    """Run a frame up to its middle, codebook 0 drawn."""
    try:
        stage.forward(table, _stop)
    except _HalfwayError:
        return


def _stop() -> None:
    raise _HalfwayError


def _step_time(runner: AnyRunner, batch: Batch, repeats: int) -> float:
    """Milliseconds of a step.

    A pipelined runner returns as soon as the step before is done, so its period is the time of a step.
    """
    times = cpu_times(lambda: runner.step(batch), WARM_UP + repeats)
    runner.step(Batch())
    return median(times[WARM_UP:])


def _enter(runner: AnyRunner, sampling: Sampling, slot: int) -> DecodeRow:
    """A row in mid-speech, with slot plus blocks."""
    state = runner._state
    blocks = -(-(CONTEXT + 1) // state.block_size)
    first = 1 + slot * blocks
    start = pack_starts([SlotInit(slot, sampling, slot, None, None, (), (), 0, ())])
    state.load(torch.from_numpy(start).to(state.codes.device))
    state.block_table[slot, :blocks] = torch.arange(first, first + blocks, device=state.block_table.device)
    block = first + CONTEXT // state.block_size
    return DecodeRow(slot, CONTEXT, block, TEXT_ID, codes=None, index=0, frame=slot, may_end=False)


def _upto(sizes: Sequence[int], most: int) -> Iterator[int]:
    return (size for size in sizes if size <= most)
