"""The command line as its user meets it: in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from qwentts_grpc.cli.flags import main

COMMAND = [sys.executable, "-m", "qwentts_grpc.cli.flags"]
FAKES = [sys.executable, "-m", "tests.processes.fakes"]  # the same in front of a device without a model
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SECRET = "zq"  # neither in a hexadecimal id nor in a name


@dataclass
class Process:
    """A server with its lines of standard output read so far."""

    process: subprocess.Popen[str]
    log: Path
    server: str = ""
    metrics: str = ""


def launch(checkpoint: Path, log: Path, *flags: str, command: list[str] = COMMAND) -> Process:
    serve = [*command, "serve", "--model", str(checkpoint), "--port", "0", "--metrics-port", "0", *flags]
    process = subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=log.open("w"), text=True, env=ENVIRONMENT)
    started = Process(process, log)
    for printed in _lines(process.stdout):
        line = str(json.loads(printed)["message"]) if printed.startswith("{") else printed
        if line.startswith("metrics on "):
            started.metrics = line.removeprefix("metrics on ").strip()
        if line.startswith("serving on "):
            started.server = line.removeprefix("serving on ").strip()
            return started
    raise AssertionError(log.read_text())


def _lines(stream: IO[str] | None) -> Iterator[str]:
    assert stream is not None
    yield from stream


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    log = tmp_path_factory.mktemp("log") / "server.log"
    started = launch(checkpoint, log, "--log-level", "debug", "--max-speeches", "2", command=FAKES)
    yield started
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(10) == 0


@pytest.fixture(scope="module")
def whole(noise: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server with a model."""
    started = launch(noise, tmp_path_factory.mktemp("log") / "server.log")
    yield started
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(10) == 0


@pytest.mark.parametrize("flags", [("--port", "x"), ("--model", "/nope"), ("--tls-cert", "/nope")])
def test_what_stops_a_start_is_said_as_the_log_is_written(flags: tuple[str, ...]) -> None:
    done = run("serve", "--metrics-port", "0", "--log-format", "json", *flags)
    assert done.returncode == 2
    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert lines[-1]["message"].startswith("qwentts-grpc: error: ")


def run(*arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**ENVIRONMENT, **environment},
    )


def seconds(path: Path) -> float:
    with wave.open(str(path)) as file:
        assert file.getframerate() == 24_000
        return float(file.getnframes() / 24_000)


