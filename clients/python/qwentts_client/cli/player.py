"""An audio player of the system, fed by standard input."""

import shutil
import subprocess
from typing import BinaryIO

from qwentts_client.cli.command import UsageError
from qwentts_client.threads import in_thread

PLAYERS = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error", "-i", "-"),
    ("mpv", "--no-video", "--really-quiet", "-"),
    ("play", "-q", "-t", "wav", "-"),
    ("aplay", "-q", "-"),
)


class Player:
    """A started player; raises `UsageError` where none is installed."""

    def __init__(self) -> None:
        command = next((command for command in PLAYERS if shutil.which(command[0])), None)
        if command is None:
            raise UsageError(f"--play needs one of {', '.join(command[0] for command in PLAYERS)} on the PATH")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self._process.stdin is not None
        self.input: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self.name = command[0]

    async def finish(self) -> int:
        """Wait until all is played; return the player's exit code."""
        self.input.close()
        return await in_thread(self._process.wait)

    def kill(self) -> None:
        """Kill the player."""
        self._process.kill()
        self._process.wait()
