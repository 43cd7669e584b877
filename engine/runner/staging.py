"""Pinned host memory of a step, with its events."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from engine.runner.cuda_graphs import Graphs, Output
from engine.runner.step_graphs import StepGraphs
from engine.scheduler.chunk_policy import SIZES


class StagingBuffer:
    """Pinned host memory for a table.

    Filled as an array, copied in one piece at the size of a graph.
    """

    def __init__(self, padding: Sequence[int], sizes: Sequence[int]) -> None:
        """`padding`: a row without effect; `sizes` ascend."""
        memory = torch.empty((sizes[-1], len(padding)), dtype=torch.int64, pin_memory=True)
        self._array, self._padding = memory.numpy(), np.array(padding, np.int64)
        self._pieces = {size: memory[:size] for size in sizes}

    def load(self, rows: npt.NDArray[np.int64], graphs: Graphs[Output]) -> None:
        """Copy `rows` (R, fields) to their graph's table.

        They are padded to the size of the graph.
        """
        count, size = len(rows), graphs.size(len(rows))
        self._array[:count] = rows
        self._array[count:size] = self._padding
        graphs.tables[size].copy_(self._pieces[size], non_blocking=True)


@dataclass(frozen=True, slots=True)
class StepEvents:
    """Events around the stages.

    `decoding` and `decoded` are on the codec's stream, the others on the frames'.
    """

    started: torch.cuda.Event
    prefilled: torch.cuda.Event
    framed: torch.cuda.Event
    decoding: torch.cuda.Event
    decoded: torch.cuda.Event

    @classmethod
    def new(cls) -> "StepEvents":
        """Events that have the time of the device."""
        return cls(*(torch.cuda.Event(enable_timing=True) for _ in range(5)))


class StepBuffers:
    """Pinned host memory of one step, sized for `graphs`.

    `riding` by prompt tokens: these, then rows; `chunks` by chunk size: slot, first frame; `frames`: (slots, code
    groups + 1) int32; `audio`: (samples,) int16, one chunk after the other.
    """

    def __init__(self, graphs: StepGraphs) -> None:
        padding, slots = graphs.padding, graphs.slots
        self.starts = StagingBuffer(graphs.start_padding, graphs.starts.sizes)
        self.resets = StagingBuffer((slots,), graphs.resets.sizes)
        self.tokens = StagingBuffer(padding, graphs.prefill.sizes)
        self.rows = StagingBuffer(padding, graphs.rows.sizes)
        self.riding = {size: StagingBuffer(padding, each.sizes) for size, each in graphs.riding.items()}
        self.chunks = {size: StagingBuffer((slots, 0), each.sizes) for size, each in graphs.chunks.items()}
        self.frames = torch.empty((slots, graphs.groups + 1), dtype=torch.int32, pin_memory=True)
        samples = slots * SIZES[-1] * graphs.frame_samples
        self.audio = torch.empty((samples,), dtype=torch.int16, pin_memory=True)
        self.events = StepEvents.new()
