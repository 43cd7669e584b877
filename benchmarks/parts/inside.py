"""An engine in a process of its own.

Its memory is free again when that ends.
"""

import asyncio
import time
import traceback
from collections.abc import Set
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from benchmarks.parts.frames import AnyRunner, Times, replay_times
from benchmarks.parts.single import Single, in_process
from benchmarks.parts.target import Target
from engine.api.config import EngineConfig
from engine.api.request import Sampling
from engine.build import build_engine
from engine.runner.eager import EagerRunner
from engine.runner.pipelined import PipelinedRunner

LIMIT = 480.0  # seconds


@dataclass(frozen=True, slots=True)
class Inside:
    """`seconds` to build the engine; None for unmeasured sections."""

    seconds: float
    description: str
    times: Times | None
    single: Single | None


def measure(target: Target, sections: Set[str], repeats: int) -> Inside:
    """The sections "frame", "single" of an engine in this process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measure, target, sections, repeats).result(LIMIT)


def _measure(target: Target, sections: Set[str], repeats: int) -> Inside:
    return asyncio.run(_with_engine(target, sections, repeats))


async def _with_engine(target: Target, sections: Set[str], repeats: int) -> Inside:
    config = EngineConfig(
        device=target.device,
        max_speeches=target.max_speeches,
        max_queue=target.max_queue,
        dummy_weights=target.dummy,
    )
    start = time.perf_counter()
    async with await build_engine(target.model, config) as engine:
        seconds, runner = time.perf_counter() - start, engine._steps.runner
        assert isinstance(runner, PipelinedRunner | EagerRunner)
        single = await in_process(engine, max(3, repeats // 10)) if "single" in sections else None
        times = _times(runner, engine.defaults, repeats) if "frame" in sections else None
        return Inside(seconds, engine.card.description, times, single)


def _times(runner: AnyRunner, defaults: Sampling, repeats: int) -> Times | None:
    """Replay times; None with a message on failure.

    Replays reach inside the runner; the rest of the benchmark goes on.
    """
    try:
        return replay_times(runner, defaults, repeats)
    except Exception:
        traceback.print_exc()
        return None
