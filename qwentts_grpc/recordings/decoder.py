"""A decoding process as seen from the server.

All its output is checked.
"""

import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Self

import numpy as np

from engine.api.request import RECORDING_RATE
from qwentts_grpc.recordings import decode_worker
from qwentts_grpc.recordings.decode import Recording
from qwentts_grpc.recordings.decode_worker import READY, REPLY, REQUEST, TOKEN
from qwentts_grpc.recordings.unusable import unusable
from qwentts_grpc.wire.limits import RecordingLimits

COMMAND = [sys.executable, "-P", "-m", decode_worker.__name__]
START_TIMEOUT = 30.0  # seconds
GRACE, END_TIMEOUT = 0.2, 1.0
LONGEST_TEXT = 16 * 2**10  # bytes

_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")  # of the environment, which may hold secrets


class Broken(Exception):
    """The process has died, or sent an invalid reply."""


class Decoder:
    """Decodes one recording at a time.

    Belongs to the event loop's thread.
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self._process, self._connection = process, connection

    @classmethod
    async def start(cls) -> Self:
        """Start the process; wait for it, about a second.

        Raises OSError and `Broken`.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            decoder = cls(await asyncio.to_thread(_process, theirs), ours)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                if await decoder._received(len(READY)) != READY:
                    raise Broken("it begins with something else")
        except BaseException:
            await decoder.end()
            raise
        return decoder

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    async def decode(self, data: bytes, limits: RecordingLimits) -> Recording:
        """The decoded recording.

        Raises `InvalidRequest` for an unusable recording, `Broken` for an unusable process.
        """
        loop, token = asyncio.get_running_loop(), os.urandom(TOKEN)
        header = REQUEST.pack(token, len(data), limits.min_seconds, limits.max_seconds, limits.samples)
        try:
            await loop.sock_sendall(self._connection, header)
            await loop.sock_sendall(self._connection, data)
            echo, size, samples = REPLY.unpack(await self._received(REPLY.size))
            if echo != token or size > LONGEST_TEXT or samples > math.ceil(limits.max_seconds * RECORDING_RATE):
                raise Broken("an answer out of range")
            answer = json.loads(await self._received(size))
            pcm = await self._received(4 * samples)
        except (OSError, ValueError) as error:
            raise Broken(repr(error)) from error
        return _recording(answer, pcm)

    async def end(self) -> int:
        """Kill the process with its forks; return its exit code."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes a pending read
        code = await asyncio.to_thread(self._end)
        self._connection.close()
        return code

    def _end(self) -> int:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)  # an idle one ends with its connection, a broken one has
        with suppress(OSError):  # usually none is left; a fork may outlive a killed program
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(END_TIMEOUT)
        return -signal.SIGKILL

    async def _received(self, size: int) -> bytearray:
        """Exactly `size` bytes; raises `Broken` at an early end."""
        loop, data, got = asyncio.get_running_loop(), bytearray(size), 0
        while got < size:
            more = await loop.sock_recv_into(self._connection, memoryview(data)[got:])
            if not more:
                raise Broken("the connection has ended")
            got += more
        return data


def _process(connection: socket.socket) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return subprocess.Popen(
        COMMAND,
        stdin=connection.fileno(),
        stdout=subprocess.DEVNULL,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,  # signals to this process are not for the child
    )


def _recording(answer: object, pcm: bytearray) -> Recording:
    match answer:
        case {"error": str(message), "reason": "FIELD_INVALID" | "REFERENCE_DURATION" as reason}:
            raise unusable(message, reason)
        case {"remarks": [*remarks]} if all(isinstance(remark, str) for remark in remarks):
            return Recording(np.frombuffer(pcm, np.float32), tuple(remarks))
    raise Broken(f"an answer that is none: {str(answer)[:200]}")
