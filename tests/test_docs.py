"""What the documents say is so: files they name exist, and the example of the engine runs."""

import doctest
import re
from pathlib import Path

import pytest

import engine.engine

ROOT = Path(__file__).parent.parent
ANYWHERE = (
    "",
    "engine",
    "engine/model",
    "engine/ops",
    "engine/checkpoint",
    "qwentts_grpc",
)  # where a name given short may lie


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md", "docs/voices.md", "docs/reliability.md"])
def test_named_files_exist(document: str) -> None:
    named = re.findall(r"`([\w/]+(?:/|\.(?:py|proto)))`", (ROOT / document).read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([\w/.]+)\)", (ROOT / document).read_text(encoding="utf-8"))
    missing = [name for name in (*named, *links) if not any((ROOT / start / name).exists() for start in ANYWHERE)]
    assert not missing


def test_the_example_of_the_engine_runs() -> None:
    result = doctest.testmod(engine.engine)
    assert (result.attempted > 0, result.failed) == (True, 0)
