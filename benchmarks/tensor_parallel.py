"""Talker over 1, 2, 4 GPUs: times, memory, codes.

`python -m benchmarks.tensor_parallel`; random weights of full size, the graphs of an engine without its codec. Each
number of ranks gets the same prompts, and frames whose codes are given, so that every frame begins alike.
"""

import argparse
import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributed.distributed_c10d import Store

from benchmarks.parts.frames import half_frame
from benchmarks.parts.stopwatch import milliseconds
from engine.api.config import EngineConfig
from engine.checkpoint.shard import Shard
from engine.checkpoint.weights import dummy_checkpoint
from engine.model.predictor import Predictor
from engine.model.talker import Talker, TextTable
from engine.ops.base import new_caches
from engine.ops.peers import Peers
from engine.ops.select import choose
from engine.parallel import meeting
from engine.parallel.messages import Serve
from engine.parallel.team import Team
from engine.runner.cuda_graphs import Graphs, build
from engine.runner.frame import FrameStage
from engine.runner.inputs import FIELDS, padding
from engine.runner.passes import FRAME, PROMPTS
from engine.runner.prefill import PrefillStage
from engine.runner.slot_state import SlotState

DTYPE = torch.bfloat16
POSITIONS = 4096  # of a slot
PROMPT = 16  # tokens of a prompt: rows that ride in one pass
STEPS = 4  # frames that are compared
TEXTS = 1000


