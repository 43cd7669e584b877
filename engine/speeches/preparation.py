"""Recordings on their way to prompts, beside the steps."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from engine.api.errors import Busy, EngineError, GenerationFailed
from engine.api.request import Reference, SpeechRequest
from engine.api.voice import Voice
from engine.prompt.builder import PromptBuilder
from engine.speeches.open_speeches import UNKNOWN_WAIT, OpenSpeeches
from engine.speeches.speech import Speech

MAX_PREPARING = 32  # recordings in memory that wait to be encoded


class Preparation:
    """Encoder of recordings on a thread of its own.

    Its methods belong to the event loop's thread.
    """

    def __init__(self, prompt_builder: PromptBuilder, speeches: OpenSpeeches) -> None:
        self._prompt_builder, self._speeches = prompt_builder, speeches
        self._preparing: set[asyncio.Task[None]] = set()
        self._encoder = ThreadPoolExecutor(1, "encoder")

    def __len__(self) -> int:
        return len(self._preparing)

    def check_room(self) -> None:
        """Raise `Busy` when too many recordings wait."""
        if len(self._preparing) >= MAX_PREPARING:
            raise Busy(retry_after=UNKNOWN_WAIT)

    def start(self, speech: Speech) -> None:
        """Encode the speech's recording; then queue the speech.

        Or only prime the codec, for a kept voice.
        """
        task = asyncio.get_running_loop().create_task(self._prepare(speech))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def clone(self, reference: Reference) -> Voice:
        """Voice of a recording; raises `InvalidRequest`, `Unsupported`."""
        return await asyncio.get_running_loop().run_in_executor(self._encoder, self._prompt_builder.cloner, reference)

    async def prime(self, request: SpeechRequest) -> None:
        """Prime the codec with the request's voice."""
        await asyncio.get_running_loop().run_in_executor(self._encoder, self._prompt_builder.prepare, request)

    async def close(self) -> None:
        """Cancel what waits; idempotent."""
        for task in self._preparing:
            task.cancel()
        if self._preparing:
            await asyncio.wait(self._preparing)  # a cancelled task does not wait for its thread
        self._encoder.shutdown(wait=False, cancel_futures=True)

    async def _prepare(self, speech: Speech) -> None:
        loop, request = asyncio.get_running_loop(), speech.sequence.request
        try:
            layout = await loop.run_in_executor(self._encoder, self._prompt_builder.prepare, request)
        except EngineError as error:
            self._speeches.end(speech, error)
        except Exception as error:  # a broken encoder concerns this speech alone
            failure = GenerationFailed(f"the reference could not be encoded: {type(error).__name__}")
            failure.__cause__ = error
            self._speeches.end(speech, failure)
        else:
            if speech in self._speeches:
                speech.sequence.set_layout(layout)
                speech.sequence.request = replace(request, reference=None)  # its samples are many megabytes
                self._speeches.enqueue(speech)
