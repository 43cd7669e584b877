"""Who is at the other end of a connection, as far as limits and log lines are concerned."""

from ipaddress import AddressValueError, IPv6Address
from urllib.parse import unquote


def host(peer: str) -> str:
    """The host in gRPC's name of a peer, such as "ipv4:10.0.0.1:5555"; of IPv6 its network of 64 bits."""
    family, _, rest = unquote(peer).partition(":")
    if family == "ipv4":
        return rest.rpartition(":")[0]
    if family == "ipv6":
        return _network(rest.rpartition(":")[0].strip("[]"))
    return family


def _network(address: str) -> str:
    """One household has as many addresses as it likes within its network."""
    try:
        parsed = IPv6Address(address)
    except AddressValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
