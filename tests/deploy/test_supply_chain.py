"""What is installed: pins with digests for the server, and an audit that takes no silence for a pass."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import audit

LOCK = Path("deploy/requirements.txt")
PINS = re.compile(r"^(\S+)==(\S+)(?: ; ([^\\]+))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
CLEAN = {"name": "fine", "version": "1", "vulns": []}
VULNERABLE = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "strange", "skip_reason": "not found"}


def locked() -> dict[str, str]:
    """Version by name."""
    return {canonicalize_name(name): version for name, version, *_ in PINS.findall(LOCK.read_text())}


def needed(requirement: Requirement, seen: set[str]) -> set[str]:
    """Names of a requirement and of all that it asks for here, as installed."""
    name = canonicalize_name(requirement.name)
    if name not in seen:
        seen.add(name)
        for more in map(Requirement, metadata.requires(name) or ()):
            if any(applies(more.marker, extra) for extra in ("", *requirement.extras)):
                needed(more, seen)
    return seen


def applies(marker: Marker | None, extra: str) -> bool:
    return marker is None or marker.evaluate({"extra": extra})


def test_every_line_of_the_lock_is_a_pin_with_digests() -> None:
    rest = PINS.sub("", LOCK.read_text())
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []


def test_the_lock_has_all_that_the_server_imports_at_the_versions_of_the_constraints() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    asked = [*project["project"]["dependencies"], *extras["server"], *extras["tracing"]]
    asked += project["build-system"]["requires"]
    names: set[str] = set()
    for requirement in map(Requirement, asked):
        needed(requirement, names)
    versions = locked()
    assert names - {"qwentts-client"} <= set(versions)
    pins = (line.split("==") for line in Path("constraints.txt").read_text().splitlines() if "==" in line)
    constraints: dict[str, str] = {canonicalize_name(name): version for name, version in pins}
    assert {name: version for name, version in versions.items() if constraints.get(name, version) != version} == {}


@pytest.mark.parametrize("project", ["pyproject.toml", "clients/python/pyproject.toml"])
def test_what_builds_the_packages_is_pinned(project: str) -> None:
    (asked,) = tomllib.loads(Path(project).read_text())["build-system"]["requires"]
    assert asked == f"hatchling=={locked()['hatchling']}"


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([CLEAN], 0, "audit: 1 packages without a known vulnerability\n"),
        ([CLEAN, UNKNOWN], 0, "skipped: audit of 1 packages, for which there is no data: strange\naudit: 1 packages"),
        ([UNKNOWN, VULNERABLE], 1, "VULNERABLE: bad 2: PYSEC-1 (mended in 3)\nskipped"),
        (None, 0, "skipped: audit of deploy/requirements.txt (no route to anywhere)\naudit: 0 packages"),
    ],
    ids=["clean", "without data", "vulnerable", "without an answer"],
)
def test_the_audit(
    dependencies: Any, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pip_audit(command: list[str], **_: Any) -> Any:
        (output,) = (word.partition("=")[2] for word in command if word.startswith("--output="))
        if dependencies is not None:
            Path(output).write_text(json.dumps({"dependencies": dependencies, "fixes": []}))
        return subprocess.CompletedProcess(command, 1, "", "trace\nno route to anywhere\n")

    monkeypatch.setattr(subprocess, "run", pip_audit)
    with pytest.raises(SystemExit) as left:
        audit.main()
    assert left.value.code == code
    assert said in capsys.readouterr().out


def test_the_audit_asks_a_program_that_is_there() -> None:
    done = subprocess.run([sys.executable, "-m", "pip_audit", "--help"], capture_output=True, text=True, timeout=60)
    flags = ("--disable-pip", "--require-hashes", "--requirement", "--format", "--output", "--timeout")
    assert all(flag in done.stdout for flag in flags)
