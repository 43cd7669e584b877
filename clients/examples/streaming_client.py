"""Audio while the text is still being written.

streaming_client.py > audio.pcm (16-bit mono at 24 kHz).
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator

from qwentts_client import AsyncClient


async def words() -> AsyncIterator[str]:
    """Text as a language model writes it."""
    for word in "Every word of this is spoken while the next one is on its way.".split():
        yield f"{word} "
        await asyncio.sleep(0.05)


async def main() -> None:
    """Write each frame to standard output at once."""
    async with AsyncClient(os.environ.get("QWENTTS_SERVER", "localhost:50051")) as client:
        start, first = time.monotonic(), 0.0
        async with client.synthesize(words()) as turn:
            async for frame in turn:
                first = first or time.monotonic() - start
                sys.stdout.buffer.write(frame.data)
                sys.stdout.buffer.flush()
        print(f"first audio after {1000 * first:.0f} ms, {turn.summary.audio_samples} samples", file=sys.stderr)


asyncio.run(main())
