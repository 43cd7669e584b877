"""One timed request: times of sending, of each response."""

import time
from dataclasses import dataclass, field
from typing import Any

import grpc

from benchmarks.load.playback import leading_silence, underruns
from qwentts_client.v1 import tts_pb2

SEARCHED = 96_000  # bytes of audio, 2 s, searched for the first sound
CALL_TIMEOUT = 60.0  # seconds after which a call is given up


@dataclass(frozen=True, slots=True)
class Call:
    """Times in seconds of `time.monotonic()`.

    `error`: empty for a turn with its summary. `due`: when the schedule sends it; `arrivals` and `durations`: of chunks
    with audio; `silence`: before the first sound, None without any in the first two seconds.
    """

    phase: str
    due: float
    sent: float
    ended: float
    arrivals: tuple[float, ...]
    durations: tuple[float, ...]
    silence: float | None
    error: str

    @property
    def lateness(self) -> float:
        """Delay of the generator behind its schedule, in seconds."""
        return self.sent - self.due

    @property
    def first_playable(self) -> float | None:
        """Seconds from the request to its first audio."""
        return self.arrivals[0] - self.sent if self.arrivals else None

    @property
    def audible(self) -> float | None:
        """Seconds from the request to the first sound.

        Played at once, leading silence included.
        """
        if self.first_playable is None or self.silence is None:
            return None
        return self.first_playable + self.silence

    @property
    def end_to_end(self) -> float:
        """Seconds from the request to the end of the call."""
        return self.ended - self.sent

    @property
    def gaps(self) -> list[float]:
        """Seconds between consecutive chunks."""
        return [after - before for before, after in zip(self.arrivals, self.arrivals[1:], strict=False)]

    @property
    def underruns(self) -> int:
        """Chunks too late for uninterrupted playback."""
        return underruns(self.arrivals, self.durations)


@dataclass(slots=True)
class _Log:
    """Arrivals so far."""

    arrivals: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    head: bytearray = field(default_factory=bytearray)
    summary: bool = False

    def note(self, response: tts_pb2.SynthesizeTextResponse, now: float) -> None:
        match response.WhichOneof("payload"):
            case "audio" if response.audio.data:
                self.arrivals.append(now)
                self.durations.append(response.audio.duration.ToNanoseconds() / 1e9)
                if len(self.head) < SEARCHED:
                    self.head += response.audio.data
            case "summary":
                self.summary = True


async def speak(stub: Any, request: tts_pb2.SynthesizeTextRequest, phase: str = "", due: float | None = None) -> Call:
    """Make one call now; wait for its end.

    A failed call is a result too.
    """
    log = _Log()
    sent = time.monotonic()
    error = await _listen(stub, request, log)
    ended = time.monotonic()
    return Call(
        phase=phase,
        due=sent if due is None else due,
        sent=sent,
        ended=ended,
        arrivals=tuple(log.arrivals),
        durations=tuple(log.durations),
        silence=leading_silence(bytes(log.head)),
        error=error,
    )


async def _listen(stub: Any, request: tts_pb2.SynthesizeTextRequest, log: _Log) -> str:
    """Fill the log; return the error."""
    try:
        async for response in stub.SynthesizeText(request, timeout=CALL_TIMEOUT):
            log.note(response, time.monotonic())
    except grpc.aio.AioRpcError as failure:
        return f"{failure.code().name}: {failure.details()}"
    return "" if log.summary and log.arrivals else "ended without audio and summary"


def text_request(
    text: str, frames: int, *, voice: str, first_chunk: int, seed: int, max_lead: float | None
) -> tts_pb2.SynthesizeTextRequest:
    """A request for `frames` codec frames.

    `max_lead` in seconds, None for the server's own.
    """
    config = tts_pb2.SynthesisConfig(voice=voice)
    config.sampling.seed = seed
    config.sampling.max_audio.FromMilliseconds(80 * frames)
    config.delivery.first_chunk_frames = first_chunk
    if max_lead is not None:
        config.delivery.max_lead.FromNanoseconds(round(max_lead * 1e9))
    return tts_pb2.SynthesizeTextRequest(config=config, text=text)
