"""Speed of a running engine.

With one stream, then with as many as hold real time.
"""

import asyncio
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

from engine.api.request import SpeechRequest
from engine.check.figures import Figure, Verdict, noted
from engine.check.speeches import SENTENCE, Spoken, speak
from engine.engine import Engine

SECTION = "speed"
RUNS = 3
LIMIT = 60.0  # seconds for all rungs of the ramp


@dataclass(frozen=True, slots=True)
class Speed:
    """`frame`, `first_audio` in seconds, of one stream.

    `streams` that held real time at once, of `most` tried.
    """

    frame: float
    first_audio: float
    streams: int
    most: int


async def measure(engine: Engine, request: SpeechRequest, frames: int, most: int) -> Speed:
    """Speed with up to `most` speeches at once.

    Each of `frames` frames.
    """
    request = replace(request, sampling=replace(request.sampling, max_frames=frames))
    alone = [await speak(engine, "", _seeded(request, i), SENTENCE) for i in range(RUNS)]
    held, tried = await _ramp(engine, request, most)
    return Speed(
        median(map(_frame, alone)), median(each.arrivals[0][0] if each.ok else math.inf for each in alone), held, tried
    )


def figures(speed: Speed, frame_seconds: float) -> Iterator[Figure]:
    """Figures beside real time."""
    real = Verdict.PASS if speed.frame <= frame_seconds else Verdict.SLOW
    bound = f"<= {1e3 * frame_seconds:.0f}"
    yield Figure(SECTION, "frame of one stream, ms", 1e3 * speed.frame, f"{1e3 * speed.frame:.1f}", bound, real)
    yield noted(SECTION, "first audio, ms", 1e3 * speed.first_audio, f"{1e3 * speed.first_audio:.1f}")
    verdict = Verdict.PASS if speed.streams else Verdict.SLOW
    note = "all that were tried" if speed.streams == speed.most else f"{speed.most} do not"
    yield Figure(SECTION, "streams in real time", speed.streams, str(speed.streams), ">= 1", verdict, note)


async def _ramp(engine: Engine, request: SpeechRequest, most: int) -> tuple[int, int]:
    """Most streams that held real time, of how many.

    Twice as many in every rung.
    """
    held, count, loop = 0, 1, asyncio.get_running_loop()
    end = loop.time() + LIMIT
    while True:
        speeches = await asyncio.gather(*(speak(engine, "", _seeded(request, i), SENTENCE) for i in range(count)))
        if not all(_in_time(each, engine.card.frame_seconds) for each in speeches):
            return held, count
        held = count
        if count == most or loop.time() > end:
            return held, count
        count = min(2 * count, most)


def _in_time(spoken: Spoken, frame: float) -> bool:
    """Whether playback never waits longer than a frame.

    It begins with the first chunk.
    A frame more is what a listener's own buffer holds at the least.
    """
    if not spoken.ok:
        return False
    start = spoken.arrivals[0][0]
    return all(at - start <= (before + 1) * frame for at, before in spoken.arrivals)


def _frame(spoken: Spoken) -> float:
    """Seconds a frame, with prompt, with codec."""
    return spoken.arrivals[-1][0] / len(spoken.codes) if spoken.ok else math.inf


def _seeded(request: SpeechRequest, seed: int) -> SpeechRequest:
    return replace(request, sampling=replace(request.sampling, seed=seed))
