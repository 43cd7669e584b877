"""Progress is logged while a task runs, and once at its end."""

import logging
import time

import pytest

from engine.progress import Progress


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("engine.progress.PERIOD", 0.05)
    caplog.set_level(logging.INFO)


def await_line(caplog: pytest.LogCaptureFixture, start: str) -> None:
    limit = time.monotonic() + 30
    while not any(message.startswith(start) for message in caplog.messages):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_parts_are_counted_while_they_come(caplog: pytest.LogCaptureFixture) -> None:
    with Progress("compiling", "kernels") as progress:
        for _ in range(4):
            progress.expect()
        progress.advance(2)
        await_line(caplog, "compiling: 2 of 4 kernels, ")
        progress.advance(2)
    assert caplog.messages[-1].startswith("compiling: 4 of 4 kernels, ")
    fields = vars(caplog.records[-1])["fields"]
    assert {name: fields[name] for name in ("task", "done", "total", "unit")} == {
        "task": "compiling",
        "done": 4,
        "total": 4,
        "unit": "kernels",
    }
    said = len(caplog.messages)
    time.sleep(0.12)
    assert len(caplog.messages) == said


def test_a_task_in_one_piece_says_that_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with Progress("fetching"):
        await_line(caplog, "fetching: ")
    assert len(caplog.messages) >= 2


def test_nothing_is_said_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with Progress("compiling", "kernels"):
        pass
    with pytest.raises(ZeroDivisionError), Progress("reading", "MB", 8):
        _ = 1 // 0
    assert not caplog.messages
