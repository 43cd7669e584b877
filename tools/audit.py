"""Audit of the locked packages for known vulnerabilities (`make audit`).

Uses pip-audit. A package without data is listed as skipped, never as clean. Exits with 1 where one is vulnerable.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LOCK = Path("deploy/requirements.txt")
LIMIT = 120.0  # seconds for all of it
ANSWER = 15  # seconds for one answer

Dependencies = Sequence[Mapping[str, Any]]  # as in pip-audit's JSON


def main() -> None:
    """Print what was found of each package."""
    dependencies, problem = audited(LOCK)
    print(*lines(dependencies, problem), sep="\n")
    sys.exit(any(found.get("vulns") for found in dependencies))


def audited(lock: Path) -> tuple[Dependencies, str]:
    """Findings of pip-audit for each package of a lock.

    No findings where the audit failed; the second value is then the reason, else empty.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--requirement", str(lock)]
        command += ["--format=json", f"--output={report}", f"--timeout={ANSWER}", "--progress-spinner=off"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return [], f"no answer within {LIMIT:g} s"
        if not report.exists():
            return [], (done.stderr.strip().splitlines() or ["no report"])[-1]
        dependencies: Dependencies = json.loads(report.read_text())["dependencies"]
        return dependencies, ""


def lines(dependencies: Dependencies, problem: str) -> Iterator[str]:
    """The result for people."""
    for found in dependencies:
        for vulnerability in found.get("vulns", ()):
            fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
            yield f"VULNERABLE: {found['name']} {found['version']}: {vulnerability['id']} (mended in {fixed})"
    if problem:
        yield f"skipped: audit of {LOCK} ({problem})"
    if skipped := [found["name"] for found in dependencies if "skip_reason" in found]:
        yield f"skipped: audit of {len(skipped)} packages, for which there is no data: {' '.join(skipped)}"
    clean = sum("skip_reason" not in found and not found["vulns"] for found in dependencies)
    yield f"audit: {clean} packages without a known vulnerability"


if __name__ == "__main__":
    main()
