"""Devices of the engine processes, of one or several each."""

import pytest

from engine.api.errors import CheckpointError
from qwentts_grpc.processes import layout as module
from qwentts_grpc.processes.layout import layout


@pytest.mark.parametrize(
    ("device", "ranks", "devices"),
    [
        ("cpu", 1, ("cpu",)),
        ("cpu", 2, ("cpu",)),
        ("cpu,cpu", 2, ("cpu,cpu",)),
        ("auto", 2, ("cuda:0,cuda:1",)),
        ("all", 1, ("cuda:0", "cuda:1", "cuda:2", "cuda:3")),
        ("all", 2, ("cuda:0,cuda:1", "cuda:2,cuda:3")),
        ("all", 4, ("cuda:0,cuda:1,cuda:2,cuda:3",)),
        ("cuda:3,cuda:1", 2, ("cuda:3,cuda:1",)),
    ],
)
def test_devices_are_dealt_out_to_engines(
    device: str, ranks: int, devices: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_gpus", lambda: 4)
    assert layout(device, 1, ranks) == (1, devices)


@pytest.mark.parametrize(("device", "ranks"), [("all", 3), ("cuda:0", 2), ("cpu,cpu,cpu", 2)])
def test_other_numbers_are_refused(device: str, ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_gpus", lambda: 4)
    with pytest.raises(CheckpointError, match=f"--tensor-parallel {ranks}: . devices are no multiple of it"):
        layout(device, 1, ranks)


def test_one_engine_over_several_devices_needs_no_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_gpus", lambda: 2)
    assert layout("all", 0, 2) == (0, ("cuda:0,cuda:1",))
    with pytest.raises(CheckpointError, match="several engines need --fronts 1 or more"):
        layout("all", 0, 1)
