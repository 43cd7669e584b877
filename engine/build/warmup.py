"""The first speech: a test of every part.

It runs before the engine counts as ready.
"""

import asyncio

from engine.api.errors import EngineError, EngineFailed
from engine.api.request import SpeechRequest
from engine.engine import Engine

LIMIT = 300.0  # seconds; a first speech may have to wait for kernels to be compiled


async def speak_once(engine: Engine, request: SpeechRequest) -> None:
    """Synthesise one speech; raise `EngineFailed` if that fails."""
    try:
        async with asyncio.timeout(LIMIT), engine.open(request) as speech:
            speech.feed("Hello.")
            speech.end()
            async for _ in speech:
                pass
    except (EngineError, TimeoutError) as error:
        raise EngineFailed(f"the first speech failed: {error}") from (engine.failed or error)
