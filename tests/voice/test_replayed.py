"""Steps replayed as CUDA graphs do what they do without; what cannot be captured goes on, and so does all else."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tools.train_voice.replayed import Replayed
from tools.train_voice.sizes import FRAME_SAMPLES
from tools.train_voice.train_codec import Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600), pytest.mark.usefixtures("stream")]


@pytest.fixture
def stream() -> Iterator[None]:
    with torch.cuda.stream(torch.cuda.Stream()):
        yield


def test_a_captured_codec_learns_as_an_eager_one_does(capsys: pytest.CaptureFixture[str]) -> None:
    mels = []
    for eager in (True, False):
        torch.manual_seed(0)
        trainer = Trainer(torch.device("cuda"), 1e-3, eager=eager)
        real = 0.1 * torch.randn(4, 8 * FRAME_SAMPLES, device="cuda")
        phones = torch.full((4, 8, 4), 7, device="cuda")
        mels.append([float(trainer.step(real, phones, done)["mel"]) for done in [0.1] * 6 + [0.3] * 6 + [0.7] * 6])
    assert mels[1] == pytest.approx(mels[0], rel=0.1)
    assert "no CUDA graph" not in capsys.readouterr().out


def test_what_cannot_be_captured_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    def step(key: str, x: Tensor) -> Tensor:
        if key == "waits":
            x.sum().item()
        return x + torch.rand((), device=x.device)

    replayed = Replayed(step)
    keys = ["one"] * 3 + ["waits"] * 3 + ["one"] * 2 + ["two"] * 3
    said = [float(replayed(key, torch.full((), float(place), device="cuda"))) for place, key in enumerate(keys)]
    assert [int(value) for value in said] == list(range(len(keys)))
    assert len({round(value % 1, 4) for value in said}) == len(keys)
    assert capsys.readouterr().out.count("no CUDA graph") == 1
    torch.cuda.empty_cache()
