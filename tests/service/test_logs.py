"""Log lines as JSON: one object a line, whoever writes it, exceptions within it; as text one line an event."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(program: str, form: str = "json") -> list[str]:
    """What a process prints in which `program` runs with its log configured."""
    start = ["import logging", "from qwentts_grpc.telemetry import logs", f"logs.configure('info', {form!r})"]
    whole = "\n".join([*start, "log = logging.getLogger('t')", program])
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    return done.stderr.splitlines()


def records(program: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(program)]


def test_a_line_has_its_request_fields_and_exception() -> None:
    one, failed = records(
        """
logs.request_id.set("turn-1")
log.info("one %s\\nand two", "line", extra=logs.fields(seconds=1.5, voice="x" * 500, tenant=None))
log.debug("not this one")
try:
    raise ValueError("broken")
except ValueError:
    log.exception("failed")
"""
    )
    assert one["time"].endswith("+00:00")
    del one["time"]
    assert one == {
        "level": "info",
        "logger": "t",
        "message": "one line\nand two",
        "request_id": "turn-1",
        "seconds": 1.5,
        "voice": "x" * 128,
    }
    assert "ValueError: broken" in failed["exception"]


CALL = """
from qwentts_grpc.wire import caller
logs.request_id.set("turn-1")
caller.current.set(caller.Caller({tenant!r}, "ipv4:192.0.2.1:7"))
log.info("one")
"""


def test_a_line_names_tenant_and_peer() -> None:
    (line,) = records(CALL.format(tenant="acme"))
    assert (line["request_id"], line["tenant"], line["peer"]) == ("turn-1", "acme", "ipv4:192.0.2.1:7")
    (line,) = records(CALL.format(tenant=""))
    assert "tenant" not in line and line["peer"]
    (text,) = lines(CALL.format(tenant="sha256:" + "0" * 64), "text")
    assert "[turn-1 sha256:000000000000 ipv4:192.0.2.1:7]" in text


def test_what_others_print_is_json_too() -> None:
    found = records(
        """
import os, subprocess, sys, threading, warnings
print("to stdout")
print("to stderr", file=sys.stderr)
os.write(2, b"from native code \\xff\\n")
subprocess.run(["sh", "-c", "echo from a child >&2"])
warnings.warn("a library's warning")
thread = threading.Thread(target=lambda: 1 // 0)
thread.start()
thread.join()
sys.stdout.flush()
"""
    )
    messages = [line["message"] for line in found]
    assert {"to stdout", "to stderr", "from native code \\xff", "from a child"} <= set(messages)
    assert any("a library's warning" in line["message"] and line["logger"] == "py.warnings" for line in found)
    assert [line["level"] for line in found if "ZeroDivisionError" in line.get("exception", "")] == ["critical"]
    assert all("request_id" not in line for line in found)


@pytest.mark.parametrize(
    "ending",
    [
        "1 // 0",
        "import asyncio\nasync def main(): 1 // 0\nasyncio.run(main())",
        "import os\nprint('last words')\nlogging.shutdown()\nos._exit(3)",
    ],
)
def test_the_last_words_of_a_process_are_json(ending: str) -> None:
    (last,) = records(ending)
    assert last["message"] == "last words" or "ZeroDivisionError" in last["exception"]


def test_many_lines_of_many_threads_stay_whole() -> None:
    found = records(
        """
import os, threading
def work(number):
    for index in range(200):
        log.info("%d %d %s", number, index, "x" * 3000)
        os.write(2, b"%d %d native\\n" % (number, index))
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    )
    assert len(found) == 1600


def test_nobody_outside_writes_a_line_of_his_own() -> None:
    (words, failed, *trace) = lines(
        """
from qwentts_grpc.wire import caller
logs.request_id.set('x"] INFO root: audit [')
caller.current.set(caller.Caller("a b"))
log.info("said")
try:
    raise ValueError("oh\\n2026-01-01 INFO root: audit\x1b[31m")
except ValueError:
    log.exception("failed")
""",
        "text",
    )
    assert words.endswith(r' INFO    t ["x\"] INFO root: audit [" "a b"] said')
    assert failed.endswith("failed") and all(line.startswith("    ") for line in trace)
    assert "\x1b" not in "".join(trace)


def test_lines_that_callers_cause_are_bounded() -> None:
    found = [line["message"] for line in records(FLOOD)]
    assert found.count("refused") == 20 and found.count("other") == 1 and found.count("told") == 50
    assert found.count("grpc says 1") == 1 and sum(message.startswith("grpc says") for message in found) == 20
    (summary,) = [message for message in found if "refused calls" in message]
    assert summary == "30 more lines of refused calls, 30 of them from 192.0.2.1"


FLOOD = """
from qwentts_grpc.wire import caller
from qwentts_grpc.telemetry import log_floods
caller.current.set(caller.Caller("", "ipv4:192.0.2.1:7"))
for number in range(50):
    log.info("refused", extra=log_floods.kind("refused calls"))
    log.info("told")
    logging.getLogger("grpc._cython.cygrpc").error("grpc says %d", number)
log.info("other", extra=log_floods.kind("other"))
logging.root.handlers[0].filters[0].sum_up()
"""


def test_text_is_one_line_an_event() -> None:
    (plain, request, forged) = lines(
        """
log.info("ready")
logs.request_id.set("turn-1")
log.info("said")
log.warning("a\\nb\\x1b[31m\\u2028")
""",
        "text",
    )
    assert plain.endswith(" INFO    t: ready")
    assert request.endswith(" INFO    t [turn-1] said")
    assert forged.endswith(r" WARNING t [turn-1] a\nb\x1b[31m\u2028")


def test_what_is_announced_goes_to_standard_output() -> None:
    calls = "logs.announce('one')\nlogs.configure('error', 'json')\nlogs.announce('two')"
    program = f"from qwentts_grpc.telemetry import logs\n{calls}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    one, two = done.stdout.splitlines()
    assert (one, json.loads(two)["message"], done.stderr) == ("one", "two", "")
