"""Faults are tried on servers like those of tests/service, most of them in front of a device that costs nothing."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.checkpoint.dummy import write_checkpoint
from tests.service.conftest import Running, serving

from .devices import Steady

APART = os.environ.get("FAULTS_APART") == "yes"  # every engine behind a socket
FORMS = ["apart"] if APART else ["within", "apart"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-custom", "1.7B-CustomVoice", seed=3)


@asynccontextmanager
async def steady(
    checkpoint: Path, step_seconds: float = 0.0, ends_after: int = 0, **settings: Any
) -> AsyncIterator[Running]:
    """A server whose device is a `Steady`; `settings` are those of `serving`."""
    async with serving(checkpoint, **{"apart": APART, **settings}) as running:
        device = Steady(running.eos, step_seconds, ends_after)
        with running.runner(lambda real: device):
            yield running
