"""Start of an engine: load, wire, speak once."""

import asyncio

from engine.api.config import EngineConfig
from engine.api.errors import CheckpointError
from engine.api.observer import NullObserver, Observer
from engine.build.parts import Parts
from engine.build.warmup import speak_once
from engine.checkpoint.shared_weights import SharedCodecs
from engine.engine import Engine
from engine.progress import Progress


async def build_engine(
    model: str,
    config: EngineConfig | None = None,
    observer: Observer | None = None,
    shared: SharedCodecs | None = None,
) -> Engine:
    """Load a checkpoint, start the engine, run one speech.

    `model`: a folder, a hub id, or a kind's name with `dummy_weights`.
    Engines that are built with the same `shared`, one after the other, hold what their codecs have in common once.
    Raises `CheckpointError` when the checkpoint cannot be used.
    """
    parts = await load_parts(model, config or EngineConfig(), shared)
    return await start_engine(parts, observer)


async def load_parts(model: str, config: EngineConfig, shared: SharedCodecs | None = None) -> Parts:
    """Parts of an engine, loaded off the event loop.

    Arguments as in `build_engine`.
    Raises `CheckpointError` when the checkpoint cannot be used.
    """
    try:
        return await asyncio.to_thread(Parts, model, config, shared or SharedCodecs())
    except KeyError as error:
        raise CheckpointError(f"{model}: the checkpoint lacks {error}") from error


async def start_engine(parts: Parts, observer: Observer | None = None) -> Engine:
    """Engine of loaded parts, after its first speech.

    Raises `EngineFailed` when that speech fails.
    """
    engine = parts.engine(observer or NullObserver())
    try:
        with Progress(f"first speech of {parts.name}"):
            await speak_once(engine, parts.warm_up_request())
    except BaseException:
        await engine.close()
        raise
    return engine
