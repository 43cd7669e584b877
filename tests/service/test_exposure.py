"""Unsafe settings are refused with one line, or taken with a warning where they are meant."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from qwentts_grpc.admission.auth import Tokens, read_tokens
from qwentts_grpc.admission.tenants import Access
from qwentts_grpc.host import unsafe_settings
from qwentts_grpc.rpc.tls import ServerTls, TlsFiles
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server

from .certificates import Authority
from .test_cli import check_one_line, run

SECRET = "a-token-that-nobody-guesses"


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"{SECRET} acme\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    authority = Authority(tmp_path)
    own = authority.sign("server")
    return TlsFiles(own.cert, own.key, authority.cert)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """All but those of pauses, which a busy machine makes."""
    records = (record for record in caplog.records if record.name != "qwentts_grpc.host.pauses")
    return [record.getMessage() for record in records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "::1%lo"])
def test_loopback(host: str) -> None:
    assert unsafe_settings.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "localhost.example.com", "tts"])
def test_reached_by_others(host: str) -> None:
    assert not unsafe_settings.is_loopback(host)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_secret_that_all_users_can_open_is_refused(tokens: Path, files: TlsFiles, mode: int) -> None:
    for path in (tokens, files.key):
        path.chmod(mode)
    for make in (lambda: Tokens(tokens), lambda: ServerTls(files)):
        with pytest.raises(PermissionError, match=f"{mode:04o}.*--insecure"):
            make()
    Tokens(tokens, insecure=True)
    ServerTls(files, insecure=True)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])  # as systemd and Kubernetes hand them over
def test_a_secret_of_user_and_group_is_taken(tokens: Path, files: TlsFiles, mode: int) -> None:
    for path in (tokens, files.key):
        path.chmod(mode)
    Tokens(tokens)
    ServerTls(files)


def test_a_reload_keeps_what_it_had(tokens: Path, files: TlsFiles) -> None:
    known, tls = Tokens(tokens), ServerTls(files)
    for each, path in ((known, tokens), (tls, files.key)):
        path.chmod(0o644)
        with pytest.raises(PermissionError):
            each.reload()
    assert known.token((("authorization", f"Bearer {SECRET}"),)).tenant == "acme"


@pytest.mark.parametrize("token", ["x", "12345", "é"])
def test_a_token_that_can_be_guessed_is_refused(tokens: Path, token: str, caplog: pytest.LogCaptureFixture) -> None:
    tokens.write_text(f"{SECRET}\n{token} acme\n")
    with pytest.raises(PermissionError, match="guessed") as raised:
        read_tokens(tokens)
    assert f"{token} " not in str(raised.value)
    assert len(read_tokens(tokens, insecure=True)) == 2
    assert len(warnings(caplog)) == 1


def test_short_tokens_are_one_warning(tokens: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens.write_text("".join(f"short-{number:03}\n" for number in range(100)))
    assert len(read_tokens(tokens)) == 100
    (line,) = warnings(caplog)
    assert "9 characters" in line and "short-" not in line


LISTENING: list[tuple[dict[str, Any], str | None, int]] = [
    ({}, None, 0),
    ({"host": "0.0.0.0"}, "--token-file", 0),
    ({"host": "::"}, "--token-file", 0),
    ({"host": "0.0.0.0", "insecure": True}, None, 2),  # nobody is known, nothing is encrypted
    ({"host": "0.0.0.0", "access": True}, None, 1),  # tokens can be read on their way
    ({"host": "0.0.0.0", "access": True, "tls": True}, None, 0),
    ({"host": "0.0.0.0", "tls": True}, None, 0),  # only clients with a certificate get in
    ({"access": True}, None, 0),
    ({"metrics_host": "0.0.0.0"}, None, 1),
]


@pytest.mark.parametrize(("settings", "refused", "count"), LISTENING, ids=[str(each[0]) for each in LISTENING])
async def test_who_may_listen_where(
    settings: dict[str, Any],
    refused: str | None,
    count: int,
    tokens: Path,
    files: TlsFiles,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = {"access": Access(tokens), "tls": files}
    server = Server(
        ServerConfig("unused", port=0, metrics_port=0, **(settings | {k: real[k] for k in settings if k in real}))
    )
    try:
        if refused is None:
            await server.start()
        else:
            with pytest.raises(PermissionError, match=refused):
                await server.start()
    finally:
        await asyncio.wait_for(server.close(), 5)
    assert len(warnings(caplog)) == count


@pytest.mark.parametrize("flags", [("--host", "0.0.0.0"), ("--token-file", "FILE")], ids=" ".join)
def test_the_command_line_says_so_in_one_line(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "tokens").write_text("x\n")
    done = run(
        "serve",
        "--port",
        "0",
        "--metrics-port",
        "0",
        *(str(tmp_path / "tokens") if flag == "FILE" else flag for flag in flags),
    )
    check_one_line(done, 2)
    assert "--insecure" in done.stderr
