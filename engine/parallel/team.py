"""Team of one engine: rank 0's side of its followers."""

import logging
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

import torch

from engine.api.config import EngineConfig
from engine.api.errors import CheckpointError, EngineFailed
from engine.ops.peers import Peers
from engine.parallel.meeting import meet
from engine.parallel.messages import Failed, Load, Loaded, Pass, Ready, Serve

WORKER = "engine.parallel.worker"
LOADING = 1_800.0  # seconds for a follower to load its weights, or to capture its graphs
LEAVING = 5.0  # seconds for a follower to end

log = logging.getLogger(__name__)
Reply = TypeVar("Reply", Loaded, Ready)


class Follower:
    """Process of one further rank; it ends with its connection."""

    def __init__(self, load: Load) -> None:
        self.name = f"rank {load.rank} on {load.devices[load.rank]}"
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-m", WORKER, str(theirs.fileno()))
            self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        self._connection = Connection(ours.detach())
        self._connection.send(load)

    def send(self, message: Serve | Pass) -> None:
        """Send a message; raises `EngineFailed` where the follower has ended.

        Passes are as many as the runner has in flight, so the socket has room for them.
        """
        try:
            self._connection.send(message)
        except OSError as error:
            raise EngineFailed(f"{self.name} has ended") from error

    def reply(self, kind: type[Reply]) -> Reply:
        """Its next message, awaited.

        Raises `EngineFailed`, `CheckpointError`.
        """
        try:
            if not self._connection.poll(LOADING):
                raise EngineFailed(f"{self.name} did not answer in {LOADING:g} s")
            message = self._connection.recv()
        except (EOFError, OSError) as error:
            raise EngineFailed(f"{self.name} has ended at its start") from error
        if isinstance(message, Failed):
            raise (CheckpointError if message.checkpoint else EngineFailed)(f"{self.name}: {message.text}")
        assert isinstance(message, kind)
        return message

    def close(self, at_once: bool) -> None:
        """End the process.

        `at_once` where it may be long in hearing of it.
        """
        self._connection.close()
        if at_once:
            self.process.kill()
        try:
            self.process.wait(LEAVING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Team:
    """Followers of one engine, from their start to their end."""

    def __init__(self, model: str, config: EngineConfig, dtype: torch.dtype, devices: Sequence[torch.device]) -> None:
        """Start them.

        `devices` by rank; `model`: a folder, or a kind's name for random weights.
        """
        self.devices = [str(device) for device in devices]
        self._device = devices[0]
        self._folder = Path(tempfile.mkdtemp(prefix="qwentts-ranks-"))
        self._store = str(self._folder / "store")
        self._ready, self._closing = False, Event()
        load = [Load(model, config, dtype, self.devices, rank, self._store) for rank in range(1, len(devices))]
        self.followers = [Follower(each) for each in load]

    def loaded(self) -> int:
        """Bytes left where they are fewest, all having loaded.

        Raises `EngineFailed`, `CheckpointError`.
        """
        return min(follower.reply(Loaded).free for follower in self.followers)

    def meet(self, serve: Serve) -> Peers:
        """Have all allocate their caches; the peers of rank 0."""
        for follower in self.followers:
            follower.send(serve)
        return meet(self._store, 0, self._device, self.devices, serve.most_rows, serve.words)

    def wait(self) -> None:
        """Wait until all are ready."""
        for follower in self.followers:
            follower.reply(Ready)
        self._ready = True

    def tell(self, kind: int, rows: int) -> None:
        """Have all take part in a pass."""
        for follower in self.followers:
            follower.send(Pass(kind, rows))

    def watch(self, lost: Callable[[EngineFailed], object]) -> None:
        """Call `lost` when a follower ends before `close`.

        On another thread.
        """
        for follower in self.followers:
            Thread(target=self._watch, args=(follower, lost), name=follower.name, daemon=True).start()

    def _watch(self, follower: Follower, lost: Callable[[EngineFailed], object]) -> None:
        code = follower.process.wait()
        if not self._closing.is_set():
            log.critical("%s has ended with code %d", follower.name, code)
            lost(EngineFailed(f"{follower.name} has ended"))

    def close(self) -> None:
        """End all followers; idempotent."""
        self._closing.set()
        for follower in self.followers:
            follower.close(at_once=not self._ready)
        shutil.rmtree(self._folder, ignore_errors=True)
