"""Log lines as JSON: one object a line, exceptions within it."""

import json
import logging
from collections.abc import Iterator

import pytest

from qwentts_grpc import logs


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_every_line_is_an_object(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logs.request_id.set("turn-1")
    log = logging.getLogger("qwentts_grpc.test")
    log.info("one %s\nand two", "line")
    log.debug("not this one")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    one, failed = map(json.loads, capfd.readouterr().err.splitlines())
    assert (one["message"], one["level"], one["request_id"]) == ("one line\nand two", "info", "turn-1")
    assert one["logger"] == "qwentts_grpc.test" and one["time"].endswith("+00:00")
    assert "ValueError: broken" in failed["exception"]
