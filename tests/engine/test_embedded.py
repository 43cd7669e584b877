"""The embedded checkpoint appears once, complete, whoever asks first."""

import multiprocessing
from pathlib import Path

import pytest

from engine.embedded import embedded_checkpoint


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "qwentts-grpc"


def test_it_is_written_once_into_the_cache(cache: Path) -> None:
    folder = embedded_checkpoint()
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert folder.parent == cache
    assert embedded_checkpoint() == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_processes_may_race_for_it(cache: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        folders = pool.starmap_async(embedded_checkpoint, [()] * 3).get(timeout=120)
    assert len(set(folders)) == 1
    assert list(cache.iterdir()) == [folders[0]]
