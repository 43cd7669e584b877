"""Training step as CUDA graphs, one for each key.

Its thousands of launches take a host longer than a GPU.
"""

from collections.abc import Callable, Hashable
from itertools import cycle
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

Losses = TypeVar("Losses")  # tensors, in a container or not


class _Captured(NamedTuple, Generic[Losses]):
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    losses: Losses


class Replayed(Generic[Losses]):
    """Step runner by key: first eager, then captured, then replayed.

    All on the current stream, which must not be the default one.
    """

    def __init__(self, step: Callable[..., Losses]) -> None:
        """`step(key, *inputs)` returns losses, without waiting for a GPU.

        The key determines all shapes.
        """
        self._step, self._met = step, set[Hashable]()
        self._graphs = dict[Hashable, _Captured[Losses]]()
        self._pool = torch.cuda.graph_pool_handle()
        self._ends = cycle([torch.cuda.Event(), torch.cuda.Event()])

    def __call__(self, key: Hashable, *inputs: Tensor) -> Losses:
        """The losses of a step, valid until the next one."""
        if key not in self._met:
            self._met.add(key)
            return self._step(key, *inputs)
        if key not in self._graphs:
            self._graphs[key] = self._capture(key, tuple(part.clone() for part in inputs))
        captured = self._graphs[key]
        end = next(self._ends)
        end.synchronize()  # of the step before the last: the host does not run away
        for own, part in zip(captured.inputs, inputs, strict=True):
            own.copy_(part)
        captured.graph.replay()
        end.record()
        return captured.losses

    def _capture(self, key: Hashable, inputs: tuple[Tensor, ...]) -> _Captured[Losses]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=torch.cuda.current_stream()):
            losses = self._step(key, *inputs)
        return _Captured(graph, inputs, losses)