class Ranks:
    """Graphs of an engine's talker, predictor, over some GPUs."""

    @torch.inference_mode()
    def __init__(self, kind: str, ranks: int, rows: Sequence[int]) -> None:
        self.devices = [torch.device("cuda", number) for number in range(ranks)]
        self.device, self.rows, self.most = self.devices[0], rows, max(rows)
        config = EngineConfig(device=",".join(map(str, self.devices)), dummy_weights=True, tensor_parallel=ranks)
        self.team = Team(kind, config, DTYPE, self.devices) if ranks > 1 else None
        checkpoint, _ = dummy_checkpoint(kind, self.device, DTYPE, ranks)
        self.config, weights = checkpoint.config, checkpoint.main
        talker = Shard(self.config.talker, 0, ranks).config
        ops = choose(config, talker, self.device, DTYPE)
        self.block_size, self.slot_blocks = ops.block_size, POSITIONS // ops.block_size
        self.sizes = {FRAME: list(rows), PROMPTS: [4 * PROMPT], PROMPT: [PROMPT + self.most]}
        like = weights["talker.codec_head.weight"]
        self.state = SlotState(self.config, self.most, self.slot_blocks, self.block_size, like)
        peers = self._meet()
        blocks = 1 + self.most * self.slot_blocks
        caches = new_caches(talker, blocks, self.block_size, like)
        text = TextTable(_drawn((TEXTS, self.config.talker.hidden), like))
        shared = Talker(self.config, weights, text, caches, POSITIONS, ops, peers)
        own = new_caches(self.config.predictor, self.most, self.config.code_groups, like)
        frame = FrameStage(self.config, shared, Predictor(self.config, weights, own, ops), self.state, ops)
        self._capture(frame, PrefillStage(shared, self.state), peers)
        self.state._numbers[:] = torch.tensor((0.9, 1.0, 0.9, 1.0, 1.05), device=self.device)[:, None]
        self.state._top_k[:] = 50
        self.state.seed[:] = torch.arange(self.most + 1, device=self.device)

    def _meet(self) -> Peers | None:
        if self.team is None:
            return None
        self.team.loaded()
        columns = FIELDS + self.config.code_groups
        return self.team.meet(
            Serve(
                blocks=1 + self.most * self.slot_blocks,
                block_size=self.block_size,
                slots=self.most + 1,
                slot_blocks=self.slot_blocks,
                positions=POSITIONS,
                columns=columns,
                most_rows=max(sizes[-1] for sizes in self.sizes.values()),
                words=max(self.config.talker.hidden, 2 * columns),
                rows=self.sizes,
            )
        )

    def _capture(self, frame: FrameStage, prefill: PrefillStage, peers: Peers | None) -> None:
        pool = torch.cuda.graph_pool_handle()

        def graphs(function: Callable[[Tensor], object], kind: int) -> Graphs[Any]:
            table = torch.tensor(padding(self.most, self.config.code_groups), device=self.device)
            return Graphs(function, table.repeat(self.sizes[kind][-1], 1), self.sizes[kind], pool)

        self._graphs = {
            FRAME: graphs(frame.forward, FRAME),
            PROMPTS: graphs(prefill.forward, PROMPTS),
            PROMPT: graphs(partial(frame.forward, prompt=PROMPT), PROMPT),
        }
        self._halves = graphs(partial(half_frame, frame), FRAME)
        build([*self._graphs.values(), self._halves], None if peers is None else peers.open)
        if self.team is not None:
            self.team.wait()

    def frame(self, rows: int, half: bool = False) -> None:
        """Launch a frame, or the talker's half of it."""
        self._run(self._halves if half else self._graphs[FRAME], FRAME, rows)

    def _run(self, graphs: Graphs[Any], kind: int, rows: int) -> Any:
        if self.team is not None:
            self.team.tell(kind, rows)
        return graphs.replay(rows)

    @torch.inference_mode()
    def codes(self) -> npt.NDArray[np.int32]:
        """Codes of frames with given inputs (frames, rows, groups).

        After prompts of all slots, read apart; the last frame has one more that rides.
        """
        for first in range(0, self.most, 4):
            table = torch.cat([self._prompt(slot) for slot in range(first, first + 4)])
            self._graphs[PROMPTS].table.copy_(table)
            self._run(self._graphs[PROMPTS], PROMPTS, len(table))
        frames = []
        for step in range(STEPS):
            self._graphs[FRAME].table.copy_(self._frame(step))
            frames.append(self._run(self._graphs[FRAME], FRAME, self.most).cpu().numpy())
        ridden = self._graphs[PROMPT]
        ridden.table.copy_(torch.cat((self._prompt(0), self._frame(STEPS))))
        frames.append(self._run(ridden, PROMPT, PROMPT + self.most).cpu().numpy())
        return np.stack(frames)

    def _prompt(self, slot: int) -> Tensor:
        table = torch.full((PROMPT, FIELDS + self.config.code_groups), -1, dtype=torch.int64)
        for position in range(PROMPT):
            text = (7 * position + slot) % TEXTS
            table[position, :FIELDS] = torch.tensor((slot, position, self._block(slot, position), text, 0, 0, 0, 0))
            table[position, FIELDS:] = torch.arange(self.config.code_groups) * 11 + position
        return table.to(self.device)

    def _frame(self, step: int) -> Tensor:
        """Rows with given codes, of the frame's number."""
        table = torch.empty(self.most, FIELDS + self.config.code_groups, dtype=torch.int64)
        for slot in range(self.most):
            position = PROMPT + step
            given = (slot, position, self._block(slot, position), 3, 1, step, step, 0)
            table[slot, :FIELDS] = torch.tensor(given)
            table[slot, FIELDS:] = (torch.arange(self.config.code_groups) * 31 + 17 * slot + step) % 2000
        return table.to(self.device)

    def _block(self, slot: int, position: int) -> int:
        return 1 + slot * self.slot_blocks + position // self.block_size

    def close(self) -> None:
        """End the other ranks."""
        if self.team is not None:
            self.team.close()


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one number of ranks.

    Milliseconds by rows of talker, whole frame; GiB in use on each GPU; codes.
    """

    talker: Sequence[float]
    frame: Sequence[float]
    memory: Sequence[float]
    codes: npt.NDArray[np.int32]


def measure(kind: str, ranks: int, rows: Sequence[int], repeats: int) -> Measured:
    """Figures of one number of ranks."""
    made = Ranks(kind, ranks, rows)
    try:
        codes = made.codes()
        memory = [torch.cuda.device_memory_used(device) / 2**30 for device in made.devices]
        talker = [milliseconds(partial(made.frame, each, half=True), made.device, repeats) for each in rows]
        frame = [milliseconds(partial(made.frame, each), made.device, repeats) for each in rows]
        return Measured(talker, frame, memory, codes)
    finally:
        torch.cuda.synchronize()
        made.close()


@contextlib.contextmanager
def without_shared_memory() -> Iterator[None]:
    """Have the ranks exchange values through NCCL."""

    def refused(store: Store, rank: int, *_: object) -> list[int]:
        store.set(f"memory-{rank}", "")
        raise RuntimeError("memory is not shared, as asked for")

    with patch.object(meeting, "shared_memory", refused):
        yield


def _drawn(shape: tuple[int, ...], like: Tensor) -> Tensor:
    generator = torch.Generator(like.device).manual_seed(1)
    return torch.randn(shape, device=like.device, generator=generator).to(like.dtype)


def main() -> None:
    """Print a line for each number of ranks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="1.7B-CustomVoice")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32, 64], help="the most a multiple of 4")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--nccl", action="store_true", help="measure NCCL too")
    options = parser.parse_args()
    here = torch.cuda.device_count()
    print(f"{torch.cuda.get_device_name()} x {here}, torch {torch.__version__}, {options.kind}, rows {options.rows}")
    first: Measured | None = None
    for ranks in [each for each in options.ranks if each <= here]:
        for nccl in (False, True) if options.nccl and ranks > 1 else (False,):
            with without_shared_memory() if nccl else contextlib.nullcontext():
                measured = measure(options.kind, ranks, options.rows, options.repeats)
            first = first or measured
            print(
                _line(ranks, "NCCL" if nccl else "own kernels" if ranks > 1 else "one GPU", measured, first), flush=True
            )
            gc.collect()
            torch.cuda.empty_cache()


def _line(ranks: int, way: str, measured: Measured, first: Measured) -> str:
    def figures(values: Sequence[float]) -> str:
        return " / ".join(f"{value:.3f}" for value in values)

    same = int((measured.codes == first.codes).sum())
    memory = " / ".join(f"{each:.1f}" for each in measured.memory)
    return (
        f"{ranks} ({way}): talker {figures(measured.talker)} ms, frame {figures(measured.frame)} ms, "
        f"GPU memory {memory} GiB, codes equal to the first line's: {same} of {measured.codes.size}"
    )


if __name__ == "__main__":
    main()
