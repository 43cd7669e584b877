"""Short checks: few frames, few streams, and neither recogniser nor package unless a test asks for them."""

import numpy as np
import pytest

from engine.api.config import EngineConfig
from engine.api.request import Reference
from engine.check import hearing, package, speeches
from engine.check.run import Options


def options(model: object, **config: object) -> Options:
    """A check of a second or two."""
    settings = EngineConfig(device="cpu", max_speeches=2, **config)  # type: ignore[arg-type]
    return Options(str(model), settings, frames=4, voices=1, longest=8, speed_frames=3)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_recogniser(model: str) -> hearing.Hear:
        raise hearing.NoRecogniser("not in this test")

    async def chirp() -> Reference:
        time = np.arange(36_000) / 24_000
        return Reference((0.3 * np.sin(2 * np.pi * (150 + 60 * time) * time)).astype(np.float32), "Some words.")

    monkeypatch.setattr(hearing, "recogniser", no_recogniser)
    monkeypatch.setattr(package, "find_spec", lambda name: None)
    monkeypatch.setattr(speeches, "recording", chirp)
