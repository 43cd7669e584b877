"""A server to be watched."""

from pathlib import Path

import pytest

from engine.checkpoint.dummy import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny-custom", "1.7B-CustomVoice", seed=3)
