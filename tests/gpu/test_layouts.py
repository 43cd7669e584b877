"""Checkpoints of odd sizes on a GPU: they start, in graphs, and say greedily what the reference operations say."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.api.config import EngineConfig
from engine.api.request import Delivery, Sampling, SamplingParams, SpeechRequest
from engine.build import build_engine, parts
from engine.ops.base import SamplingTensors
from engine.ops.reference import ReferenceOps
from tests.engine.speaking import speak
from tests.gpu.layouts import LAYOUTS, write

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1", reason="needs a CUDA device"
    ),
]
FRAMES, TEXT = 16, "Good morning."
MARGIN = 0.25  # between logits of some 3 in size: what bf16 may turn round
PLAIN = {  # what of a layout no kernel takes
    "heads of 320": {"paged_decode", "paged_prefill", "dense_attention"},
    "40 heads to one": {"paged_decode", "paged_prefill", "dense_attention"},
}


class Follower(ReferenceOps):
    """Draws the codes that it is given, and notes how far each lies below the best."""

    def __init__(self) -> None:
        self.given = list[int]()
        self.below = list[float]()

    def sample(self, logits: Tensor, params: SamplingTensors) -> Tensor:
        if not self.given:
            return super().sample(logits, params)
        code = self.given.pop(0)
        self.below.append(float(logits[0].max() - logits[0, code]))
        return torch.full_like(logits.argmax(-1), code)


def config(**settings: Any) -> EngineConfig:
    return EngineConfig(device="cuda", max_speeches=4, max_prefill_tokens=32, **settings)


def request() -> SpeechRequest:
    greedy = SamplingParams(temperature=0.0)
    sampling = Sampling(talker=greedy, predictor=greedy, max_frames=FRAMES)
    return SpeechRequest(sampling=sampling, delivery=Delivery(max_lead=1e4))


@pytest.mark.parametrize("name", LAYOUTS)
async def test_greedy_codes_are_those_of_the_reference_operations(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path / "checkpoint", LAYOUTS[name])
    with caplog.at_level(logging.INFO):
        async with await build_engine(str(folder), config()) as engine:
            assert "graphs" in engine.card.description
            codes = (await speak(engine, request(), TEXT)).codes
    assert codes.shape == (FRAMES, LAYOUTS[name].groups)
    plain = {line.split()[0] for line in caplog.messages if "plain PyTorch" in line} - {"codec"}
    assert plain == PLAIN.get(name, set())
    follower = Follower()
    monkeypatch.setattr(parts, "choose", lambda *_: follower)
    async with await build_engine(str(folder), config(reference_ops=True)) as engine:
        follower.given = codes.flatten().tolist()
        await speak(engine, request(), TEXT)
    assert not follower.given
    exact = np.mean(np.array(follower.below) == 0.0)
    print(f"{name}: {exact:.1%} of {codes.size} codes are the best, none is {max(follower.below):.3f} below")
    assert max(follower.below) <= MARGIN
    assert exact >= 0.9
