"""A training step as CUDA graphs, one for each key: its thousands of launches take a host longer than a GPU."""

from collections.abc import Callable, Hashable
from contextlib import suppress
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
    """Runs a step as it is when it meets a key for the first time, captures it the next time, and replays it then.

    What cannot be captured goes on as it is. All on the current stream, which must not be the default one.
    """

    def __init__(self, step: Callable[..., Losses]) -> None:
        """`step(key, *inputs)` returns losses; the key says all about shapes, and nothing in it waits for a GPU."""
        self._step, self._met = step, set[Hashable]()
        self._graphs = dict[Hashable, _Captured[Losses] | None]()  # None: not to be captured
        self._failed = list[torch.cuda.CUDAGraph]()
        self._pool = torch.cuda.graph_pool_handle()
        self._ends = cycle([torch.cuda.Event(), torch.cuda.Event()])

    def __call__(self, key: Hashable, *inputs: Tensor) -> Losses:
        """The losses of a step, valid until the next one."""
        if key in self._met and key not in self._graphs:
            self._graphs[key] = self._capture(key, tuple(part.clone() for part in inputs))
        self._met.add(key)
        captured = self._graphs.get(key)
        if captured is None:
            return self._step(key, *inputs)
        end = next(self._ends)
        end.synchronize()  # of the step before the last: the host does not run away
        for own, part in zip(captured.inputs, inputs, strict=True):
            own.copy_(part)
        captured.graph.replay()
        end.record()
        return captured.losses

    def _capture(self, key: Hashable, inputs: tuple[Tensor, ...]) -> _Captured[Losses] | None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=torch.cuda.current_stream()):
                losses = self._step(key, *inputs)
        except RuntimeError as error:
            reason = str(error.__context__ or error).partition("\n")[0]  # the second says only that there was a first
            print(f"no CUDA graph for {key}: {reason}", flush=True)
            self._recover(graph, inputs[0])
            return None
        return _Captured(graph, inputs, losses)

    def _recover(self, failed: torch.cuda.CUDAGraph, scratch: Tensor) -> None:
        """End what a failed capture leaves open: to allocator and random generator it goes on, and they would fail."""
        torch.cuda.synchronize()
        with suppress(RuntimeError):  # later versions of PyTorch have done so
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._pool)
        sound = torch.cuda.CUDAGraph()
        sound.capture_begin()
        scratch.zero_()
        sound.capture_end()  # of any capture, so the generator knows that it is over
        self._failed.append(failed)  # gradients are still in its memory
        self._pool = torch.cuda.graph_pool_handle()
