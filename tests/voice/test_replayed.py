"""Steps replayed as CUDA graphs do what they do without."""

from collections.abc import Iterator

import pytest
import torch

from training.codec.train import Trainer
from training.sizes import FRAME_SAMPLES

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600), pytest.mark.usefixtures("stream")]


@pytest.fixture
def stream() -> Iterator[None]:
    with torch.cuda.stream(torch.cuda.Stream()):
        yield


def test_a_captured_codec_learns_as_an_eager_one_does() -> None:
    mels = []
    for eager in (True, False):
        torch.manual_seed(0)
        trainer = Trainer(torch.device("cuda"), 1e-3, eager=eager)
        real = 0.1 * torch.randn(4, 8 * FRAME_SAMPLES, device="cuda")
        phones = torch.full((4, 8, 4), 7, device="cuda")
        mels.append([float(trainer.step(real, phones, done)["mel"]) for done in [0.1] * 6 + [0.3] * 6 + [0.7] * 6])
    assert mels[1] == pytest.approx(mels[0], rel=0.1)
