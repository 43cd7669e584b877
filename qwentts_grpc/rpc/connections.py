"""gRPC's own limits on connections: number, age, calls each."""

import resource

MOST = 4_096  # at once, or half of the available descriptors; further ones are closed

Options = tuple[tuple[str, int], ...]


def options(calls: int, max_age: float, grace: float) -> Options:
    """Channel arguments of a server.

    `calls`: of one connection. Ages in seconds: after `max_age` (0: never) a connection takes no new calls, and its
    open ones have `grace` left.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = (
        ("grpc.max_allowed_incoming_connections", max(1, min(MOST, descriptors // 2))),
        # gRPC stops reading a connection while this many of its calls wait for a handler, reset ones included.
        ("grpc.max_concurrent_streams", calls),
    )
    if not max_age:
        return limits
    ages = (("grpc.max_connection_age_ms", max_age), ("grpc.max_connection_age_grace_ms", grace))
    return (*limits, *((name, round(1_000 * age)) for name, age in ages))
