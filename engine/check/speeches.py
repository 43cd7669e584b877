"""One sentence by every voice of a running engine."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.api.config import EngineConfig, ModelCard
from engine.api.errors import EngineError
from engine.api.events import AudioChunk, Finished, FinishReason
from engine.api.request import RECORDING_RATE, Delivery, Reference, Sampling, SpeechRequest, TextMode
from engine.api.types import Codes, Pcm
from engine.build import build_engine
from engine.check.figures import Figure, Verdict, at_least, at_most, failed
from engine.checkpoint.embedded import embedded_checkpoint
from engine.engine import Engine

SECTION = "voices"
SENTENCE = "Good morning, the train to the coast leaves at seven."
SAID_BEFORE = "This is how I speak, on a quiet morning at home."  # in the recording to clone
DESCRIPTIONS = (
    "A calm woman of forty, speaking slowly.",
    "A cheerful young man.",
    "An old sailor with a rough, warm voice.",
)
WITH_TRANSCRIPT = "clone with a transcript"
LIMIT = 240.0  # seconds for one speech
AT_ONCE = 86_400.0  # seconds ahead of playback: no pacing
QUIETEST = -60.0  # dB of full scale; a voice lies at -30 to -15, a silent one below 16 bits' last
MOST_CLIPPED = 0.01  # of the samples: a loud voice touches full scale in some peaks


@dataclass(frozen=True, slots=True)
class Spoken:
    """A speech of a voice; empty where it failed.

    `arrivals`: seconds from the start of each chunk's coming, with the frames before it.
    """

    voice: str
    text: str
    request: SpeechRequest
    codes: Codes
    pcm: Pcm
    reason: FinishReason | None
    error: str = ""
    arrivals: Sequence[tuple[float, int]] = ()

    @property
    def ok(self) -> bool:
        """Whether there is audio."""
        return not self.error and len(self.codes) > 0


async def requests(engine: Engine, reference: Reference | None, frames: int) -> dict[str, SpeechRequest]:
    """A request for every voice, by its name.

    For clones, two ways to use the recording `reference`.
    `frames`: the most of a speech.
    """
    voices = _named(engine.card) if reference is None else await _clones(engine, reference)
    return {
        name: replace(each, sampling=replace(engine.defaults, seed=number, max_frames=frames))
        for number, (name, each) in enumerate(voices.items())
    }


async def speak_all(engine: Engine, requests: dict[str, SpeechRequest], at_once: int) -> list[Spoken]:
    """All speeches, `at_once` side by side.

    As a busy server makes them.
    """
    places = asyncio.Semaphore(at_once)

    async def one(voice: str, request: SpeechRequest) -> Spoken:
        async with places:
            return await speak(engine, voice, request, SENTENCE)

    return list(await asyncio.gather(*(one(*each) for each in requests.items())))


async def speak(engine: Engine, voice: str, request: SpeechRequest, text: str) -> Spoken:
    """One speech; an error of the engine becomes its `error`."""
    chunks, reason, began = list[tuple[AudioChunk, float]](), None, time.perf_counter()
    nothing = Spoken(voice, text, request, np.empty((0, 1), np.int32), np.empty(0, np.int16), None)
    try:
        async with asyncio.timeout(LIMIT), engine.open(request) as speech:
            speech.feed(text)
            speech.end()
            async for event in speech:
                if isinstance(event, AudioChunk) and len(event.codes):
                    chunks.append((event, time.perf_counter() - began))
                elif isinstance(event, Finished):
                    reason = event.reason
    except (EngineError, TimeoutError) as error:
        return replace(nothing, error=str(error) or f"no end within {LIMIT:.0f} s")
    if not chunks:
        return replace(nothing, reason=reason)
    codes, pcm = (np.concatenate([getattr(chunk, part) for chunk, _ in chunks]) for part in ("codes", "pcm"))
    return Spoken(voice, text, request, codes, pcm, reason, "", [(at, chunk.first_frame) for chunk, at in chunks])


def inside(spoken: Spoken, codes: int) -> Spoken:
    """Speech with codes from 0 below `codes` alone.

    Others would break a look-up.
    """
    return replace(spoken, codes=spoken.codes.clip(0, codes - 1))


def outside(spoken: Sequence[Spoken], codes: int) -> Figure:
    """Figure of the codes that do not exist."""
    count = sum(int(((each.codes < 0) | (each.codes >= codes)).sum()) for each in spoken)
    return at_most(SECTION, "codes outside their codebooks", count, 0, ".0f")


def figures(spoken: Sequence[Spoken]) -> Iterator[Figure]:
    """Figures of all voices: what failed, the quietest, the loudest."""
    for each in spoken:
        if not each.ok:
            yield failed(SECTION, each.voice, each.error or "there is no audio")
    heard = [each for each in spoken if each.ok]
    if not heard:
        return
    quiet, loud = min(heard, key=lambda s: level(s.pcm)), max(heard, key=lambda s: clipped(s.pcm))
    yield at_least(SECTION, "quietest voice, dB of full scale", level(quiet.pcm), QUIETEST, ".1f", quiet.voice)
    yield at_most(SECTION, "most clipped samples", clipped(loud.pcm), MOST_CLIPPED, ".4f", loud.voice)
    ended = sum(each.reason is FinishReason.STOP for each in heard)
    yield Figure(
        SECTION, "speeches that ended by themselves", ended / len(heard), f"{ended} of {len(heard)}", "", Verdict.NOTE
    )


def level(pcm: Pcm) -> float:
    """Root mean square, dB of full scale."""
    power = float(np.square(pcm.astype(np.float64) / 32768).mean())
    return 10 * float(np.log10(max(power, 1e-12)))


def clipped(pcm: Pcm) -> float:
    """Share of samples at full scale."""
    return float((np.abs(pcm.astype(np.int32)) >= 32767).mean())


async def recording() -> Reference:
    """Recording to clone: a sentence by the embedded voice."""
    config = EngineConfig(device="cpu", max_speeches=1)
    async with await build_engine(str(embedded_checkpoint()), config) as engine:
        request = SpeechRequest(sampling=Sampling(seed=1), delivery=Delivery(max_lead=AT_ONCE))
        spoken = await speak(engine, "", request, SAID_BEFORE)
    samples = (spoken.pcm / 32768).astype(np.float32)
    assert engine.card.sample_rate == RECORDING_RATE
    return Reference(samples, SAID_BEFORE)


def _named(card: ModelCard) -> dict[str, SpeechRequest]:
    base = SpeechRequest(delivery=Delivery(max_lead=AT_ONCE, text_mode=TextMode.WHOLE))
    if card.kind == "voice_design":
        return {text: replace(base, instructions=text) for text in DESCRIPTIONS}
    return {name: replace(base, voice=name) for name in card.voices}


async def _clones(engine: Engine, reference: Reference) -> dict[str, SpeechRequest]:
    base = SpeechRequest(delivery=Delivery(max_lead=AT_ONCE, text_mode=TextMode.INCREMENTAL))
    clones = {WITH_TRANSCRIPT: reference, "clone of the voice alone": replace(reference, speaker_embedding_only=True)}
    return {name: replace(base, kept=await engine.clone(each)) for name, each in clones.items()}
