"""Engines of a server of several processes: whole but for the device, and started without torch, so in a second.

`python -m tests.processes.fakes serve ...` takes the server's flags; a checkpoint's name says its kind, with any
folder before. The environment says more: `STEP`, seconds of a step; `FAULT`, what an engine process does at its start.
"""

import os
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

sys.modules["torch"] = MagicMock(name="torch")

from engine.api.config import EngineConfig, ModelCard  # noqa: E402
from engine.api.errors import CheckpointError  # noqa: E402
from engine.api.observer import NullObserver, Observer  # noqa: E402
from engine.api.request import Reference, Sampling  # noqa: E402
from engine.api.voice import Voice  # noqa: E402
from engine.engine import Engine  # noqa: E402
from engine.prompt.builder import PromptBuilder  # noqa: E402
from engine.scheduler.batch_builder import Limits  # noqa: E402
from engine.scheduler.block_pool import BlockPool  # noqa: E402
from engine.scheduler.scheduler import Scheduler  # noqa: E402
from tests.engine.tiny import tiny_config, tiny_tokenizer  # noqa: E402
from tests.faults.devices import Steady  # noqa: E402

KINDS = {kind: kind for kind in ("1.7B-CustomVoice", "0.6B-Base", "1.7B-VoiceDesign")}
KINDS |= {"tiny-custom": "1.7B-CustomVoice", "tiny-base": "0.6B-Base"}


class Cloner:
    """Encodes each recording to a voice that depends on its length alone."""

    def __call__(self, reference: Reference) -> Voice:
        import numpy as np

        codes = np.full((3, 16), len(reference.samples) % 100, np.int32)
        return Voice(embedding=np.zeros(48, np.float32), codes=codes, transcript=reference.transcript)

    def is_primed(self, voice: Voice) -> bool:
        return True

    def prime(self, voice: Voice) -> None:
        """Nothing: it knows them all."""


async def build_engine(
    model: str, config: EngineConfig, observer: Observer | None = None, shared: object = None
) -> Engine:
    """An engine over a `Steady` device."""
    kind, observer = KINDS.get(Path(model).name), observer or NullObserver()
    if kind is None:
        raise CheckpointError(f"{model}: there is no such checkpoint")
    fail()
    made = tiny_config(kind)
    limits = Limits(config.max_speeches, config.max_prefill_tokens or 256, 32_768, 7_500)
    scheduler = Scheduler(limits, BlockPool(20_000, block_size=16), observer)
    builder = PromptBuilder(made, tiny_tokenizer(), Cloner() if made.kind == "base" else None)
    voices, size, rate = tuple(made.speakers), made.frame_samples, made.sample_rate
    card = ModelCard(kind, made.kind, tuple(made.languages), voices, True, "fake", size, rate)
    device = Steady(int(made.codec.eos), float(os.environ.get("STEP", "0.004")))
    return Engine(card, Sampling(), config, builder, scheduler, device, observer)


def fail() -> None:
    """Do what `FAULT` says."""
    match os.environ.get("FAULT"):
        case "vanish":
            os._exit(9)
        case "hang":
            import time

            time.sleep(600)


def install() -> None:
    """Replace the engine in this process, and in the engine processes that it starts."""
    fake = ModuleType("engine.build")
    fake.build_engine = build_engine  # type: ignore[attr-defined]
    sys.modules["engine.build"] = fake
    from qwentts_grpc.processes import child

    child.WORKER = "tests.processes.worker"


if __name__ == "__main__":
    install()
    from qwentts_grpc.cli import flags

    flags.main()
