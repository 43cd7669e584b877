"""The decode worker, whose forks do what a recording tells them to, as if it had taken them over."""

import os
import signal
import socket
import time

import numpy as np

from qwentts_grpc.recordings import decode_worker
from qwentts_grpc.recordings.decode import Recording, decode_recording
from qwentts_grpc.recordings.unusable import unusable
from qwentts_grpc.wire.limits import RecordingLimits


def obey(data: bytes, limits: RecordingLimits) -> Recording:
    match data[:8].rstrip():
        case b"spin":
            while True:
                pass
        case b"hang":
            time.sleep(60)
        case b"die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"exit":
            os._exit(0)
        case b"raise":
            raise ZeroDivisionError
        case b"eat":
            return Recording(np.ones(2**29, np.float32), ())
        case b"long":
            return Recording(np.ones(2_000_000, np.float32), ())
        case b"words":
            raise unusable("x" * 100_000)
        case b"junk":
            socket.socket(fileno=os.dup(0)).sendall(os.urandom(5_000))
        case b"touch":
            raise unusable(",".join(_can()))
    return decode_recording(data, limits)


def _can() -> list[str]:
    """What this process is able to do besides."""
    attempts = {
        "read": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write": lambda: os.open("/tmp/rogue", os.O_WRONLY | os.O_CREAT),
        "connect": lambda: socket.create_connection(("127.0.0.1", 9), 1),
        "listen": lambda: socket.socket(),
        "dup": lambda: os.dup(0),
    }
    return [name for name, attempt in attempts.items() if _succeeds(attempt)]


def _succeeds(attempt: object) -> bool:
    try:
        attempt()  # type: ignore[operator]
    except ConnectionError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    decode_worker.decode_recording = obey  # type: ignore[attr-defined]
    decode_worker.CPU_SECONDS = 1
    decode_worker.main()
