"""gRPC's own limits on connections: how many there may be, how old, and how many calls each may have open."""

import resource

MOST = 4_096  # at once, or half of the descriptors that there are; further ones are closed

Options = tuple[tuple[str, int], ...]


def options(calls: int, max_age: float, grace: float) -> Options:
    """Channel arguments of a server; `calls` of one connection, ages in seconds.

    After `max_age`, 0 for never, a connection takes no new calls, and its open ones have `grace` seconds left.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = (
        ("grpc.max_allowed_incoming_connections", max(1, min(MOST, descriptors // 2))),
        # gRPC reads no more of a connection while so many of its calls wait for us, be they reset already.
        ("grpc.max_concurrent_streams", calls),
    )
    if not max_age:
        return limits
    ages = (("grpc.max_connection_age_ms", max_age), ("grpc.max_connection_age_grace_ms", grace))
    return (*limits, *((name, round(1_000 * age)) for name, age in ages))
