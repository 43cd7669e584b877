"""A Pipecat TTS service (pipecat-ai 1.14).

One turn an audio context, its text written as it comes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from pipecat.frames.frames import Frame, TTSAudioRawFrame, TTSStoppedFrame
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TextAggregationMode, TTSService

from qwentts_client import AsyncClient, TTSError, WritableTurn


class QwenTTSService(TTSService):
    """Speech from a qwentts-grpc server."""

    def __init__(
        self,
        server: str = "localhost:50051",
        *,
        voice: str = "",
        language: str | None = None,
        token: str = "",
        sample_rate: int | None = None,
        text_aggregation_mode: TextAggregationMode = TextAggregationMode.TOKEN,
        **options: Any,
    ) -> None:
        super().__init__(
            push_start_frame=True,
            sample_rate=sample_rate,
            text_aggregation_mode=text_aggregation_mode,
            append_trailing_space=text_aggregation_mode is not TextAggregationMode.TOKEN,
            settings=TTSSettings(model="qwen3-tts", voice=voice, language=language),
            **options,
        )
        self._client = AsyncClient(server, token=token)
        self._turns: dict[str, WritableTurn] = {}

    def can_generate_metrics(self) -> bool:
        """True: Pipecat measures the time to the first byte."""
        return True

    async def cleanup(self) -> None:
        """Close the client; open turns end."""
        await super().cleanup()
        await self._client.aclose()

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Write text to the context's turn.

        The first text opens it.
        """
        if context_id not in self._turns:
            turn = self._client.open_turn(
                voice=self._settings.voice,
                language=self._settings.language or "",
                sample_rate=self.sample_rate,
                request_id=context_id,
            )
            self._turns[context_id] = turn
            self.create_task(self._read(turn, context_id))
        self._turns[context_id].write(text)
        await self.start_tts_usage_metrics(text)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """End the context's text."""
        if context_id in self._turns:
            self._turns[context_id].end()

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Cancel the context's turn."""
        if turn := self._turns.pop(context_id, None):
            turn.cancel()
        await super().on_audio_context_interrupted(context_id)

    async def _read(self, turn: WritableTurn, context_id: str) -> None:
        try:
            async for frame in turn:
                audio = TTSAudioRawFrame(frame.data, self.sample_rate, 1, context_id=context_id)
                await self.append_to_audio_context(context_id, audio)
            if not turn.cancelled:
                await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
        except TTSError as error:
            await self.push_error(error_msg=str(error), exception=error)
        finally:
            if self._turns.pop(context_id, None):  # an interruption has removed both already
                await self.remove_audio_context(context_id)
