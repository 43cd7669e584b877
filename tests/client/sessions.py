"""LiveKit sessions without a room: a loudspeaker that plays in real time, and the transcript it shows."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.agents.voice.transcription.synchronizer import TranscriptSynchronizer


class Loudspeaker(io.AudioOutput):
    """Plays at the pace of a listener."""

    def __init__(self) -> None:
        super().__init__(label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=24_000)
        self.total = 0.0  # seconds captured
        self.last = 0.0  # when the last frame came
        self._began: float | None = None
        self._length = 0.0
        self._playing: asyncio.Task[None] | None = None

    async def capture_frame(self, frame: Any) -> None:
        await super().capture_frame(frame)
        self.last = time.monotonic()
        self.total += frame.duration
        self._length += frame.duration
        if self._began is None:
            self._began = time.time()
            self.on_playback_started(created_at=self._began)

    def flush(self) -> None:
        super().flush()
        if self._began is not None:
            self._playing = asyncio.ensure_future(self._play(self._began + self._length))

    def clear_buffer(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
        if self._began is not None:
            self._finish(interrupted=True)

    async def _play(self, end: float) -> None:
        await asyncio.sleep(max(0.0, end - time.time()))
        self._finish(interrupted=False)

    def _finish(self, interrupted: bool) -> None:
        assert self._began is not None
        position = min(self._length, time.time() - self._began)
        self._began, self._length = None, 0.0
        self.on_playback_finished(playback_position=position, interrupted=interrupted)


class Screen(io.TextOutput):
    """Shows the transcript."""

    def __init__(self) -> None:
        super().__init__(label="screen", next_in_chain=None)
        self.text = ""

    async def capture_text(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


@dataclass
class Session:
    """A session around a TTS."""

    session: AgentSession[None]
    loudspeaker: Loudspeaker
    screen: Screen

    @property
    def said(self) -> list[tuple[str, bool]]:
        """What the history believes the assistant has said; whether it was interrupted."""
        items = [item for item in self.session.history.items if item.type == "message"]
        return [(item.text_content or "", item.interrupted) for item in items]


@asynccontextmanager
async def talking(tts: Any) -> AsyncIterator[Session]:
    """A session with transcripts as the TTS aligns them."""
    session: AgentSession[None] = AgentSession(tts=tts, use_tts_aligned_transcript=True)
    loudspeaker, screen = Loudspeaker(), Screen()
    together = TranscriptSynchronizer(next_in_chain_audio=loudspeaker, next_in_chain_text=screen)
    session.output.audio, session.output.transcription = together.audio_output, together.text_output
    await session.start(Agent(instructions="Be brief."))
    try:
        yield Session(session, loudspeaker, screen)
    finally:
        await session.aclose()
        await together.aclose()
