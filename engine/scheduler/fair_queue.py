"""Fair queue order among tenants.

Tenants that hold fewer slots go first, each tenant's own speeches in order of arrival.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace

from engine.scheduler.sequence import Sequence


def fair_order(waiting: Iterable[Sequence], running: Iterable[Sequence]) -> Iterator[Sequence]:
    """Order in which `waiting` speeches get slots.

    `waiting` is in order of arrival; what `running` holds counts.
    Speeches that had a slot before come first, since their listeners wait; those that lent it wait for their tenant's
    turn.
    """
    fresh: dict[str, deque[Sequence]] = {}
    for sequence in waiting:
        if sequence.admitted is not None and not sequence.lent:
            yield sequence
        else:
            fresh.setdefault(sequence.request.tenant, deque()).append(sequence)
    if len(fresh) < 2:
        yield from (sequence for queue in fresh.values() for sequence in queue)
    else:
        yield from _merge(fresh, Counter(sequence.request.tenant for sequence in running))


def _merge(fresh: dict[str, deque[Sequence]], held: Counter[str]) -> Iterator[Sequence]:
    heads = [(held[tenant], queue[0].arrived, tenant) for tenant, queue in fresh.items()]
    heapify(heads)
    while heads:
        count, _, tenant = heads[0]
        queue = fresh[tenant]
        yield queue.popleft()
        if queue:
            heapreplace(heads, (count + 1, queue[0].arrived, tenant))
        else:
            heappop(heads)


def ahead(tenant: str, waiting: Counter[str], running: Counter[str]) -> int:
    """Number of `waiting` that precede a newcomer of `tenant`."""
    level = running[tenant] + waiting[tenant]  # others precede until each holds more than that
    return waiting[tenant] + sum(
        min(count, max(0, level - running[other] + 1)) for other, count in waiting.items() if other != tenant
    )
