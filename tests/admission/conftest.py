"""Files of shared counts, and processes over them."""

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from qwentts_grpc.admission.shared_counts import SharedCounts

PATIENCE = 60.0  # seconds
Start = Callable[..., tuple[BaseProcess, "Peer"]]


class Peer:
    """This end of a pipe to a process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, *order: Any) -> Any:
        """What it answers to `order`."""
        self._connection.send(order)
        return self.answer()

    def answer(self) -> Any:
        """What it says next."""
        assert self._connection.poll(PATIENCE), "no answer"
        return self._connection.recv()

    def end(self) -> None:
        self._connection.send(())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counts"


@pytest.fixture
def supervisor(path: Path) -> Iterator[SharedCounts]:
    counts = SharedCounts.create(path, processes=3)
    yield counts
    counts.close()


@pytest.fixture
def start(supervisor: SharedCounts) -> Iterator[Start]:
    """Start a process that runs a function of `workers`; what still runs is killed in the end."""
    started: list[BaseProcess] = []

    def run(function: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Peer]:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=function, args=(*arguments, theirs), daemon=True)
        process.start()
        theirs.close()
        started.append(process)
        return process, Peer(ours)

    yield run
    for process in started:
        process.kill()
        process.join(PATIENCE)
