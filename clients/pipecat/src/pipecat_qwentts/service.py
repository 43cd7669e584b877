"""The TTS service: one turn an audio context.

Its text is written as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import grpc
from loguru import logger
from pipecat.frames.frames import (
    AggregatedTextFrame,
    CancelFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.metrics.metrics import MetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.tts_service import TextAggregationMode, TTSService
from pipecat.utils.tracing.service_decorators import traced_tts

from pipecat_qwentts.errors import TurnErrorFrame, turn_error
from pipecat_qwentts.settings import QwenTTSSettings
from pipecat_qwentts.speech import PlaybackClock, Speech
from qwentts_client import AsyncClient, AudioFrame, SegmentDone, Started, SynthesisConfig, TTSError

RETRY_FOR = 10.0  # seconds: longer silence helps no listener
QUIET = 40.0  # seconds without audio that end a context, beyond the server's 30 s without text
SPACELESS = ("。", "！", "？")  # ends of sentences that no space follows
CLOSE_TIMEOUT = 2.0  # seconds for the readers of cancelled turns


class QwenTTSService(TTSService):
    """Speech from a qwentts-grpc server.

    Text goes to the server token by token, or by the sentence with `TextAggregationMode.SENTENCE`. The conversation
    context gets the text whose audio has been played, sentence by sentence.

    Event handlers: on_connected, on_connection_error (after the first contact with the server), on_disconnected.
    """

    Settings = QwenTTSSettings
    _settings: QwenTTSSettings

    def __init__(
        self,
        *,
        server: str = "localhost:50051",
        token: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        client: AsyncClient | None = None,
        retry_for: float = RETRY_FOR,
        sentence_segments: bool = True,
        config: SynthesisConfig | None = None,
        sample_rate: int | None = None,
        text_aggregation_mode: TextAggregationMode = TextAggregationMode.TOKEN,
        settings: QwenTTSSettings | None = None,
        **kwargs: Any,
    ) -> None:
        """`server`: HOST:PORT, or several, comma-separated.

        token: bearer token. credentials: of TLS (`qwentts_client.client_credentials`).
        client: a client to share among services, in place of the three above; it stays open.
        retry_for: seconds for which a turn waits for a full or restarting server (a shared `client` has its own).
        sentence_segments: what has been played is known by the sentence; False: by the turn, in one intonation.
        config: more fields of a turn, which take precedence. sample_rate: in hertz; None: the pipeline's.
        settings: see `QwenTTSSettings`. The rest is `TTSService`'s.

        Raises ValueError for an invalid address.
        """
        kwargs.setdefault("max_consecutive_zero_audio_contexts", 0)  # the server itself says why a turn is silent
        kwargs.setdefault("stop_frame_timeout_s", QUIET)
        kwargs["text_transforms"] = [*(kwargs.get("text_transforms") or ()), ("*", self._speakable)]
        super().__init__(
            push_text_frames=False,
            push_start_frame=True,
            pause_frame_processing=True,
            append_trailing_space=True,
            sample_rate=sample_rate,
            text_aggregation_mode=text_aggregation_mode,
            settings=QwenTTSSettings.complete(settings),
            **kwargs,
        )
        self._server, self._token, self._credentials, self._retry_for = server, token, credentials, retry_for
        self._shared = client
        self._client = client or self._new_client()
        self._streams_tokens = text_aggregation_mode == TextAggregationMode.TOKEN
        self._config = SynthesisConfig()
        self._config.delivery.sentence_segments = sentence_segments
        self._config.MergeFrom(config or SynthesisConfig())
        self._speeches: dict[str, Speech] = {}
        self._clock = PlaybackClock()
        self._held: str | None = None  # tokens of a response before its first word; None after it
        self._broken = False  # the playing context ends without having spoken its text
        self._failed = ""  # the last context whose text could not be sent
        self._warming: asyncio.Task[None] | None = None

    def can_generate_metrics(self) -> bool:
        """True: times to first byte, to first audio, characters."""
        return True

    @property
    def supports_processing_metrics(self) -> bool:
        """False: `run_tts` writes text, audio comes later."""
        return False

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Connect in the background."""
        await super().setup(setup)
        if self._shared is None:
            self._client = self._new_client()
        self._warming = self.create_task(self._prewarm())

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop all turns at once."""
        self._cancel_turns()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """Stop all turns, close the client unless it is shared."""
        self._cancel_turns()
        await super().cleanup()
        if self._warming is not None:
            await self.cancel_task(self._warming)
            self._warming = None
        readers = [speech.reader for speech in self._speeches.values() if speech.reader is not None]
        if readers:
            await asyncio.wait(readers, timeout=CLOSE_TIMEOUT)
        if self._shared is None:
            await self._client.aclose()
        await self._call_event_handler("on_disconnected")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Hold tokens back until one has something to speak."""
        if isinstance(frame, InterruptionFrame):
            self._clock.stop()
        if isinstance(frame, (LLMFullResponseStartFrame, InterruptionFrame, LLMFullResponseEndFrame)):
            self._held = "" if self._streams_tokens and isinstance(frame, LLMFullResponseStartFrame) else None
        elif isinstance(frame, LLMTextFrame) and self._held is not None and not frame.skip_tts:
            frame.text = self._held + frame.text
            self._held = None if speakable(frame.text) else frame.text
            if self._held is not None:
                return
        await super().process_frame(frame, direction)

    @traced_tts
    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Write text to the context's turn; the first opens it."""
        try:
            if context_id != self._failed:
                speech = self._speeches.get(context_id) or self._open(context_id)
                speech.write(text)
                await self.start_tts_usage_metrics(text)
            yield None
        except (BufferError, OSError, RuntimeError, TypeError, ValueError) as error:
            self._failed = context_id
            yield turn_error(error)

    async def flush_audio(self, context_id: str | None = None) -> None:
        """End the context's text.

        Its turn is spoken to the end.
        """
        context_id = context_id or self.get_active_audio_context_id()
        if context_id in self._speeches:
            self._speeches[context_id].end()
        elif context_id is not None and self.audio_context_available(context_id):
            await self._end_context(context_id)  # no turn could be opened

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Cancel the context's turn."""
        self._drop(context_id)
        await super().on_audio_context_interrupted(context_id)

    async def on_audio_context_completed(self, context_id: str) -> None:
        """Drop the turn, which is over unless a server hangs."""
        self._broken = False
        self._drop(context_id)
        await super().on_audio_context_completed(context_id)

    async def push_error_frame(self, error: ErrorFrame, force_treat_as_permanent: bool = False) -> None:
        """Note, in playing order, that a turn has failed."""
        self._broken |= isinstance(error, TurnErrorFrame)
        await super().push_error_frame(error, force_treat_as_permanent)

    async def push_frame(self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        """Keep a failed turn's unspoken text out of the conversation."""
        if self._broken and isinstance(frame, (TTSTextFrame, AggregatedTextFrame)):
            frame.append_to_context = False
        await super().push_frame(frame, direction)

    def _new_client(self) -> AsyncClient:
        return AsyncClient(self._server, token=self._token, credentials=self._credentials, retry_for=self._retry_for)

    async def _prewarm(self) -> None:
        """Connect, so that the first turn finds an open connection."""
        try:
            await self._client.wait_ready(self._retry_for)
            await self._call_event_handler("on_connected")
        except (TimeoutError, TTSError, OSError) as error:
            logger.warning(f"{self}: {error}")
            await self._call_event_handler("on_connection_error", str(error))

    async def _speakable(self, text: str, text_type: str) -> str:
        """`text`, or nothing where a sentence has no word.

        A context without audio counts as a failure.
        """
        return text if text_type == "token" or speakable(text) else ""

    def _open(self, context_id: str) -> Speech:
        config = self._settings.config(self._config, sample_rate=self.sample_rate, request_id=context_id)
        speech = Speech(partial(self._client.open_turn, config=config), self._clock, self._retry_for)
        speech.reader = self.create_task(self._read(speech, context_id))
        self._speeches[context_id] = speech
        return speech

    async def _read(self, speech: Speech, context_id: str) -> None:
        """Pass the turn's audio on, then end its context."""
        try:
            async for event in speech.events():
                if isinstance(event, AudioFrame):
                    speech.came(event)
                    audio = TTSAudioRawFrame(event.data, self.sample_rate, 1, context_id=context_id)
                    await self.append_to_audio_context(context_id, audio)
                elif isinstance(event, SegmentDone):
                    text, end = speech.said(event)
                    if text:
                        await self.add_word_timestamps([(text, end)], context_id, text.endswith(SPACELESS))
                elif isinstance(event, Started):
                    self.set_core_metrics_data(MetricsData(processor=self.name, model=event.model))
        except TTSError as error:
            if error.reason != "TEXT_EMPTY":
                await self.append_to_audio_context(context_id, turn_error(error))
        await speech.ended.wait()  # a context that ended before its text would begin anew
        if self._speeches.get(context_id) is speech:
            await self._end_context(context_id)

    async def _end_context(self, context_id: str) -> None:
        await self.append_to_audio_context(context_id, TTSStoppedFrame(context_id=context_id))
        await self.remove_audio_context(context_id)

    def _drop(self, context_id: str) -> None:
        if speech := self._speeches.pop(context_id, None):
            speech.cancel()

    def _cancel_turns(self) -> None:
        for speech in self._speeches.values():
            speech.cancel()


def speakable(text: str) -> bool:
    """Whether the text has a letter or number to speak."""
    return any(map(str.isalnum, text))
