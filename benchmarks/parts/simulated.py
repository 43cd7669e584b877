"""A simulated GPU: graphs that only take an H100's time.

`python -m benchmarks.parts.simulated serve ...` takes the server's flags. All host code is the real one, server and
pipelined runner included; only what belongs to CUDA is replaced. The device does one thing at a time, in the order of
the launches: codec and frames share it without loss or gain, which is how two streams behave once both are busy.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.build import Parts
from engine.runner import pipelined, staging, step_graphs
from engine.runner.cuda_graphs import Graphs
from engine.runner.slot_state import START_FIELDS
from engine.scheduler.batch import Runner
from qwentts_grpc.cli.flags import main
from qwentts_grpc.processes import child

# Milliseconds by rows, columns or streams: 1.7B CustomVoice on one H100 80GB HBM3, up to a seventh from
# those of docs/performance/table.md; the last of each line is extrapolated, and so are chunks of 8 frames.
FRAME = {1: 2.91, 8: 3.18, 32: 4.13, 64: 4.63, 128: 5.6}
PREFILL = {16: 1.51, 64: 1.77, 256: 2.8}
CODEC = {
    1: {1: 0.69, 8: 0.81, 32: 1.12, 64: 1.78, 128: 3.1},
    2: {1: 0.81, 8: 1.00, 32: 1.74, 64: 3.11, 128: 5.9},
    4: {1: 0.79, 8: 1.14, 32: 3.07, 64: 5.00, 128: 9.0},
    8: {1: 0.86, 8: 2.00, 32: 5.00, 64: 9.00, 128: 17.0},
    12: {1: 0.93, 8: 2.86, 32: 7.02, 64: 13.07, 128: 25.0},
}
STARTS = {1: 0.02, 128: 0.03}
FRAME_SAMPLES = 1_920
LAUNCH = 0.000_15  # seconds of the host to launch a graph


def seconds(times: Mapping[int, float], size: int) -> float:
    """Seconds of a graph of this size, interpolated linearly."""
    return float(np.interp(size, list(times), list(times.values()))) / 1e3


class Stream:
    """Ordered work on the shared device, as `torch.cuda.Stream`.

    `done`: when the last of it ends. `busy`: when the device, which all streams share, is free.
    """

    busy = 0.0
    current: "Stream"

    def __init__(self, *_: object, **__: object) -> None:
        self.done = 0.0

    def run(self, duration: float) -> None:
        """Queue `duration` seconds of work."""
        begin = max(time.monotonic(), self.done, Stream.busy)
        self.done = Stream.busy = begin + duration

    def wait_event(self, event: "Event") -> None:
        """Delay later work until `event`."""
        self.done = max(self.done, event.at)

    def wait_stream(self, other: "Stream") -> None:
        """Delay later work until all queued work of `other`."""
        self.done = max(self.done, other.done)

    def synchronize(self) -> None:
        """Wait for all queued work."""
        _sleep_until(self.done)


class Event:
    """A position in a stream, as `torch.cuda.Event`."""

    def __init__(self, **_: object) -> None:
        self.at = 0.0

    def record(self) -> None:
        """Record the current stream's position."""
        self.at = max(time.monotonic(), Stream.current.done)

    def query(self) -> bool:
        """Whether the recorded work is done."""
        return time.monotonic() >= self.at

    def synchronize(self) -> None:
        """Wait until the recorded work is done."""
        _sleep_until(self.at)

    def elapsed_time(self, later: "Event") -> float:
        """Milliseconds from this event to `later`."""
        return 1e3 * (later.at - self.at)


class _Use(AbstractContextManager[None]):
    """The context in which a stream is the current one."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        self._before, Stream.current = Stream.current, self._stream

    def __exit__(self, *_: object) -> None:
        Stream.current = self._before


class TimedGraphs(Graphs[Any]):
    """Graphs whose replays take time.

    The function's result for one row identifies the kind, so the duration.
    """

    def __init__(
        self, function: Callable[[Tensor], Any], table: Tensor, sizes: Sequence[int], pool: object, priority: int = 0
    ) -> None:
        super().__init__(function, table, sizes, pool)
        like = function(table[: self.sizes[0]])
        self._times = _times(like) if like is not None else STARTS if table.shape[1] <= START_FIELDS else PREFILL
        self._outputs = {size: None if like is None else _noise(size, like) for size in sizes}

    def replay(self, rows: int) -> Any:
        """Queue the graph; return its future output."""
        time.sleep(LAUNCH)
        size = self.size(rows)
        Stream.current.run(seconds(self._times, size))
        return self._outputs[size]


def _times(like: Tensor) -> Mapping[int, float]:
    return CODEC[like.shape[1] // FRAME_SAMPLES] if like.dtype == torch.int16 else FRAME


def _noise(size: int, like: Tensor) -> Tensor:
    """Random frames that never end a speech, or audible audio.

    Frames are finite as the last column states.
    """
    most = 30_000 if like.dtype == torch.int16 else like.shape[1]
    noise = torch.randint(1, most, (size, like.shape[1]), dtype=like.dtype)
    return noise


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


class _Torch:
    """The torch module with another `cuda`, without pinned memory."""

    cuda = SimpleNamespace(
        Stream=Stream,
        Event=Event,
        graph_pool_handle=lambda: None,
        stream=_Use,
        device=lambda _: nullcontext(),
    )

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def empty(self, shape: Sequence[int], *, dtype: torch.dtype, pin_memory: bool) -> Tensor:
        """Memory that is not pinned."""
        return torch.zeros(shape, dtype=dtype)


def replacements(graphs: type[Graphs[Any]]) -> Iterator[tuple[object, str, object]]:
    """Attributes to patch for pipelined engines on any machine.

    The replays are those of `graphs`.
    """
    make_runner = Parts._runner

    def runner(self: Parts) -> Runner:
        self.graphs = True
        return make_runner(self)

    Stream.current = Stream()
    for module in (pipelined, staging, step_graphs):
        yield module, "torch", _Torch()
    yield step_graphs, "Graphs", graphs
    yield step_graphs, "build", lambda graphs, prepared: prepared and prepared()
    yield Parts, "_runner", runner


def simulate() -> None:
    """Replace the device in this process.

    In the engine processes that it starts, too.
    """
    for replacement in list(replacements(TimedGraphs)):
        setattr(*replacement)
    child.WORKER = "benchmarks.parts.simulated_worker"


if __name__ == "__main__":
    simulate()
    main()
