"""The plugin's TTS: one turn a stream, or a text."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import replace
from typing import Any

import grpc
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, tts
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import aio, is_given

from qwentts_client import AsyncClient, SynthesisConfig, TTSError

from .log import logger
from .options import Options
from .streams import ChunkedStream, SynthesizeStream

RETRY_FOR = 10.0  # seconds: longer silence helps no listener


class TTS(tts.TTS):
    """Speech from a qwentts-grpc server."""

    def __init__(
        self,
        *,
        server: str = "localhost:50051",
        model: str = "",
        voice: str = "",
        language: str = "",
        instructions: str = "",
        seed: int | None = None,
        sample_rate: int = 24_000,
        token: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        retry_for: float = RETRY_FOR,
        client: AsyncClient | None = None,
        sentence_segments: bool = True,
        config: SynthesisConfig | None = None,
    ) -> None:
        """`server`: HOST:PORT, or several, comma-separated.

        model: a checkpoint that the server has loaded (default: its first). voice: one of its voices (default: the
        first). language: a name or code (default: detected). instructions: how to speak, or the voice to design.
        seed: repeats the speech of one text. sample_rate: in hertz, 8000 to 48000.
        token: bearer token. credentials: of TLS (`qwentts_client.client_credentials`).
        retry_for: seconds for which a turn waits for a restarting server, before LiveKit's own retries.
        client: a client to share, in place of the last three and the server; it stays open.
        sentence_segments: the aligned transcript is by the sentence; False: by the stream, in one intonation.
        config: more fields of a turn, which take precedence.

        Raises TypeError or ValueError for options that no request can hold.
        """
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True, aligned_transcript=True),
            sample_rate=sample_rate,
            num_channels=1,
        )
        more = SynthesisConfig()
        more.delivery.sentence_segments = sentence_segments
        more.MergeFrom(config or SynthesisConfig())
        self.options = Options(model, voice, language, instructions, seed, sample_rate, more)
        self.client = client or AsyncClient(server, token=token, credentials=credentials, retry_for=retry_for)
        self._default_model = "qwen3-tts"  # until the server has told its own
        self._shares_client = client is not None
        self._streams: weakref.WeakSet[SynthesizeStream | ChunkedStream] = weakref.WeakSet()
        self._warming: asyncio.Task[None] | None = None

    @property
    def model(self) -> str:
        """The checkpoint, for metrics."""
        return self.options.model or self._default_model

    @property
    def provider(self) -> str:
        """The provider, for metrics."""
        return "qwentts-grpc"

    def update_options(
        self,
        *,
        model: NotGivenOr[str] = NOT_GIVEN,
        voice: NotGivenOr[str] = NOT_GIVEN,
        language: NotGivenOr[str] = NOT_GIVEN,
        instructions: NotGivenOr[str] = NOT_GIVEN,
        seed: NotGivenOr[int | None] = NOT_GIVEN,
    ) -> None:
        """Change options of later turns.

        Raises TypeError or ValueError as the constructor does; then nothing is changed.
        """
        given: dict[str, Any] = {
            "model": model,
            "voice": voice,
            "language": language,
            "instructions": instructions,
            "seed": seed,
        }
        self.options = replace(self.options, **{name: value for name, value in given.items() if is_given(value)})

    def prewarm(self) -> None:
        """Connect in the background."""
        if self._warming is None:
            self._warming = asyncio.create_task(self._connect(), name="qwentts prewarm")

    def synthesize(self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> ChunkedStream:
        """Speak a complete text."""
        stream = ChunkedStream(tts=self, input_text=text, conn_options=conn_options)
        self._streams.add(stream)
        return stream

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> SynthesizeStream:
        """Speak text as it comes, up to the first flush."""
        stream = SynthesizeStream(tts=self, conn_options=conn_options)
        self._streams.add(stream)
        return stream

    async def aclose(self) -> None:
        """Stop all streams, close the client unless it is shared."""
        for stream in list(self._streams):
            await stream.aclose()
        if self._warming is not None:
            await aio.cancel_and_wait(self._warming)
        if not self._shares_client:
            await self.client.aclose()

    async def _connect(self) -> None:
        try:
            await self.client.wait_ready(RETRY_FOR)
            for model in (await self.client.server_info()).models[:1]:
                self._default_model = model.name
        except (TimeoutError, asyncio.TimeoutError, TTSError, OSError) as error:
            logger.warning("no server yet: %s", error)
