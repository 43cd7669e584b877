"""The documentation builds, with every link in place and nothing fetched from elsewhere."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("material") is None, reason="mkdocs-material is not installed")


def build(config: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(site)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_it_builds(tmp_path: Path) -> None:
    done = build(Path("mkdocs.yml"), tmp_path)
    assert done.returncode == 0, done.stderr
    pages = {str(page.relative_to(tmp_path).parent) for page in tmp_path.rglob("index.html")}
    assert {"deployment", "kubernetes", "migration", "tuning", "contributing"} <= pages
    for page in tmp_path.rglob("*.html"):
        fetched = re.findall(
            r"""<(?:script|img|link rel="(?:stylesheet|preload)")[^>]* (?:src|href)="(\w+:[^"]*)""", page.read_text()
        )
        assert [address for address in fetched if not address.startswith("data:")] == [], page


@pytest.mark.parametrize("link", ["nowhere.md", "../deploy/nothing.py", "voices.md#no-such-heading"])
def test_a_broken_link_is_an_error(link: str, tmp_path: Path) -> None:
    for path in Path.cwd().iterdir():
        if path.name in ("docs", "tools"):
            shutil.copytree(path, tmp_path / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (tmp_path / path.name).symlink_to(path)
    page = tmp_path / "docs/tuning.md"
    page.write_text(f"{page.read_text()}\n[See]({link}).\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0 and link.rpartition("/")[2].partition("#")[0] in done.stderr
