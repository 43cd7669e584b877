"""The Ray actor that maintains the fleet.

A named one, so that there is one; what it knows it reads from Ray's own list of actors, so that it may end and begin
anew at any time.
"""

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import ray
from ray.exceptions import RayError
from ray.util import list_named_actors

from qwentts_fleet.balancer import BalancerActor
from qwentts_fleet.haproxy import LARGEST_WEIGHT
from qwentts_fleet.scaling import Scaler
from qwentts_fleet.server import ServerActor, ServerState
from qwentts_fleet.settings import NAMESPACE, Settings

NAME, BALANCER, SERVER = "controller", "balancer-", "server-"
CALL_TIMEOUT = 3.0  # for an actor to answer
LOST_AFTER = 15.0  # seconds of silence after which an actor is given up
START_LIMIT = 300.0  # for a new actor to answer first: its node may have to come up

log = logging.getLogger(__name__)
Handle = Any  # ray.actor.ActorHandle, whose methods have no types


@dataclass(slots=True)
class Member:
    """One server of the fleet, as last seen."""

    handle: Handle
    born: float
    seen: float | None = None
    state: ServerState | None = None
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class FleetState:
    """State of the fleet.

    Which servers have room, which tenants have turns.
    `room`: turns that are taken now, at once (`free`) or after a wait.
    """

    target: int
    addresses: str
    servers: dict[str, ServerState | None] = field(default_factory=dict)
    leaving: tuple[str, ...] = ()
    free: int = 0
    room: int = 0
    tenants: dict[str, int] = field(default_factory=dict)


