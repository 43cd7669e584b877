"""Thousands of GPUs behind a balancer, event by event.

A turn takes a slot, or waits for one in order. Its frames come at the pace of all turns open on its GPU; a turn that is
far enough ahead of its listener keeps the slot and makes no frames. A lost GPU's turns are tried again as new ones.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

from benchmarks.fleet_simulation.device import MAX_LEAD, Device

QUEUE = 512  # places of one GPU's queue
RETRY = 0.05  # seconds until a refused or unlucky turn is sent again
MOST_TRIES = 4
FRAME = 0.08  # seconds of audio
NEVER = float("inf")


@dataclass(slots=True)
class Turn:
    """One turn; `frames` to make, `tries` so far."""

    arrived: float
    frames: int
    tries: int = 1


@dataclass(slots=True)
class Gpu:
    """One server with one GPU.

    `made`: frames of a turn that has been open throughout; `working`: turns by the value of `made` at their last frame.
    """

    index: int
    up: bool = True
    takes: bool = True
    made: float = 0.0
    at: float = 0.0
    version: int = 0
    open: int = 0
    working: list[tuple[float, int, float, Turn]] = field(default_factory=list)
    queue: deque[Turn] = field(default_factory=deque)
    held: dict[int, Turn] = field(default_factory=dict)  # turns with a slot


@dataclass(slots=True)
class Results:
    """What callers got.

    `first`: (time of arrival, seconds to first audio).
    """

    first: list[tuple[float, float]] = field(default_factory=list)
    turns: int = 0
    lost: int = 0
    refused: int = 0
    retried: int = 0


class Fleet:
    """A simulation; `balance` chooses the next server's index."""

    def __init__(self, device: Device, number: int, balance: str = "random", seed: int = 0) -> None:
        self._device, self._random = device, Random(seed)
        self.gpus = [Gpu(index) for index in range(number)]
        self._choose: Callable[[], Gpu] = {"random": self._any, "two": self._less_of_two, "round": self._next}[balance]
        self._round = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.now = 0.0
        self.results = Results()

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Do something at a moment."""
        heapq.heappush(self._events, (moment, next(self._order), action))

    def run(self, arrivals: Iterable[tuple[float, int]]) -> Results:
        """Run turns in order, to the end of the last.

        Each (arrival, frames).
        """
        for moment, frames in arrivals:
            self._until(moment)
            self.now = moment
            self.results.turns += 1
            self._send(Turn(moment, frames))
        self._until(NEVER)
        return self.results

    def _until(self, moment: float) -> None:
        events = self._events
        while events and events[0][0] <= moment:
            self.now, _, action = heapq.heappop(events)
            action()

    def lose(self, indexes: Sequence[int], detected: float) -> None:
        """These end at once; the balancer notices after `detected` seconds."""
        for index in indexes:
            gpu = self.gpus[index]
            victims, waiting = list(gpu.held.values()), list(gpu.queue)
            self.results.lost += len(victims)
            self.gpus[index] = Gpu(index, up=False, at=self.now)
            self.at(self.now + detected, self._closer(index))
            for turn in [*(Turn(self.now, turn.frames) for turn in victims), *waiting]:
                self._again(turn)

    def drain(self, index: int) -> None:
        """New turns go elsewhere."""
        self.gpus[index].takes = False

    def start(self, index: int) -> None:
        """Start the server of this index.

        A new one if the old was lost.
        """
        gpu = self.gpus[index]
        gpu.up = gpu.takes = True

    def _closer(self, index: int) -> Callable[[], None]:
        return lambda: None if self.gpus[index].up else self.drain(index)

    def _send(self, turn: Turn) -> None:
        gpu = self._choose()
        if not gpu.up or (gpu.open >= self._device.slots and len(gpu.queue) >= QUEUE):
            self._again(turn)
        elif gpu.open >= self._device.slots:
            gpu.queue.append(turn)
        else:
            self._begin(gpu, turn)

    def _again(self, turn: Turn) -> None:
        if turn.tries >= MOST_TRIES:
            self.results.refused += 1
            return
        turn.tries += 1
        self.results.retried += 1
        self.at(self.now + RETRY, lambda: self._send(turn))

    def _begin(self, gpu: Gpu, turn: Turn) -> None:
        sample = self._device.first[self._device.bucket(gpu.open)]
        first = self.now - turn.arrived + float(sample[int(self._random.random() * len(sample))])
        self.results.first.append((turn.arrived, first))
        self._progress(gpu)
        identity = next(self._order)
        gpu.held[identity] = turn
        gpu.open += 1
        free_at = self.now + turn.frames * FRAME - MAX_LEAD  # paced: no frame is made further ahead
        heapq.heappush(gpu.working, (gpu.made + turn.frames, identity, free_at, turn))
        self._plan(gpu)

    def _progress(self, gpu: Gpu) -> None:
        if gpu.working:
            pace = float(self._device.frames[self._device.bucket(gpu.open)])
            gpu.made += pace * (self.now - gpu.at)
        gpu.at = self.now

    def _plan(self, gpu: Gpu) -> None:
        """End of the next turn of this GPU."""
        gpu.version += 1
        if gpu.working:
            pace = float(self._device.frames[self._device.bucket(gpu.open)])
            version, wait = gpu.version, max(0.0, gpu.working[0][0] - gpu.made) / pace
            self.at(self.now + wait, lambda: self._made(gpu, version))

    def _made(self, gpu: Gpu, version: int) -> None:
        if version != gpu.version or self.gpus[gpu.index] is not gpu:
            return
        self._progress(gpu)
        _, identity, free_at, _ = heapq.heappop(gpu.working)
        if free_at > self.now:
            self.at(free_at, lambda: self._leave(gpu, identity))
            self._plan(gpu)
        else:
            self._leave(gpu, identity)

    def _leave(self, gpu: Gpu, identity: int) -> None:
        if self.gpus[gpu.index] is not gpu:
            return
        self._progress(gpu)
        del gpu.held[identity]
        gpu.open -= 1
        if gpu.queue:
            self._begin(gpu, gpu.queue.popleft())
        else:
            self._plan(gpu)

    def _any(self) -> Gpu:
        """A server at random, of those that take turns.

        As callers that are apart choose.
        """
        for _ in range(64):
            gpu = self.gpus[int(self._random.random() * len(self.gpus))]
            if gpu.takes:
                return gpu
        return next((gpu for gpu in self.gpus if gpu.takes), self.gpus[0])

    def _less_of_two(self) -> Gpu:
        """The less loaded of two servers at random.

        As a balancer with least-request chooses.
        """
        return min(self._any(), self._any(), key=lambda gpu: gpu.open + len(gpu.queue))

    def _next(self) -> Gpu:
        """In turn: one caller of all."""
        for _ in range(len(self.gpus)):
            gpu = self.gpus[next(self._round) % len(self.gpus)]
            if gpu.takes:
                return gpu
        return self.gpus[0]
