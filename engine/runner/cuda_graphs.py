"""CUDA graphs of functions over an integer table.

Captured once a table size, replayed with the table padded.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from engine.progress import Progress

Output = TypeVar("Output")
Pool = Any  # the opaque handle of torch.cuda.graph_pool_handle()
THREADS = 32  # threads that prepare, often several for one kernel; each holds the memory of its size

ROW_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128)


def sizes_up_to(most: int, sizes: Sequence[int] = ROW_SIZES) -> list[int]:
    """The sizes below `most`, then `most`."""
    return [size for size in sizes if size < most] + [most]


class Graphs(Generic[Output]):
    """Graphs of one function, by table size.

    They share a memory pool with others that never run at the same time.
    The tables of all sizes begin at one address on the device: `replay(rows)` runs the smallest graph that holds
    `rows`, whose surplus rows the caller has filled with padding. `prepare` all sizes, then `capture`, before the first
    replay. `prepare` may be called on any thread; all else belongs to the device's.
    """

    def __init__(
        self, function: Callable[[Tensor], Output], table: Tensor, sizes: Sequence[int], pool: Pool, priority: int = 0
    ) -> None:
        """`table` (R, C) int64 holds padding rows.

        `sizes` ascend to R; kernels keep the `priority` of the stream that captures them, wherever they are replayed.
        """
        self.table, self.sizes = table, list(sizes)
        self.tables = {size: table[:size] for size in sizes}
        self._function, self._pool, self._priority = function, pool, priority
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Output]] = {}

    @torch.inference_mode()
    def prepare(self, size: int, stream: torch.cuda.Stream) -> None:
        """Run a size once.

        Kernels get compiled and workspaces sized, which a capture must not do.
        """
        with torch.cuda.stream(stream):
            self._function(self.tables[size])

    @torch.inference_mode()
    def capture(self, progress: Progress) -> None:
        """Capture every size.

        The largest first, so that the pool is sized once.
        """
        with torch.cuda.stream(torch.cuda.Stream(self.table.device, self._priority)):
            for size in reversed(self.sizes):
                self._graphs[size] = self._capture(self.table[:size])
                progress.advance()

    def size(self, rows: int) -> int:
        """Rows of the graph that will run for `rows`."""
        return next(size for size in self.sizes if size >= rows)

    def replay(self, rows: int) -> Output:
        """Run the graph for `rows` on the current stream.

        The output is valid until the next graph of the pool runs.
        """
        graph, output = self._graphs[self.size(rows)]
        graph.replay()
        return output

    def _capture(self, table: Tensor) -> tuple[torch.cuda.CUDAGraph, Output]:
        graph = torch.cuda.CUDAGraph()
        # torch.cuda.graph() would collect garbage before each of many captures; NCCL has a thread that looks at events.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            output = self._function(table)
        finally:
            graph.capture_end()
        return graph, output


def build(graphs: Sequence[Graphs[Any]], prepared: Callable[[], None] | None = None) -> None:
    """Prepare all sizes side by side, then capture.

    `prepared` is called between. Compiling takes most of the time.
    """
    from engine.ops.triton.parallel_compile import compile_in_processes  # Triton is there on GPU machines only

    stream = torch.cuda.Stream(graphs[0].table.device)  # one for all: kernels of one stream share their counters
    sizes = [(each, size) for each in graphs for size in each.sizes]

    def prepare(one: tuple[Graphs[Any], int]) -> None:
        one[0].prepare(one[1], stream)
        preparing.advance()

    with (
        Progress("preparing graphs", "graphs", len(sizes)) as preparing,
        Progress("compiling kernels that are not in the cache", "kernels") as compiling,
        compile_in_processes(compiling),
        ThreadPoolExecutor(THREADS, "prepare") as threads,
    ):
        list(threads.map(prepare, sizes))
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    if prepared is not None:
        prepared()
    with Progress("capturing graphs", "graphs", len(sizes)) as capturing:
        for each in graphs:
            each.capture(capturing)