def test_speak_writes_a_file_and_says_how_it_went(whole: Process, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    done = run("speak", "Hi.", "--server", whole.server, "--seed", "4", "--voice", "vivian", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert f"{seconds(out):.2f} s of audio" in done.stderr and "seed 4" in done.stderr


def test_speak_reads_lines_as_they_come(server: Process, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    command = [*COMMAND, "speak", "-", "--server", server.server, "--out", str(out)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(f"{SECRET} and on\n")
    process.stdin.flush()
    until = time.monotonic() + 20
    while not (out.exists() and out.stat().st_size > 44):  # audio, while the text is still open
        assert time.monotonic() < until
        time.sleep(0.02)
    process.stdin.write("Ah.\n")
    process.stdin.close()
    assert process.wait(60) == 0, process.stderr.read()
    process.stderr.close()
    assert seconds(out) > 1


def test_voices_lists_them(server: Process) -> None:
    done = run("voices", "--server", server.server)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^ryan +.*english", done.stdout, re.M)


def test_the_side_port_has_metrics(server: Process) -> None:
    assert scrape(server)["tts_ready"] == 1


def test_logs_have_request_ids_and_no_text(server: Process, tmp_path: Path) -> None:
    run("speak", f"{SECRET}.", "--server", server.server, "--out", str(tmp_path / "out.wav"))
    log = server.log.read_text()
    assert re.search(r"\[[0-9a-f]{32} ipv4:[0-9.:]+\] Synthesize (length|stop): [0-9.]+ s of audio", log)
    assert SECRET not in log


def test_the_log_says_how_a_start_goes(whole: Process) -> None:
    log = whole.log.read_text()
    said = [
        log.index(f" {words}") for words in ("loading ", "reading weights ", "first speech ", "loaded ", "ready in ")
    ]
    assert said == sorted(said)


def test_a_client_that_is_killed_leaves_nothing(server: Process, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    command = [*COMMAND, "speak", "-", "--server", server.server, "--out", str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as speaking:
        assert speaking.stdin is not None
        speaking.stdin.write(b"A text that has no end yet, so that its turn has none.\n")
        speaking.stdin.flush()
        until = time.monotonic() + 30
        while not scrape(server)['tts_streams_open{method="Synthesize"}']:
            assert time.monotonic() < until
            time.sleep(0.02)
        speaking.kill()
    until = time.monotonic() + 20
    while scrape(server)['tts_streams_open{method="Synthesize"}'] or scrape(server)["tts_kv_blocks_used"]:
        assert time.monotonic() < until
        time.sleep(0.02)


def scrape(server: Process) -> dict[str, float]:
    with urllib.request.urlopen(server.metrics, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_a_turn_may_end_after_sigterm(checkpoint: Path, tmp_path: Path) -> None:
    own, out = launch(checkpoint, tmp_path / "log", command=FAKES), tmp_path / "out.wav"
    command = [*COMMAND, "speak", "Oh.", "--server", own.server, "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as speaking:
        while not out.exists():
            time.sleep(0.02)
        own.process.send_signal(signal.SIGTERM)
        assert speaking.wait(60) == 0
    assert own.process.wait(10) == 0
    assert seconds(out) > 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("sing",),
        ("serve", "--port", "70000"),
        ("serve", "--device", "tpu"),
        ("serve", "--dtype", "float16"),
        ("serve", "--max-speeches", "0"),
        ("serve", "--dummy-weights", "9B-Base"),
        ("serve", "--drain-seconds", "-1"),
        ("serve", "--watchdog-seconds", "0"),
        ("serve", "--tenant-voices", "-1"),
        ("speak",),
        ("speak", "Hi.", "--seed", "x"),
        ("speak", "Hi.", "--out", "/nowhere/out.wav"),
        ("speak", "Hi.", "--reference", "/nowhere/in.wav"),
        ("speak", "Hi.", "--transcript", "Hm."),
        ("speak", "Hi.", "--voice", "ryan", "--reference", __file__),
        ("speak", "Hi.", "--consent", "form 7"),
        ("voices", "--nothing"),
        ("voices", "--tls-key", "a.key"),
        ("voices", "--tls-ca", "/nowhere.pem"),
        ("voices", "--token", "a\nb"),
    ],
    ids=" ".join,
)
def test_bad_use_is_one_line_and_code_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    check_one_line(subprocess.CompletedProcess(arguments, int(ended.value.code or 0), said.out, said.err), 2)


def test_bad_use_ends_the_process_with_code_2() -> None:
    check_one_line(run("serve", "--port", "70000"), 2)


def check_one_line(done: subprocess.CompletedProcess[str], code: int) -> None:
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("qwentts-grpc: ") and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_a_bad_checkpoint_is_one_line_and_code_2(tmp_path: Path) -> None:
    done = run("serve", "--port", "0", "--metrics-port", "0", QWENTTS_MODEL=str(tmp_path))
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_line_and_code_2(server: Process, checkpoint: Path) -> None:
    port = server.server.rpartition(":")[2]
    check_one_line(run("serve", "--model", str(checkpoint), "--port", port, "--metrics-port", "0"), 2)


# A server whose device breaks at the first speech after the warm-up.
BREAKING = """
import sys
from engine.runner.eager import EagerRunner
from qwentts_grpc.cli.flags import main

real, entries = EagerRunner.step, 0

def step(runner, batch):
    global entries
    entries += len(batch.inits)
    if entries > 1:
        raise RuntimeError("the device has fallen off")
    return real(runner, batch)

EagerRunner.step = step
main(sys.argv[1:])
"""


def test_a_lost_engine_ends_the_process_with_an_error(checkpoint: Path, tmp_path: Path) -> None:
    own = launch(checkpoint, tmp_path / "log", command=[sys.executable, "-c", BREAKING])
    done = run("speak", "Hi.", "--server", own.server, "--out", str(tmp_path / "out.wav"))
    check_one_line(done, 1)
    assert "UNAVAILABLE" in done.stderr
    assert own.process.wait(20) == 70
    assert "the device has fallen off" in own.log.read_text()


def test_a_missing_server_is_one_line(tmp_path: Path) -> None:
    for command in (("speak", "Hi.", "--out", str(tmp_path / "out.wav")), ("voices",)):
        done = run(*command, "--server", "127.0.0.1:9")
        check_one_line(done, 1)
        assert "127.0.0.1:9" in done.stderr
    assert not (tmp_path / "out.wav").exists()


def test_what_the_server_refuses_is_one_line(server: Process) -> None:
    done = run("speak", "Hi.", "--voice", "nobody", "--server", server.server)
    check_one_line(done, 1)
    assert "NOT_FOUND" in done.stderr
