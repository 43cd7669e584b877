"""Turns: of text as it comes, of a complete text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from livekit.agents import APIConnectOptions, APITimeoutError, tts, utils

from qwentts_client import AudioFrame, SegmentDone, Summary, TTSError, Turn

from .errors import api_error
from .transcript import Transcript

if TYPE_CHECKING:
    from .tts import TTS

SILENCE = 0.01  # seconds, for text without a word: LiveKit takes no audio for a failure


class _Turns:
    """What both kinds of streams share: one turn an attempt."""

    _tts: TTS
    _conn_options: APIConnectOptions
    _set_token_usage: Any

    def _initialize(self, emitter: tts.AudioEmitter, stream: bool) -> str:
        """Prepare the emitter; returns the id of the turn."""
        request_id = utils.shortuuid("tts_")
        emitter.initialize(
            request_id=request_id,
            sample_rate=self._tts.sample_rate,
            num_channels=1,
            mime_type="audio/pcm",
            frame_size_ms=80,
            stream=stream,
        )
        return request_id

    async def _speak(self, transcript: Transcript, emitter: tts.AudioEmitter, request_id: str) -> None:
        """Push the audio of a text that has a word.

        Raises APIError.
        """
        try:
            config = self._tts.options.config(request_id)
            async with self._tts.client.synthesize(transcript, config=config) as turn:
                await self._accepted(turn)
                async for event in turn.events():
                    self._push(event, transcript, emitter)
        except TTSError as error:
            raise api_error(error) from error

    async def _accepted(self, turn: Turn) -> None:
        limit = self._conn_options.timeout
        try:
            await asyncio.wait_for(turn.wait_started(), limit)
        except asyncio.TimeoutError:
            raise APITimeoutError(f"the server has not accepted the turn within {limit:g} s") from None

    def _push(self, event: Any, transcript: Transcript, emitter: tts.AudioEmitter) -> None:
        if isinstance(event, AudioFrame):
            emitter.push(event.data)
        elif isinstance(event, SegmentDone):
            emitter.push_timed_transcript(transcript.spoken(event))
        elif isinstance(event, Summary):
            self._set_token_usage(input_tokens=event.text_tokens, output_tokens=event.codec_frames)

    def _silence(self, emitter: tts.AudioEmitter) -> None:
        emitter.push(bytes(2 * round(SILENCE * self._tts.sample_rate)))


class SynthesizeStream(_Turns, tts.SynthesizeStream):
    """Speech of arriving text, up to its first flush."""

    _tts: TTS

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        request_id = self._initialize(output_emitter, stream=True)
        transcript = Transcript(self._segment())
        has_word = await transcript.begin()
        if not transcript.text:
            return
        self._mark_started()
        output_emitter.start_segment(segment_id=request_id)
        if has_word:
            await self._speak(transcript, output_emitter, request_id)
        else:
            self._silence(output_emitter)
        output_emitter.end_segment()

    async def _segment(self) -> AsyncIterator[str]:
        """Text of the only segment of a LiveKit stream."""
        some = False
        async for piece in self._input_ch:
            if isinstance(piece, str):
                some = True
                yield piece
            elif some:
                return


class ChunkedStream(_Turns, tts.ChunkedStream):
    """Speech of a complete text."""

    _tts: TTS

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        request_id = self._initialize(output_emitter, stream=False)
        transcript = Transcript(self._whole())
        if await transcript.begin():
            await self._speak(transcript, output_emitter, request_id)
        elif transcript.text:
            self._silence(output_emitter)
        output_emitter.flush()

    async def _whole(self) -> AsyncIterator[str]:
        yield self._input_text
