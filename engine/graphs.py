"""CUDA graphs of functions over an integer table: captured once a table size, replayed with the table padded."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Output = TypeVar("Output")
Pool = Any  # the opaque handle of torch.cuda.graph_pool_handle()

ROW_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128)


def sizes_up_to(most: int, sizes: Sequence[int] = ROW_SIZES) -> list[int]:
    """The sizes below `most`, and `most`."""
    return [size for size in sizes if size < most] + [most]


class Graphs(Generic[Output]):
    """Graphs of one function, sharing a memory pool with others that never run at the same time.

    The table lives at one place on the device: `replay(rows)` runs the smallest graph that holds `rows`, whose surplus
    rows the caller has filled with padding.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Output],
        table: Tensor,
        sizes: Sequence[int],
        pool: Pool,
        stream: torch.cuda.Stream,
    ) -> None:
        """`table` (R, C) int64 holds padding rows now; `sizes` ascend to R. Captures at once, largest first."""
        self.table, self.sizes = table, list(sizes)
        self._stream = stream
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Output]] = {}
        for size in reversed(self.sizes):
            self._graphs[size] = self._capture(function, table[:size], pool)

    def size(self, rows: int) -> int:
        """Rows of the graph that will run for `rows`."""
        return next(size for size in self.sizes if size >= rows)

    def replay(self, rows: int) -> Output:
        """Run on the current stream; the output is valid until the next graph of the pool runs."""
        graph, output = self._graphs[self.size(rows)]
        graph.replay()
        return output

    def _capture(
        self, function: Callable[[Tensor], Output], table: Tensor, pool: Pool
    ) -> tuple[torch.cuda.CUDAGraph, Output]:
        with torch.cuda.stream(self._stream):
            function(table)  # compiles kernels and sizes workspaces, which a capture must not
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            graph.capture_begin(pool=pool)  # torch.cuda.graph() would collect garbage before each of many captures
            try:
                output = function(table)
            finally:
                graph.capture_end()
        return graph, output
