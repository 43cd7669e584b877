"""gRPC's core writes no line of its own, whatever the environment did not say."""

import os
import signal
import socket
import subprocess
from pathlib import Path

from .certificates import Authority
from .test_cli import FAKES


def test_odd_connections_leave_no_line_of_the_core(checkpoint: Path, tmp_path: Path) -> None:
    pair = Authority(tmp_path).sign("server")
    serve = [*FAKES, "serve", "--model", str(checkpoint), "--port", "0"]
    serve += ["--metrics-port", "0", "--tls-cert", str(pair.cert), "--tls-key", str(pair.key)]
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    pipe = subprocess.PIPE
    with subprocess.Popen(serve, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        _, port = (int(process.stdout.readline().split(":")[-1].split("/")[0]) for _ in range(2))
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
                stranger.sendall(b"PRI * EVIL" * 100)
                stranger.recv(100)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
        assert process.wait(30) == 0
    assert "ssl_transport_security" not in said and "EVIL" not in said
