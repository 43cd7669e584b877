"""Starts that fail, ends that come early: the same words and codes as of one process, and nothing left."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from qwentts_grpc.processes.folder import memory_folder
from tests.service.test_cli import ENVIRONMENT, FAKES

from .fleet import PATIENCE, TWO, channels, end, failed_start, folder_of, speak, start, stop
from .test_fleet import opened, read

in_session = pytest.mark.asyncio(loop_scope="session")


@contextmanager
def starting(model: Path, log: Path, fault: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A server whose start is not awaited."""
    command = [*FAKES, "serve", "--model", str(model), "--port", "0", "--metrics-port", "0", *TWO]
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**ENVIRONMENT, "FAULT": fault})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def test_what_cannot_start_says_the_same_in_every_form(models: list[Path], tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret-token-of-some-length\n")
    tokens.chmod(0o644)  # which others can read
    broken = tmp_path / "1.7B-Broken"
    broken.symlink_to(models[0])  # a kind that the fakes do not know
    with socket.create_server(("127.0.0.1", 0)) as taken, ThreadPoolExecutor(2) as pool:
        port = str(taken.getsockname()[1])
        model = ("--model", str(models[0]))
        for flags in ((*model, "--token-file", str(tokens)), ("--model", str(broken)), (*model, "--port", port)):
            forms = [(*flags, "--device", "cpu"), (*flags, *TWO)]
            alone, split = pool.map(failed_start, forms)
            assert split == alone
            assert alone[0] == 2 and alone[1].startswith("qwentts-grpc: error: ")


def test_an_engine_that_fails_at_each_start_ends_the_server(models: list[Path]) -> None:
    code, last = failed_start(("--model", str(models[0]), *TWO), fault="vanish")
    assert code == 70 and "does not start" in last


@pytest.mark.timing
def test_sigterm_while_engines_load_ends_at_once(models: list[Path], tmp_path: Path) -> None:
    with starting(models[0], tmp_path / "log", fault="hang") as process:
        wait(lambda: "loading" in (tmp_path / "log").read_text())
        children, folder = psutil.Process(process.pid).children(), folder_of(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(3) == 0
        assert gone(children) and not folder.exists()


@in_session
async def test_a_second_signal_cuts_what_is_open(models: list[Path], tmp_path: Path) -> None:
    fleet = start(models, tmp_path / "log")
    children = fleet.supervisor.children()
    try:
        async with channels(fleet.own.server, 2) as callers:
            calls = await asyncio.gather(*(opened(caller, 3, 60.0) for caller in callers))
            reading = [asyncio.create_task(read(call)) for call in calls]
            stop(fleet)
            await asyncio.sleep(0.7)
            assert not any(task.done() for task in reading)
            stop(fleet)
            for _, error, _ in await asyncio.gather(*reading):
                assert error is not None and error.reason == "DRAINING"
        assert await asyncio.to_thread(fleet.own.process.wait, PATIENCE) == 0
        assert gone(children)
    finally:
        end(fleet)


@in_session
async def test_a_killed_parent_leaves_no_child_and_what_it_left_is_cleared(models: list[Path], tmp_path: Path) -> None:
    fleet = start(models[:1], tmp_path / "log")
    children, folder = fleet.supervisor.children(), folder_of(fleet.own.process.pid)
    assert len(children) == 4
    async with channels(fleet.own.server, 1) as callers:
        await speak(callers[0], 1)
        os.kill(fleet.own.process.pid, signal.SIGKILL)
        await asyncio.to_thread(wait, lambda: gone(children))
    end(fleet)
    assert folder.exists()
    with memory_folder() as own:
        assert not folder.exists()
        with memory_folder() as other:
            assert own.exists() and other.exists()
    assert not own.exists() and not other.exists()
