"""Decodes recordings outside the server: `python -m qwentts_grpc.recordings.decode_worker`.

Its standard input is a socket. A fork of its own, made ahead of time, reads and decodes each recording; it can open no
file, socket or process, and has little memory and processor time. So a file's effect on its decoder ends with the fork,
and the program itself never reads an untrusted byte. It ends when the socket does, or when a fork breaks.
"""

import gc
import io
import json
import os
import resource
import signal
import socket
import struct
import wave
from pathlib import Path

import numpy as np

from engine.api.errors import InvalidRequest
from qwentts_grpc.recordings.decode import decode_recording
from qwentts_grpc.wire.limits import RecordingLimits

READY = b"ready"
TOKEN = 16  # bytes echoed in the reply, so that no earlier file can have written it
REQUEST = struct.Struct(f"<{TOKEN}sIddQ")  # the file's bytes, then minimum seconds, maximum seconds and samples
REPLY = struct.Struct(f"<{TOKEN}sII")  # bytes of the JSON, then samples
CPU_SECONDS = 4
MEMORY = 320 * 2**20  # bytes beyond what is mapped at the start
LIFETIME = 60  # seconds, of an abandoned fork
NICE = 10  # the engine's steps have priority

_DONE, _NO_MORE, _BROKEN = 0, 3, 4  # exit codes of a fork


def main() -> None:
    """Serve the socket until it ends or a fork breaks.

    The exit code is then the fork's own, or 128 + signal.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may go to a whole unit, whose server ends its workers itself
    connection = socket.socket(fileno=0)
    decode_recording(_A_SECOND, RecordingLimits())  # triggers all lazy loading
    memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
    _confine()
    gc.freeze()  # objects so far stay shared with the forks
    connection.sendall(READY)
    while (code := _forked(connection, memory)) == _DONE:
        pass
    os._exit(128 - code if code < 0 else 0 if code == _NO_MORE else code)


def _forked(connection: socket.socket, memory: int) -> int:
    """Exit code of a one-recording fork; negative for signals."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        decode_recording(_A_SECOND, RecordingLimits())  # copies the written pages before a recording arrives
        os._exit(_serve_one(connection, memory))
    finally:
        os._exit(_BROKEN)


def _serve_one(connection: socket.socket, memory: int) -> int:
    header = connection.recv(REQUEST.size, socket.MSG_WAITALL)
    if len(header) < REQUEST.size:
        return _NO_MORE
    token, size, min_seconds, max_seconds, samples = REQUEST.unpack(header)
    _confine_fork(memory)
    data = connection.recv(size, socket.MSG_WAITALL)
    answer, pcm = _decoded(data, RecordingLimits(size, min_seconds, max_seconds, samples))
    text = json.dumps(answer).encode()
    connection.sendall(REPLY.pack(token, len(text), len(pcm) // 4) + text)
    connection.sendall(pcm)
    return _DONE


def _decoded(data: bytes, limits: RecordingLimits) -> tuple[dict[str, object], memoryview]:
    """Remarks with samples, or the error.

    An error is either the recording's or a fault of the decoder.
    """
    try:
        recording = decode_recording(data, limits)
        return {"remarks": recording.remarks}, recording.samples.data.cast("B")
    except InvalidRequest as error:
        return {"error": error.description, "reason": error.reason}, memoryview(b"")
    except MemoryError:
        return {"error": "takes too much memory to decode", "reason": "FIELD_INVALID"}, memoryview(b"")
    except Exception as error:
        return {"fault": repr(error)}, memoryview(b"")


def _confine() -> None:
    """Give up all privileges that decoding does not need."""
    os.nice(NICE)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # libav's messages about a file contain text of the file
    os.close(nowhere)
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # those that are open: the socket, and /dev/null twice


def _confine_fork(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    signal.alarm(LIFETIME)


def _a_second() -> bytes:
    """A tone of a second, as a WAV file."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setparams((1, 2, 44_100, 0, "NONE", ""))
            tone = 8_000 * np.sin(2 * np.pi * 200 * np.arange(45_000) / 44_100)
            writer.writeframes(tone.astype("<i2").tobytes())
        return file.getvalue()


_A_SECOND = _a_second()

if __name__ == "__main__":
    main()
