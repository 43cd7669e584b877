"""`python -m tests.abuse.attacker NAMES TARGET`: attacks at once, for as long as the process lives."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from . import callers, strangers, surroundings
from .target import Target

Attack = Callable[[Target], Awaitable[None]]

STRANGERS: tuple[Attack, ...] = (
    strangers.stalled_readers,
    strangers.watches,
    strangers.strange_methods,
    strangers.rapid_reset,
    strangers.continuation_flood,
    strangers.header_bombs,
    strangers.frame_floods,
    strangers.settings_churn,
    strangers.token_guesses,
    strangers.drips,
    strangers.connections,
    surroundings.side_port,
)
CALLERS: tuple[Attack, ...] = (
    callers.idle_turns,
    callers.hoards,
    callers.slow_readers,
    callers.recordings,
    callers.others_voices,
    callers.many_tenants,
    callers.without_consent,
    surroundings.bad_files,
)
TLS: tuple[Attack, ...] = (surroundings.tls_oddities,)
ATTACKS = {attack.__name__: attack for attack in (*STRANGERS, *CALLERS, *TLS)}


async def main(names: str, target: str) -> None:
    """Raise what an attack raises: AssertionError where it got what it must not get."""
    print("begun", flush=True)
    await asyncio.gather(*(ATTACKS[name](Target.of(target)) for name in names.split(",") if name))


if __name__ == "__main__":
    os.nice(10)  # attackers have machines of their own; here they get what the server leaves
    asyncio.run(main(*sys.argv[1:]))
