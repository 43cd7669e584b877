"""The page of `make page`.

A server with the embedded voice, HTTP in front of it.
Flags are those of `qwentts-grpc http`.
"""

import os
import subprocess
import sys

from clients.demo import free_port
from clients.examples.server import serving


def main() -> None:
    """Serve until Ctrl-C.

    The process behind the page prints its address.
    """
    server = f"127.0.0.1:{free_port()}"
    print("starting a server with the embedded voice: a small one for demonstration, not Qwen's weights")
    os.environ.pop("QWENTTS_MODEL", None)
    try:
        with serving(server, "--metrics-port=0", "--log-level=warning"):
            page = [sys.executable, "-m", "qwentts_grpc", "http", "--server", server, "--log-level=warning"]
            raise SystemExit(subprocess.call([*page, *sys.argv[1:]]))
    except RuntimeError as error:
        raise SystemExit(str(error)) from error
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
