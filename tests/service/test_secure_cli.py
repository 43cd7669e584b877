"""The command line with TLS and a token, and what it says of files and packages that are not there."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .certificates import Authority
from .test_cli import ENVIRONMENT, FAKES, Process, check_one_line, launch, run, seconds


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(checkpoint: Path, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "tokens").write_text("open-sesame\n")
    own = authority.sign("server")
    tls = ("--tls-cert", str(own.cert), "--tls-key", str(own.key), "--tls-client-ca", str(authority.cert))
    started = launch(checkpoint, folder / "log", *tls, "--token-file", str(folder / "tokens"), command=FAKES)
    yield started
    started.process.terminate()
    assert started.process.wait(10) == 0
    assert "sesame" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def trust(authority: Authority) -> tuple[str, ...]:
    caller = authority.sign("caller")
    return ("--tls-ca", str(authority.cert), "--tls-cert", str(caller.cert), "--tls-key", str(caller.key))


def test_speaks_over_tls_with_a_token(server: Process, trust: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    arguments = ("speak", "Oh.", "--server", server.server, "--out", str(out), *trust)
    done = run(*arguments, QWENTTS_TOKEN="open-sesame")
    assert done.returncode == 0, done.stderr
    assert seconds(out) > 0


@pytest.mark.parametrize("token", ["", "other"], ids=["no token", "another token"])
def test_without_its_token_it_is_told_so(server: Process, trust: tuple[str, ...], token: str) -> None:
    done = run("voices", "--server", server.server, *trust, "--token", token)
    check_one_line(done, 1)
    assert "UNAUTHENTICATED" in done.stderr


def test_without_tls_nobody_answers(server: Process) -> None:
    check_one_line(run("voices", "--server", server.server, "--token", "open-sesame"), 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--tls-cert", "a.pem"),
        ("serve", "--tls-client-ca", "a.pem"),
        ("serve", "--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere.key"),
        ("serve", "--token-file", "/nowhere"),
    ],
    ids=" ".join,
)
def test_a_start_that_fails_is_one_line_and_code_2(arguments: tuple[str, ...]) -> None:
    check_one_line(run(*arguments), 2)


def test_tracing_without_its_packages_is_one_line_and_code_2() -> None:
    program = "import sys; sys.modules['opentelemetry'] = None; from qwentts_grpc.cli.flags import main; main()"
    command = [sys.executable, "-c", program, "serve", "--tracing"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    check_one_line(done, 2)
    assert "qwentts-grpc[server,tracing]" in done.stderr
