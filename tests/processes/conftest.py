"""Checkpoints by name: their weights are never read."""

from pathlib import Path

import pytest

from engine.checkpoint.dummy import write_checkpoint


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [write_checkpoint(folder / kind, kind, seed=3) for kind in ("1.7B-CustomVoice", "0.6B-Base")]
