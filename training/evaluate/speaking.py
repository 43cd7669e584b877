"""Speech by the server, one sentence after another, with timings."""

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qwentts_client.client import SAMPLE_RATE, AsyncClient, Text
from qwentts_client.errors import Code, TTSError
from qwentts_client.v1 import tts_pb2

_LIMIT = 300.0  # seconds for one sentence


class Who(NamedTuple):
    """A voice by name, or a recording to clone.

    The recording is a file's bytes, with its transcript or without.
    """

    voice: str = ""
    reference: bytes | None = None
    transcript: str = ""


@dataclass(frozen=True)
class Spoken:
    """One speech: 24 kHz `samples`, `first`, `total` (seconds).

    `first` is the time until the first audio, `total` until the end.
    """

    text: str
    samples: NDArray[np.int16]
    first: float
    total: float
    ended: bool  # by the model itself

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / SAMPLE_RATE


async def speak_all(client: AsyncClient, texts: Sequence[str], who: Who, by_words: bool, seed: int = 0) -> list[Spoken]:
    """Speeches of the texts, each seeded by its number.

    Numbers begin at `seed`. A text is whole in the prompt, or comes word by word beside the frames.
    """
    return [await _speak(client, text, who, number, by_words) for number, text in enumerate(texts, seed)]


async def silent(client: AsyncClient, text: str, who: Who) -> bool:
    """Whether `text` is refused as empty, or brings no audio."""
    try:
        return not len((await _speak(client, text, who, 0, by_words=False)).samples)
    except TTSError as error:
        return error.code() is Code.INVALID_ARGUMENT


def pieces(text: str) -> Iterable[str]:
    """Words of `text`, as a language model might send them.

    Each but the last has the space after it.
    """
    *words, last = text.split(" ")
    return [*(f"{word} " for word in words), last]


async def _speak(client: AsyncClient, text: str, who: Who, seed: int, by_words: bool) -> Spoken:
    sent: Text = pieces(text) if by_words else text
    start, first, heard = time.monotonic(), 0.0, bytearray()
    turn = client.synthesize(
        sent,
        voice=who.voice,
        reference=who.reference,
        transcript=who.transcript,
        seed=seed,
        config=_config(by_words),
        timeout=_LIMIT,
    )
    frames: AsyncIterator[tts_pb2.AudioFrame] = turn.__aiter__()
    async for frame in frames:
        first = first or time.monotonic() - start
        heard += frame.data
    ended = turn.summary.finish_reason == tts_pb2.FINISH_REASON_STOP
    return Spoken(text, np.frombuffer(heard, np.int16), first, time.monotonic() - start, ended)


def _config(by_words: bool) -> tts_pb2.SynthesisConfig:
    """Turn config with the layout of the text, without pacing.

    The time is then the engine's own.
    """
    config = tts_pb2.SynthesisConfig()
    config.delivery.text_mode = tts_pb2.TEXT_MODE_INCREMENTAL if by_words else tts_pb2.TEXT_MODE_WHOLE
    config.delivery.max_lead.FromSeconds(3600)
    return config
