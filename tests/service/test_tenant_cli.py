"""Tenants, owners and consent as operators and callers meet them: on the command line, with a server of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_cli import FAKES, Process, check_one_line, launch, run
from .test_kinds import recording
from .test_tenants import TOKENS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tenant-cli")
    (path / "tokens").write_text(TOKENS)
    (path / "tokens").chmod(0o600)
    (path / "tone.flac").write_bytes(recording())
    return path


@pytest.fixture(scope="module")
def server(base_checkpoint: Path, folder: Path) -> Iterator[Process]:
    files = {"token-file": "tokens", "voice-dir": "voices", "audit-log": "audit"}
    flags = [word for flag, name in files.items() for word in (f"--{flag}", str(folder / name))]
    limits = ("--tenant-limit", "1", "--tenant-voices", "1", "--tenant-key", "X-Tenant", "--require-consent")
    started = launch(base_checkpoint, folder / "log", *flags, *limits, command=FAKES)
    yield started
    started.process.terminate()
    assert started.process.wait(10) == 0


def voices(server: Process, token: str, *arguments: str) -> tuple[int, str]:
    done = run("voices", *arguments, "--server", server.server, "--token", token)
    return done.returncode, done.stdout + done.stderr


def test_voices_have_owners_consent_and_a_quota(server: Process, folder: Path) -> None:
    def create(token: str, name: str, *more: str) -> tuple[int, str]:
        return voices(server, token, "create", name, "--audio", str(folder / "tone.flac"), *more)

    code, said = create("acme-1", "anna")
    assert code == 1 and "INVALID_ARGUMENT: spec.consent_reference" in said
    assert create("acme-1", "anna", "--consent", "form 7") == (0, "")
    assert create("acme-1", "anna", "--consent", "form 8", "--replace") == (0, "")
    code, said = create("acme-1", "bob", "--consent", "form 9")
    assert code == 1 and "RESOURCE_EXHAUSTED" in said
    code, said = create("globex-1", "house", "--consent", "form 9", "--shared")
    assert code == 1 and "PERMISSION_DENIED" in said
    assert create("boss-1", "house", "--consent", "form 9", "--shared") == (0, "")
    assert [line.split()[-1] for line in voices(server, "acme-1")[1].splitlines()] == ["(acme)", "(shared)"]
    assert [line.split()[0] for line in voices(server, "bare-1")[1].splitlines()] == ["house"]
    assert voices(server, "boss-1", "delete", "anna")[0] == 1
    assert voices(server, "acme-1", "delete", "anna")[0] == 0
    lines = [json.loads(line) for line in (folder / "audit").read_text().splitlines()]
    assert [(line["event"], line["tenant"], line["outcome"]) for line in lines] == [
        ("create", "acme", "CONSENT_MISSING"),
        ("create", "acme", "OK"),
        ("replace", "acme", "OK"),
        ("create", "acme", "VOICES_FULL"),
        ("create", "globex", "VOICE_FORBIDDEN"),
        ("create", "ops", "OK"),
        ("delete", "ops", "VOICE_NOT_FOUND"),
        ("delete", "acme", "OK"),
    ]


def test_a_recording_for_one_turn_needs_its_consent_too(server: Process, folder: Path) -> None:
    speak = ("speak", "Hi.", "--reference", str(folder / "tone.flac"), "--out", str(folder / "out.wav"))
    where = ("--server", server.server, "--token", "acme-1")
    check_one_line(run(*speak, *where), 1)
    assert run(*speak, *where, "--consent", "form 7").returncode == 0
    assert '"clone"' in (folder / "audit").read_text()


def test_the_log_names_tenants_and_warns_of_a_key_that_is_not_believed(server: Process, folder: Path) -> None:
    voices(server, "bare-1", "delete", "nobody")
    log = (folder / "log").read_text()
    assert "--tenant-key is ignored" in log
    assert " sha256:" in log and " ipv4:127.0.0.1:" in log
    assert "bare-1" not in log and "form 7" not in log


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--trust-tenant-key"),
        ("serve", "--audit-log", "/nowhere/audit"),
        ("serve", "--denied-recordings", "/nowhere"),
    ],
    ids=" ".join,
)
def test_a_start_that_fails_is_one_line_and_code_2(arguments: tuple[str, ...]) -> None:
    check_one_line(run(*arguments), 2)


def test_a_voice_directory_that_others_can_write_to_is_one_line_and_code_2(checkpoint: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    ports = ("--port", "0", "--metrics-port", "0")
    done = run("serve", "--model", str(checkpoint), "--voice-dir", str(tmp_path), *ports)
    assert done.returncode == 2
    (said,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert "--insecure" in said
