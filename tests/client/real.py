"""A real server on the embedded voice, as a process of its own: agents' frameworks need other packages than it."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class RealServer:
    """A server that is ready."""

    address: str
    metrics: str

    def running(self) -> int:
        """Speeches that hold a slot; the server reuses its page of metrics for a second."""
        with urlopen(self.metrics, timeout=5) as page:
            lines = page.read().decode().splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.startswith("tts_engine_sequences_running "))


def _python() -> str:
    """An interpreter that has the server's packages."""
    own = ROOT / ".venv" / "bin" / "python"
    if importlib.util.find_spec("torch"):
        return sys.executable
    if not own.exists():
        pytest.skip("no environment with the server's packages")
    return str(own)


@contextmanager
def real_server(log: Path, *flags: str) -> Iterator[RealServer]:
    """A server with a few slots."""
    command = [_python(), "-m", "qwentts_grpc", "serve", "--port", "0", "--metrics-port", "0", *flags]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients' / 'python'}"}
    with log.open("w") as lines:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=lines, text=True, env=environment, cwd=ROOT)
    assert process.stdout is not None
    try:
        yield _ready(process.stdout, log)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


def _ready(lines: Iterator[str], log: Path) -> RealServer:
    metrics = ""
    for line in lines:
        if line.startswith("metrics on "):
            metrics = line.split()[-1]
        if line.startswith("serving on "):
            return RealServer(line.split()[-1], metrics)
    raise AssertionError(log.read_text())
