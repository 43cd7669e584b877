"""A check on a GPU: random weights of real size pass, planted faults are found."""

import os
from dataclasses import replace

import pytest
import torch

from engine.api.config import EngineConfig
from engine.check import report
from engine.check.figures import Verdict
from engine.check.run import Options, check
from engine.checkpoint.dummy import KINDS
from tests.check.faults import EXPERIMENTS, FAULTS, Found, Weights, plant

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1", reason="needs a CUDA device"
    ),
]
KIND, LIMIT = "1.7B-CustomVoice", 120.0  # seconds of a whole check


def options(kind: str, most: int) -> Options:
    config = EngineConfig(device="cuda", dummy_weights=True, max_speeches=most)
    return Options(kind, config)


def half_overflow(main: Weights, codec: Weights) -> None:
    """What fp32 holds and fp16 does not: the fused codec stores its largest number instead."""
    codec["decoder.decoder.1.block.1.conv.weight"].mul_(3e5)


HALVES = Found(half_overflow, "codec", "largest value, of the dtype's largest", "the codec's conv")
FOUND = FAULTS | {"an overflow in the codec": HALVES}


@pytest.mark.parametrize("names", EXPERIMENTS, ids=" and ".join)
async def test_planted_faults_are_found(names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, *(FOUND[name].fault for name in names))
    made = await check(replace(options(KIND, 2), frames=6, voices=1, longest=12, speed_frames=4))
    print(report.table(made))
    for _, section, figure, where in map(FOUND.__getitem__, names):
        (found,) = (f for f in made.figures if (f.section, f.name) == (section, figure))
        assert found.verdict is Verdict.FAIL and where in found.note, found


@pytest.mark.parametrize("kind", sorted(KINDS, key=lambda kind: kind != KIND))
async def test_every_kind_passes_in_time(kind: str) -> None:
    made = await check(options(kind, 32))
    print(report.table(made))
    assert made.passed
    assert made.seconds < LIMIT
