"""For every test: one torch thread, here and in servers started from here, no network, and a voice that is cheap."""

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported; tiny matrices gain nothing from more
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every process that a test starts compiles all modules anew
sys.dont_write_bytecode = False
os.umask(0o077)  # a server refuses keys and tokens that all users can read
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a server's process begins anew where it is not set
os.environ["HF_HUB_OFFLINE"] = "1"  # no test reaches for the network
os.environ.pop("QWENTTS_MODEL", None)  # a server that is given no model speaks with the embedded one


with suppress(ImportError):  # it is not on every machine with a GPU
    import hypothesis

    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A busy machine may lose a race: what judges durations has two more tries, all else one."""
    for item in items:
        item.add_marker(pytest.mark.flaky(reruns=2 if item.get_closest_marker("timing") else 1, reruns_delay=1))


def pytest_collection_finish() -> None:
    """Exempt what has been imported from collections: tests that close a server make one each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny custom voice with random weights, which ends soon after its text."""
    from engine.checkpoint.dummy import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("noise") / "noise", "0.6B-CustomVoice", seed=8, eos_scale=1.8)
