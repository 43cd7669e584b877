"""A server process on cores of its own.

From its first instruction to the end of its last call.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.parts.machine import pinned

START_LIMIT, STOP_LIMIT = 300.0, 60.0  # seconds
METRICS_LIMIT = 10.0


@dataclass(frozen=True, slots=True)
class Served:
    """`seconds`: from the start of the process until it served."""

    address: str
    metrics: str
    seconds: float
    pid: int

    def count(self, metric: str, **labels: str) -> float:
        """The sum of a metric's samples, or 0.

        Over all labels but those given.
        """
        with urllib.request.urlopen(self.metrics, timeout=METRICS_LIMIT) as page:
            families = list(text_string_to_metric_families(page.read().decode()))
        samples = [sample for family in families for sample in family.samples if sample.name == metric]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def cpu_seconds(self) -> float:
        """Processor seconds of the server, over all its processes."""
        return sum(_cpu_seconds(pid) for pid in (self.pid, *_children(self.pid)))

    def engines(self) -> list[int]:
        """Ids of its engine processes.

        Those of its children that have loaded torch.
        """
        return [pid for pid in _children(self.pid) if "libtorch" in Path(f"/proc/{pid}/maps").read_text()]


def _cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@contextmanager
def serving(flags: Sequence[str], cores: Set[int], module: str = "qwentts_grpc.cli.flags") -> Iterator[Served]:
    """Start a server; stop it by SIGTERM.

    Raises `SystemExit` if it does not come up, or does not end well.
    """
    ports = ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--log-level", "warning"]
    began = time.monotonic()
    with pinned(cores):
        process = subprocess.Popen([sys.executable, "-m", module, "serve", *flags, *ports], stdout=subprocess.PIPE)
    try:
        said = _until_serving(process, began + START_LIMIT)
        yield Served(said["serving on "], said["metrics on "], time.monotonic() - began, process.pid)
        process.send_signal(signal.SIGTERM)
        if code := process.wait(STOP_LIMIT):
            raise SystemExit(f"the server ended with exit code {code}")
    finally:
        process.kill()
        process.wait(STOP_LIMIT)


def _until_serving(process: subprocess.Popen[bytes], deadline: float) -> dict[str, str]:
    """The server's start-up lines, by their first words."""
    said: dict[str, str] = {}
    for line in _lines(process, deadline):
        for beginning in ("metrics on ", "serving on "):
            if line.startswith(beginning):
                said[beginning] = line.removeprefix(beginning)
        if "serving on " in said:
            return said
    raise SystemExit("the server ended before it served")


def _lines(process: subprocess.Popen[bytes], deadline: float) -> Iterator[str]:
    """Lines of standard output; raises `SystemExit` at the deadline."""
    assert process.stdout is not None
    text = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            piece = os.read(process.stdout.fileno(), 4096)
            if not piece:
                return
            *whole, text = (text + piece).split(b"\n")
            yield from (line.decode().strip() for line in whole)
    raise SystemExit("the server was not serving in time")
