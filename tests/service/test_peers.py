"""Peers by host: the ports of one are all its own, and so is a network of IPv6."""

import pytest

from qwentts_grpc.wire.peers import host


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("ipv4:10.0.0.1:5555", "10.0.0.1"),
        ("ipv6:%5B::1%5D:5555", "::/64"),
        ("ipv6:[2001:db8:1:2:3:4:5:6]:5555", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2::9%5D:80", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.1]:5555", "10.0.0.1"),
        ("ipv6:[fe80::1%25eth0]:5555", "fe80::/64"),
        ("unix:", "unix"),
        ("unix:/run/tts.sock", "unix"),
        ("", ""),
    ],
)
def test_a_host_is_its_address_or_its_network(peer: str, name: str) -> None:
    assert host(peer) == name
