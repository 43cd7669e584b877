"""For every test: one torch thread, here and in servers started from here, and a cache folder of this run's own."""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported; tiny matrices gain nothing from more
os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches for the network


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
