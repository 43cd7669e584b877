"""A LiveKit Agents TTS plugin (livekit-agents 1.8).

One turn a stream, its flushes among the text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectionError, APIStatusError, APITimeoutError, tts, utils

from qwentts_client import AsyncClient, Flush, TTSError


class TTS(tts.TTS):
    """Speech from a qwentts-grpc server."""

    def __init__(
        self,
        server: str = "localhost:50051",
        *,
        voice: str = "",
        language: str = "",
        token: str = "",
        sample_rate: int = 24_000,
    ) -> None:
        capabilities = tts.TTSCapabilities(streaming=True, aligned_transcript=False)
        super().__init__(capabilities=capabilities, sample_rate=sample_rate, num_channels=1)
        self.client = AsyncClient(server, token=token, retry_for=0)  # LiveKit retries by itself
        self.voice, self.language = voice, language

    @property
    def model(self) -> str:
        """For metrics."""
        return "qwen3-tts"

    @property
    def provider(self) -> str:
        """For metrics."""
        return "qwentts-grpc"

    def synthesize(self, text: str, *, conn_options: Any = DEFAULT_API_CONNECT_OPTIONS) -> Any:
        """Speak a complete text."""
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(self, *, conn_options: Any = DEFAULT_API_CONNECT_OPTIONS) -> Stream:
        """Speak text as it comes."""
        return Stream(tts=self, conn_options=conn_options)

    async def aclose(self) -> None:
        """Close the client; open turns end."""
        await self.client.aclose()


class Stream(tts.SynthesizeStream):
    """One turn."""

    _tts: TTS

    async def _run(self, output_emitter: Any) -> None:
        request_id = utils.shortuuid()
        output_emitter.initialize(
            request_id=request_id,
            sample_rate=self._tts.sample_rate,
            num_channels=1,
            mime_type="audio/pcm",
            frame_size_ms=80,
            stream=True,
        )
        output_emitter.start_segment(segment_id=request_id)
        options = {"voice": self._tts.voice, "language": self._tts.language, "sample_rate": self._tts.sample_rate}
        try:
            async with self._tts.client.synthesize(self._pieces(), request_id=request_id, **options) as turn:
                async for frame in turn:
                    output_emitter.push(frame.data)
            output_emitter.end_segment()
        except TTSError as error:
            raise _as_livekit(error) from error

    async def _pieces(self) -> AsyncIterator[str | Flush]:
        async for piece in self._input_ch:
            if isinstance(piece, str):
                self._mark_started()
            yield piece if isinstance(piece, str) else Flush()


def _as_livekit(error: TTSError) -> Exception:
    if error.http_status == 504:
        return APITimeoutError()
    if error.http_status == 503:
        return APIConnectionError(error.details())
    return APIStatusError(error.details(), status_code=error.http_status, request_id=error.request_id)
