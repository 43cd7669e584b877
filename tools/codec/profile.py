"""`profile`: time of a replay by kernel, in order.

For each kernel: from its start to its end, and to the next start.
"""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from engine.ops.codec import CodecState
from engine.ops.triton.codec.decoder import FusedCodecDecoder
from tools.codec.calls import recorded
from tools.codec.decoder import SLOTS, Shape, fused, random_codes
from tools.codec.replay import captured

SHAPES: tuple[Shape, ...] = ((1, 1), (32, 1), (32, 4))
REPLAYS = 5  # of which the first is left out


class Spent(NamedTuple):
    """Microseconds of one kernel: its own, until the next starts."""

    took: float
    step: float


def run(shapes: tuple[Shape, ...]) -> None:
    """A table a shape."""
    decoder = fused()
    state = decoder.new_state(SLOTS, "cuda", decoder.dtype)
    for shape in shapes:
        names, events = labels(decoder, state, shape), kernels(decoder, state, shape)
        if len(events) != REPLAYS * len(names):
            print(f"{shape}: {len(events)} kernels seen in {REPLAYS} replays, {len(names)} launched in one call")
            continue
        print(f"\n{shape[0]} x {shape[1]}: {len(names)} kernels; duration (from start to next start), microseconds")
        show(names, [spent(events, len(names), i) for i in range(len(names))])


def labels(decoder: FusedCodecDecoder, state: CodecState, shape: Shape) -> list[str]:
    """Label in the tables of each kernel of a call."""
    slots = torch.arange(shape[0], device="cuda")
    return [str(call) for call, _ in recorded(decoder, state, random_codes(*shape), slots)]


def kernels(decoder: FusedCodecDecoder, state: CodecState, shape: Shape) -> list[Any]:
    """The profiler's events of all replays, in order."""
    graph = captured(decoder, state, shape).graph
    graph.replay()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        for _ in range(REPLAYS):
            graph.replay()
        torch.cuda.synchronize()
    return sorted((e for e in profiler.events() if "kernel" in e.name), key=lambda e: e.time_range.start)


def spent(events: Sequence[Any], count: int, number: int) -> Spent:
    """Medians of kernel `number` of a call's `count`.

    After the last one its own end stands for the next start.
    """
    took, step = [], []
    for first in range(count, len(events), count):
        own = events[first + number].time_range
        after = events[first + number + 1].time_range.start if number + 1 < count else own.end
        took.append(own.elapsed_us())
        step.append(after - own.start)
    return Spent(statistics.median(took), statistics.median(step))


def show(names: Sequence[str], times: Sequence[Spent]) -> None:
    """A line a kind of kernel, where it first stands."""
    for name in dict.fromkeys(names):
        own = [time for time, other in zip(times, names, strict=True) if other == name]
        took, step = sum(time.took for time in own), sum(time.step for time in own)
        print(f"  {name:34} x{len(own):<2} {took:8.1f} ({step:7.1f})")
