"""The examples of the client's document run as they are."""

import re
from pathlib import Path

import pytest

from .background import Background

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Background() as fake:
        exec(compile(example.replace("localhost:50051", fake.address), README.name, "exec"), {})
    assert fake.turns and capsys.readouterr().err == ""
