"""Flags of the serve command, and what the environment and a file give in their place."""

import argparse
from pathlib import Path

import pytest

from engine.checkpoint.hub import is_hub_id
from qwentts_client.cli.command import Parser, UsageError
from qwentts_grpc.cli.flags import SERVE
from qwentts_grpc.cli.settings import early


@pytest.fixture(autouse=True)
def _nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QWENTTS_MODEL", raising=False)


def parse(*arguments: str) -> argparse.Namespace:
    parser = Parser(prog="serve")
    SERVE.add(parser)
    return parser.parse_args(arguments)


def written(folder: Path, text: str) -> str:
    path = folder / "server.toml"
    path.write_text(text)
    return str(path)


def test_a_flag_goes_before_a_variable_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = written(tmp_path, 'port = 1\nmax_queue = 1\nmax-speeches = 1\nmodel = ["a", "b"]\nreflection = false\n')
    monkeypatch.setenv("QWENTTS_PORT", "2")
    monkeypatch.setenv("QWENTTS_MAX_QUEUE", "2")
    monkeypatch.setenv("QWENTTS_DEVICE", "")
    found = parse("--config", path, "--port", "3")
    assert (found.port, found.max_queue, found.max_speeches, found.device) == (3, 2, 1, "auto")
    assert (found.model, found.reflection) == (["a", "b"], False)
    assert parse(f"--config={path}", "--model", "c", "--model", "d", "--reflection").model == ["c", "d"]
    monkeypatch.setenv("QWENTTS_CONFIG", path)
    monkeypatch.setenv("QWENTTS_MODEL", "e,f")
    monkeypatch.setenv("QWENTTS_REFLECTION", "on")
    found = parse()
    assert (found.max_speeches, found.model, found.reflection) == (1, ["e", "f"], True)


def test_a_flag_replaces_what_it_excludes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWENTTS_MODEL", "a")
    found = parse("--dummy-weights", "0.6B-Base")
    assert (found.model, found.dummy_weights) == (None, "0.6B-Base")
    with pytest.raises(UsageError, match=r"--dummy-weights.*--model"):
        parse("--model", "a", "--dummy-weights", "0.6B-Base")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 70000", r"server\.toml: port: '70000' is not a whole number"),
        ("prot = 1", r"server\.toml: no flag is called prot; is it port\?"),
        ("port = true", r"server\.toml: port: True is not"),
        ("port = [1]", r"server\.toml: port: \[1\] is not"),
        ('insecure = "yes"', r"server\.toml: insecure: 'yes' is neither true nor false"),
        ('dtype = "float16"', r"server\.toml: dtype: 'float16' is not one of auto"),
        ("[tls]\ncert = 1", r"server\.toml: no flag is called tls"),
        ("port", r"--config: .*server\.toml is not TOML"),
    ],
)
def test_what_cannot_be_names_the_file_and_the_flag(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse("--config", written(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "x"), ("DRAIN_SECONDS", "-1"), ("DEVICE", "tpu"), ("LOG_FORMAT", "xml"), ("TRACING", "perhaps")],
)
def test_what_cannot_be_names_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"QWENTTS_{name}", value)
    with pytest.raises(UsageError, match=f"^QWENTTS_{name}: .*{value}"):
        parse()


def test_a_file_that_is_not_there_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--config: cannot read .*nothing"):
        parse("--config", str(tmp_path / "nothing"))


def test_the_form_of_errors_is_there_before_all_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = written(tmp_path, 'log_format = "json"\nport = 70000')
    assert early(["serve", "--config", path], "log-format") == "json"
    assert early(["serve", "--config", path, "--log-format", "text"], "log-format") == "text"
    assert early(["serve", "--config", str(tmp_path / "nothing")], "log-format") == ""
    monkeypatch.setenv("QWENTTS_LOG_FORMAT", "json")
    assert early(["serve"], "log-format") == "json"


def test_what_may_be_on_the_hub(tmp_path: Path) -> None:
    assert is_hub_id("Qwen/Model") and is_hub_id("Qwen/Model@v1.0") and is_hub_id("Qwen/Model@refs/pr/1")
    assert not any(map(is_hub_id, (str(tmp_path), "./a/b", "~/a", "model", "a/b/c", "/a")))
