"""Addresses of servers: gRPC targets, proxies on the way."""

import asyncio
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORT = 50_051
_SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:")
_HERE = ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")

Address = tuple[str, int]


@dataclass(frozen=True)
class Target:
    """Destination of a channel.

    `name`: for messages. `uri`: of gRPC, for one server alone. `addresses`: empty for one server that only gRPC can
    resolve. `proxy`: the URL of the HTTP proxy on the way, `proxy_variable` the environment's variable that names it.
    `tls`: whether the client uses it.
    """

    name: str
    uri: str
    addresses: tuple[Address, ...] = ()
    proxy: str = ""
    proxy_variable: str = ""
    tls: bool = False

    def resolved(self) -> str:
        """The target for gRPC, names of several servers looked up.

        Raises OSError for a name without addresses.
        """
        if self.uri:
            return self.uri
        found = [_lookup(host, port) for host, port in self.addresses]
        if all(version == 4 for version, _, _ in found):
            return "ipv4:" + ",".join(f"{host}:{port}" for _, host, port in found)
        return "ipv6:" + ",".join(
            f"[{host if version == 6 else '::ffff:' + host}]:{port}" for version, host, port in found
        )


def target(server: str | Sequence[str]) -> Target:
    """The target of HOST:PORT, several, or a gRPC URI.

    Several come comma-separated or in a list. Raises ValueError for anything else. The port is 50051 by default.
    """
    names = [name.strip() for name in (server.split(",") if isinstance(server, str) else server)]
    if isinstance(server, str) and server.startswith(_SCHEMES):
        host = _host_of_uri(server)
        return Target(server, server, (), *_proxy(host))
    if not names or not all(names):
        raise ValueError(f"{server!r} is no address: HOST:PORT, or several with commas between")
    addresses = [_parse(name) for name in names]
    if len(addresses) > 1:
        return Target(",".join(names), "", tuple(addresses))
    ((host, port),) = addresses
    uri = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Target(uri, uri, ((host, port),), *_proxy(host))


def _parse(name: str) -> Address:
    if "://" in name:
        raise ValueError(f"{name!r} is no address: HOST:PORT, without {name.partition('://')[0]}://")
    matched = re.fullmatch(r"\[([0-9A-Fa-f:.%\w]+)\](?::(\d+))?|([^\s/:\[\]]+)(?::(\d+))?", name)
    if matched is None:
        if _ip(name) is not None:
            return name, DEFAULT_PORT
        raise ValueError(f"{name!r} is no address: HOST:PORT")
    host, port = matched[1] or matched[3], int(matched[2] or matched[4] or DEFAULT_PORT)
    if not 0 < port < 65_536:
        raise ValueError(f"{name!r} is no address: {port} is no port")
    return host, port


def _host_of_uri(uri: str) -> str:
    scheme, _, rest = uri.partition(":")
    if scheme.startswith(("unix", "vsock")):
        return "localhost"
    first = rest.rpartition("/")[2].split(",")[0]
    return first.rpartition(":")[0].strip("[]") if re.search(r":\d+$", first) else first.strip("[]")


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine."""
    name = host.lower().rstrip(".")
    address = _ip(name)
    if address is None:
        return name in _HERE or name.endswith(".localhost") or name == socket.gethostname().lower()
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback or address.is_unspecified


def _proxy(host: str) -> tuple[str, str]:
    """gRPC's proxy to `host`, with its variable; or empty."""
    if is_loopback(host) or _excluded(host):
        return "", ""
    for variable in ("grpc_proxy", "https_proxy", "http_proxy"):  # gRPC's own order, in small letters alone
        if value := os.environ.get(variable):
            return _without_password(value), variable
    return "", ""


def _excluded(host: str) -> bool:
    entries = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or ""  # noqa: SIM112
    address = _ip(host)
    for entry in filter(None, map(str.strip, entries.split(","))):
        if entry == "*" or host.lower().endswith(entry.lower()):
            return True
        try:
            if address is not None and address in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            pass  # a name
    return False


def _without_password(url: str) -> str:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _lookup(host: str, port: int) -> tuple[int, str, int]:
    found = sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), key=lambda info: info[0] != socket.AF_INET)
    family, *_, address = found[0]
    return 4 if family == socket.AF_INET else 6, str(address[0]), port


async def spoken(target: Target) -> str:
    """The first server's protocol: "tls", "plaintext" or "".

    "" where that does not show within a second.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        host, port = target.addresses[0]
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=context), 1.0)
    except ssl.SSLError as error:
        return "plaintext" if error.reason == "WRONG_VERSION_NUMBER" else ""
    except (OSError, asyncio.TimeoutError, IndexError):
        return ""
    writer.transport.abort()
    return "tls"
