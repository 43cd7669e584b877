"""HAProxy's configuration with its runtime commands.

It passes connections on as they are, so TLS, client certificates, deadlines, trailers and the loss of a server reach
the other side as they would without it. Places for servers are there from the start; commands fill them, so nothing is
ever reloaded.
"""

import socket
from collections.abc import Mapping
from pathlib import Path

from qwentts_fleet.settings import Settings

COMMAND_TIMEOUT = 2.0
LARGEST_WEIGHT = 256
IDLE = "24h"  # a channel may be idle for long; keepalive of both sides finds a dead one
PATH = "/grpc.health.v1.Health/Check"
SERVING = "00000000020801"  # a gRPC message of HealthCheckResponse with status SERVING


def configuration(settings: Settings, commands: Path, host: str) -> str:
    """The whole configuration.

    `commands`: the socket of runtime commands.
    """
    tls = f" check-ssl check-alpn h2 ca-file {settings.ca}" if settings.ca else ""
    binds = "\n".join(f"  bind {_bracketed(host)}:{port}" for port in settings.ports)
    return f"""global
  stats socket {commands} mode 600 level admin
defaults
  mode tcp
  timeout connect 1s
  timeout client {IDLE}
  timeout server {IDLE}
  timeout check 1s
  option redispatch 1
  retries 3
frontend callers
{binds}
  default_backend servers
backend servers
  balance leastconn
  option tcp-check
  tcp-check send-binary {health_request(tls=bool(settings.ca))}
  tcp-check expect binary {SERVING}
  server-template s 1-{places(settings)} 127.0.0.1:1 disabled check inter 500 fall 2 rise 1{tls}
"""


def places(settings: Settings) -> int:
    """Servers at once: those that leave drain beside new ones."""
    return 2 * settings.most


def health_request(tls: bool) -> str:
    """A call of our health service over HTTP/2, in hex.

    Preface, settings, one HEADERS frame (RFC 7541, literals without indexing), one DATA frame of an empty message.
    """
    headers = b"\x83" + (b"\x87" if tls else b"\x86")  # :method POST, :scheme https or http
    headers += _literal(b"\x04", PATH) + _literal(b"\x01", "health") + _literal(b"\x0f\x10", "application/grpc")
    headers += b"\x00" + _string("te") + _string("trailers")
    frames = _frame(4, 0, 0, b"") + _frame(1, 4, 1, headers) + _frame(0, 1, 1, bytes(5))
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames).hex()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: str) -> bytes:
    return name + _string(value)


def _string(text: str) -> bytes:
    return bytes((len(text),)) + text.encode()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class Places:
    """Places of the servers, with changes by runtime commands."""

    def __init__(self, number: int) -> None:
        self._held: dict[str, str] = {}  # addresses by place
        self._free = [f"servers/s{place + 1}" for place in range(number)]
        self._known = False  # whether no other place has a server

    def commands(self, wanted: Mapping[str, int]) -> list[str]:
        """Runtime commands towards `wanted`, weights by address.

        Open connections of a server that leaves go on.
        """
        gone = [place for place, address in self._held.items() if address not in wanted]
        emptied = gone if self._known else self._free
        lines = [f"set server {place} state maint" for place in emptied]
        self._known = True
        for place in gone:
            del self._held[place]
            self._free.append(place)
        for address in wanted.keys() - self._held.values():
            if self._free:
                lines += self._fill(self._free.pop(0), address)
        return lines + [f"set weight {place} {wanted[address]}" for place, address in self._held.items()]

    def _fill(self, place: str, address: str) -> list[str]:
        host, _, port = address.rpartition(":")
        self._held[place] = address
        return [f"set server {place} addr {host.strip('[]')} port {port}", f"set server {place} state ready"]


def run(commands: Path, lines: list[str]) -> str:
    """HAProxy's answers; raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(COMMAND_TIMEOUT)
        connection.connect(str(commands))
        connection.sendall((";".join(lines) + "\n").encode())
        pieces = []
        while piece := connection.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces).decode()
