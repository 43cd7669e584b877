"""The command's exit codes, output and report."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.check import run
from engine.check.figures import Figure, at_least, noted
from engine.check.report import Report, Voice
from qwentts_client.cli import main as command_line
from qwentts_grpc.cli.check import CHECK


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command_line.COMMANDS, "check", CHECK)


def result(value: float) -> Report:
    figures: list[Figure] = [at_least("part", "share <of>", value, 0.5, ".2f"), noted("part", "other", None, "1")]
    voice = Voice("a & b", "<said>", "heard", np.zeros(48, np.int16), 24_000)
    return Report({"model": "<m>"}, figures, [voice], 1.0)


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        command_line.main(["check", *arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize(
    ("value", "code", "word"), [(0.7, 0, "PASSED"), (0.4, 1, "FAILED"), (float("nan"), 1, "FAILED")]
)
def test_it_leaves_with_the_verdict(
    value: float,
    code: int,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[run.Options] = []

    async def checked(options: run.Options) -> Report:
        asked.append(options)
        return result(value)

    monkeypatch.setattr(run, "check", checked)
    given = ("--model", "m", "--device", "cpu", "--dtype", "bfloat16", "--max-speeches", "3")
    assert command(*given, "--report", str(tmp_path / "new" / "report")) == code
    said = capsys.readouterr().out
    assert word in said and "share <of>" in said and "a & b: 'heard'" in said
    (options,) = asked
    config = options.config
    assert (options.model, config.device, config.dtype, config.max_speeches) == ("m", "cpu", "bfloat16", 3)
    told = json.loads((tmp_path / "new" / "report" / "report.json").read_text("utf-8"))
    assert told["passed"] is (code == 0)
    page = (tmp_path / "new" / "report" / "report.html").read_text("utf-8")
    assert "share &lt;of&gt;" in page and "&lt;said&gt;" in page and "<said>" not in page


def test_an_unusable_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--model", str(tmp_path / "nothing"), "--device", "cpu", "--report", str(tmp_path / "r")) == 2
    said = capsys.readouterr().err
    assert "CHECKPOINT: " in said and said.count("\n") == 1


def test_a_report_that_cannot_be_written_is_refused_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert command("--report", str(tmp_path / "file" / "report")) == 2
    assert "--report" in capsys.readouterr().err
