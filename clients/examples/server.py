"""A server's whole life, from Python.

server.py [MODEL...]; without one, the embedded voice.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from qwentts_client import Client


@contextmanager
def serving(address: str, *flags: str) -> Iterator[Client]:
    """A ready client with its own server.

    RuntimeError where that fails.
    """
    command = [sys.executable, "-m", "qwentts_grpc", "serve", "--port", address.rpartition(":")[2], *flags]
    server, ready = subprocess.Popen(command), False
    try:
        with Client(address) as client:
            while not ready and server.poll() is None:
                with suppress(TimeoutError):  # a look at the process, every second
                    client.wait_ready(1)
                    ready = True
            if ready:
                yield client
        server.terminate()
        if (code := server.wait(60)) or not ready:
            raise RuntimeError(f"the server ended with exit code {code}")
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    with serving("localhost:50051", *(f"--model={model}" for model in sys.argv[1:])) as client:
        print("models:", ", ".join(model.name for model in client.server_info().models))
        client.save("server.wav", "This server has one sentence to say.")
