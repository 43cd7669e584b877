"""Watchdog of one engine's steps.

A failed engine, or one hung with work to do, is a fault of the whole server.
"""

import asyncio
import time
from typing import NoReturn

from engine.api.errors import EngineFailed
from engine.engine import Engine

PERIOD = 0.25  # seconds between two checks


async def watch(engine: Engine, step_timeout: float) -> NoReturn:
    """Raise `EngineFailed` after a failure or hung step.

    Never returns.
    Hung: no step for `step_timeout` seconds while a speech could go on.
    """
    last_step, since = engine.last_step, time.monotonic()
    while True:
        await asyncio.sleep(PERIOD)
        if engine.failed is not None:
            raise EngineFailed(f"the engine stopped: {type(engine.failed).__name__}")
        if engine.last_step != last_step or not _has_work(engine):
            last_step, since = engine.last_step, time.monotonic()
        if time.monotonic() - since > step_timeout:
            raise EngineFailed(f"the engine made no step for {step_timeout:g} s")


def _has_work(engine: Engine) -> bool:
    state = engine.state()
    return state.running > state.parked + state.paced
