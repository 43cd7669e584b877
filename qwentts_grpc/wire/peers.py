"""Peer addresses, reduced for limits or log lines."""

from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote


def host(peer: str) -> str:
    """Host of a gRPC peer name; for IPv6 the /64.

    Peer names look like "ipv4:10.0.0.1:5555".
    """
    family, _, rest = unquote(peer).partition(":")
    if family == "ipv4":
        return rest.rpartition(":")[0]
    if family == "ipv6":
        return _network(rest.rpartition(":")[0].strip("[]"))
    return family


def _network(address: str) -> str:
    """The /64, because one household owns all addresses within it."""
    try:
        parsed = IPv6Address(address)
    except AddressValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
