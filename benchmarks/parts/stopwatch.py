"""Median time of a run.

By events on a GPU and by the clock on a CPU.
"""

import time
from collections.abc import Callable
from statistics import median

import torch

WARM_UP = 5  # runs that are not timed


def milliseconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a run on the device."""
    for _ in range(WARM_UP):
        run()
    return median(_gpu_times(run, repeats) if device.type == "cuda" else cpu_times(run, repeats))


def cpu_times(run: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each run, by the clock."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return times


def _gpu_times(run: Callable[[], object], repeats: int) -> list[float]:
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for before, after in marks:
        before.record()
        run()
        after.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) for before, after in marks]
