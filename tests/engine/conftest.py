"""Tiny checkpoints and engines on them, each made once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.api.config import EngineConfig
from engine.build import build_engine
from engine.checkpoint.dummy import write_checkpoint
from engine.engine import Engine
from tests.engine.speaking import idle

Checkpoint = Callable[..., Path]
Engines = Callable[..., Awaitable[Engine]]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint of a kind, written once."""

    @cache
    def written(kind: str, eos_scale: float = 1.6) -> Path:
        return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / kind, kind, seed=5, eos_scale=eos_scale)

    return written


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_engines(checkpoint: Checkpoint) -> AsyncIterator[Engines]:
    made: dict[Any, Engine] = {}
    async with AsyncExitStack() as stack:

        async def engine(kind: str, eos_scale: float = 1.6, **config: Any) -> Engine:
            key = (kind, eos_scale, *sorted(config.items()))
            if key not in made:
                folder = checkpoint(kind, eos_scale)
                made[key] = await stack.enter_async_context(await build_engine(str(folder), EngineConfig(**config)))
            return made[key]

        yield engine


@pytest_asyncio.fixture(loop_scope="session")
async def engines(shared_engines: Engines) -> AsyncIterator[Engines]:
    """An engine on a tiny checkpoint of a kind, shared by tests; afterwards it must hold nothing."""
    used: list[Engine] = []

    async def engine(kind: str, **config: Any) -> Engine:
        used.append(await shared_engines(kind, **config))
        return used[-1]

    yield engine
    for each in used:
        await idle(each)
