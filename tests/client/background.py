"""A fake server beside code without an event loop."""

import asyncio
import threading

from .fake import Fake, Script, speak, start


class Background:
    """A fake in an event loop on a thread."""

    def __init__(self, script: Script = speak) -> None:
        self._fake = Fake(script)

    def __enter__(self) -> Fake:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(start(self._fake), self._loop).result()
        return self._fake

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._fake.server.stop(None), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
