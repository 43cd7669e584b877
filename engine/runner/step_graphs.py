"""Captured graphs of a step's stages, in all sizes."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.runner.codec import CodecStage
from engine.runner.cuda_graphs import Graphs, Pool, build, sizes_up_to
from engine.runner.frame import FrameStage
from engine.runner.inputs import pack_prefills, padding
from engine.runner.passes import FRAME, PROMPTS, pass_sizes
from engine.runner.prefill import PrefillStage
from engine.runner.slot_state import SlotState, start_padding
from engine.scheduler.batch import Batch
from engine.scheduler.chunk_policy import SIZES

STREAM_SIZES = (1, 2, 4, 8, 16, 32, 64)
AUDIO_PRIORITY = -1  # of the codec's kernels before those of the next frame, which somebody waits for later


class StepGraphs:
    """Graphs of starts, prompt tokens, rows, both in one pass, chunks.

    `starts` takes the table of `pack_starts`, `resets` (R, 1) int64: the slots whose streams start.
    `prefill` and `rows` take the table of `inputs`; so does `riding`, by prompt tokens, which precede the rows;
    `chunks`, by frames a chunk: (B, 2) int64, slot and first frame, -> (B, samples) int16.
    """

    def __init__(
        self,
        state: SlotState,
        prefill: PrefillStage,
        frame: FrameStage,
        codec: CodecStage,
        tokens: int,
        prepared: Callable[[], None] | None = None,
    ) -> None:
        """Prepare all, call `prepared`, capture all.

        `tokens`: the most prompt tokens of a step.
        """
        self.slots, self.groups, self.frame_samples = state.dummy, state.codes.shape[1], codec.frame_samples
        self.padding, self.start_padding = padding(self.slots, self.groups), start_padding(self.slots)
        self._device, self._state, self._codec = state.codes.device, state, codec
        pool = torch.cuda.graph_pool_handle()
        sizes = pass_sizes(self.slots, tokens, frame.takes_prompts)
        self.rows = Graphs(frame.forward, self._padded(self.slots), sizes.pop(FRAME), pool)
        self.prefill = Graphs(prefill.forward, self._padded(tokens), sizes.pop(PROMPTS), pool)
        self.riding = self._riding_graphs(frame, sizes, pool)
        self.chunks = self._chunk_graphs()
        self.starts, self.resets = self._start_graphs()
        prompts = (self.starts, self.resets, self.prefill)
        build([self.rows, *prompts, *self.riding.values(), *self.chunks.values()], prepared)

    def riding_size(self, batch: Batch) -> int:
        """Prompt tokens of the graph for prompts with rows.

        0 where prompts are read apart.
        """
        if not (batch.rows and batch.prefills):
            return 0
        return next((size for size in self.riding if size >= batch.tokens), 0)

    def kind(self, batch: Batch, riding: int) -> tuple[int, int]:
        """Sizes of the graphs for rows, for prompt tokens.

        They determine the step's duration.
        """
        rows = len(batch.rows)
        if riding:
            return self.riding[riding].size(riding + rows) - riding, riding
        return self.rows.size(rows) if rows else 0, self.prefill.size(batch.tokens) if batch.tokens else 0

    def padded_prompts(self, batch: Batch, size: int) -> npt.NDArray[np.int64]:
        """Table of the batch's prompt tokens, filled up to `size`."""
        packed = pack_prefills(batch.prefills, self.groups)
        surplus = np.array([self.padding], np.int64).repeat(size - len(packed), 0)
        return np.concatenate((packed, surplus))

    def _padded(self, rows: int) -> Tensor:
        return torch.tensor(self.padding, device=self._device).repeat(rows, 1)

    def _riding_graphs(
        self, frame: FrameStage, sizes: Mapping[int, Sequence[int]], pool: Pool
    ) -> dict[int, Graphs[Tensor]]:
        """Graphs of frames with prompt tokens, by these."""
        return {
            prompt: Graphs(partial(frame.forward, prompt=prompt), self._padded(rows[-1]), rows, pool)
            for prompt, rows in sizes.items()
        }

    def _start_graphs(self) -> tuple[Graphs[None], Graphs[None]]:
        """Graphs of slots, of the codec's streams.

        Each has a pool of its own, for they run side by side.
        """
        sizes = sizes_up_to(self.slots, STREAM_SIZES)
        starts = torch.tensor(self.start_padding, device=self._device).repeat(self.slots, 1)
        resets = torch.full((self.slots, 1), self.slots, device=self._device)
        return (
            Graphs(self._state.load, starts, sizes, torch.cuda.graph_pool_handle()),
            Graphs(
                lambda table: self._codec.reset(table[:, 0]),
                resets,
                sizes,
                torch.cuda.graph_pool_handle(),
                AUDIO_PRIORITY,
            ),
        )

    def _chunk_graphs(self) -> dict[int, Graphs[Tensor]]:
        """Codec graphs by frames a chunk.

        They share a pool of their own, for they run beside the others.
        """
        pool, sizes = torch.cuda.graph_pool_handle(), sizes_up_to(self.slots, STREAM_SIZES)
        tables = {
            frames: torch.tensor([(self.slots, 0)], device=self._device).repeat(self.slots, 1) for frames in SIZES
        }
        return {
            frames: Graphs(self._decoder(frames), table, sizes, pool, AUDIO_PRIORITY)
            for frames, table in tables.items()
        }

    def _decoder(self, frames: int) -> Callable[[Tensor], Tensor]:
        """Function from chunks of `frames` frames to audio."""

        def decode(table: Tensor) -> Tensor:
            slots, first = table.t().contiguous().unbind()
            return self._codec.forward(slots, self._state.pending_codes(slots, first, frames))

        return decode