class Controller:
    """Controller of servers, from creation to their end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._target = settings.least
        self._scaler = Scaler(settings)
        self._members: dict[str, Member] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._held_back: set[str] = set()  # servers that get no new connections
        self._balancers: list[Handle] = []
        self._addresses: dict[int, str] = {}
        self._task: asyncio.Task[None] | None = None
        ray.get_runtime_context().current_actor.start.remote()  # by itself, for Ray may have started it again

    async def start(self) -> None:
        """Begin to look after the fleet.

        Takes over servers that run.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._run())
            self._adopt()
            place = {self._settings.balancer_resource: 1} if self._settings.balancer_resource else {}
            for number in range(self._settings.balancers):
                made = _actor(BalancerActor, f"{BALANCER}{number}", max_restarts=-1, num_cpus=0, resources=place)
                self._balancers.append(made(self._settings))

    async def state(self) -> FleetState:
        """The fleet as last seen, at most some periods ago."""
        loads = [member.state.load for member in self._serving().values() if member.state and member.state.load]
        tenants: Counter[str] = Counter()
        for load in loads:
            tenants.update(load.tenants)
        return FleetState(
            target=self._target,
            addresses=",".join(filter(None, (self._addresses.get(index) for index in range(len(self._balancers))))),
            servers={name: member.state for name, member in self._members.items()},
            leaving=tuple(name for name, member in self._members.items() if member.leaving),
            free=sum(load.free for load in loads),
            room=sum(load.room for load in loads),
            tenants=dict(tenants),
        )

    async def restart(self) -> None:
        """Restart all servers, one after the other, each drained first."""
        for name in list(self._members):
            member = self._members.get(name)
            if member is None or member.leaving:
                continue
            await self._others_serve(name)
            self._held_back.add(name)
            await self._tell_balancers()
            await _quietly(member.handle.restart.remote(), self._settings.drain + START_LIMIT)
            self._held_back.discard(name)
            await self._until_serving(name, member)

    async def stop(self) -> None:
        """Drain all servers, then end the balancers."""
        if self._task is not None:
            self._task.cancel()
        await asyncio.gather(*(self._end(name, member) for name, member in list(self._members.items())))
        for balancer in self._balancers:
            ray.kill(balancer)

    def _adopt(self) -> None:
        for named in list_named_actors(all_namespaces=True):
            if named["namespace"] == NAMESPACE and named["name"].startswith(SERVER):
                handle = ray.get_actor(named["name"], NAMESPACE)
                self._members[named["name"]] = Member(handle, time.monotonic())
        self._target = max(self._target, len(self._members))

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._once()
            except RayError as error:
                log.warning("the fleet cannot be looked after for now: %s", error)
            await asyncio.sleep(max(0.0, began + self._settings.period - time.monotonic()))

    async def _once(self) -> None:
        await self._start_balancers()
        await asyncio.gather(*(self._look(member) for member in self._members.values()))
        self._give_up_lost()
        loads = {name: member.state.load for name, member in self._serving().items() if member.state}
        known = {name: load for name, load in loads.items() if load is not None}
        self._target = self._scaler.decide(known, self._target, time.monotonic())
        self._create_or_end()
        await self._tell_balancers()

    async def _start_balancers(self) -> None:
        started = await asyncio.gather(*(_quietly(balancer.start.remote()) for balancer in self._balancers))
        self._addresses |= {index: addresses for index, addresses in enumerate(started) if addresses}

    async def _look(self, member: Member) -> None:
        state = await _quietly(member.handle.state.remote())
        if state is not None:
            member.seen, member.state = time.monotonic(), state

    def _give_up_lost(self) -> None:
        """Drop servers whose actor has not answered for long.

        Its node may be lost, or cut off; then what is left of it must not come back beside its successor.
        """
        now = time.monotonic()
        for name, member in list(self._members.items()):
            last, patience = (member.born, START_LIMIT) if member.seen is None else (member.seen, LOST_AFTER)
            if now - last > patience or _dead(name):
                log.warning("%s is lost", name)
                del self._members[name]
                ray.kill(member.handle)

    def _create_or_end(self) -> None:
        staying = {name: member for name, member in self._members.items() if not member.leaving}
        for _ in range(self._target - len(staying)):
            self._create()
        for name in sorted(staying, key=lambda name: _turns(staying[name]))[: max(0, len(staying) - self._target)]:
            self._members[name].leaving = True
            task = asyncio.create_task(self._end(name, self._members[name]))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def _create(self) -> None:
        name = f"{SERVER}{uuid4().hex[:8]}"
        settings = self._settings
        options = {"num_gpus": settings.gpus, "num_cpus": settings.cpus, "scheduling_strategy": "SPREAD"}
        handle = _actor(ServerActor, name, **options)(settings)
        handle.start.remote()
        self._members[name] = Member(handle, time.monotonic())

    async def _end(self, name: str, member: Member) -> None:
        """End a server after its turns.

        It gets no new connections.
        """
        member.leaving = True
        await self._tell_balancers()
        await _quietly(member.handle.stop.remote(), self._settings.drain + START_LIMIT)
        ray.kill(member.handle)
        self._members.pop(name, None)

    def _serving(self) -> dict[str, Member]:
        return {
            name: member
            for name, member in self._members.items()
            if member.state is not None and member.state.address and not member.leaving
        }

    async def _tell_balancers(self) -> None:
        weights = {
            member.state.address: _weight(member.state)
            for name, member in self._serving().items()
            if member.state is not None and name not in self._held_back
        }
        await asyncio.gather(*(_quietly(balancer.set_servers.remote(weights)) for balancer in self._balancers))

    async def _others_serve(self, name: str) -> None:
        """Wait until another server serves, where there shall be one."""
        until = time.monotonic() + START_LIMIT
        while self._target > 1 and not self._serving().keys() - {name} and time.monotonic() < until:
            await asyncio.sleep(self._settings.period)

    async def _until_serving(self, name: str, member: Member) -> None:
        until = time.monotonic() + START_LIMIT
        while self._members.get(name) is member and time.monotonic() < until:
            await self._look(member)
            if member.state is not None and member.state.address:
                return
            await asyncio.sleep(self._settings.period)


def _actor(kind: type, name: str, **options: Any) -> Any:
    """A detached actor that is there once, under its name."""
    made: Any = ray.remote(kind).options(
        name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True, max_concurrency=100, **options
    )
    return made.remote


async def _quietly(call: Any, seconds: float = CALL_TIMEOUT) -> Any:
    """Result of a call, None on failure or delay."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except (RayError, TimeoutError):
        return None


def _dead(name: str) -> bool:
    """Whether Ray has given the actor up."""
    try:
        ray.get_actor(name, NAMESPACE)
    except ValueError:
        return True
    return False


def _turns(member: Member) -> int:
    load = member.state.load if member.state else None
    return -1 if load is None else load.running + load.queued


def _weight(state: ServerState) -> int:
    """Weight of a server, by its free slots.

    New connections go where room is.
    """
    load = state.load
    if load is None or not load.slots:
        return 1
    return max(1, round(LARGEST_WEIGHT * load.free / load.slots))
