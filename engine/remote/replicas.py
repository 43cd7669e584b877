"""One checkpoint in several engine processes."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace

from engine.api.config import ModelCard
from engine.api.errors import EngineFailed
from engine.api.request import Reference, Sampling, SpeechRequest
from engine.api.voice import Voice
from engine.remote.client import ProcessClient
from engine.remote.messages import Check, Clone, Done, Model, Prime, QueueWait, Wait
from engine.remote.speech import RemoteSpeech

ANSWER = 5.0  # seconds for a question that needs no encoder
ENCODING = 120.0  # seconds for one that may wait behind recordings


class ReplicatedEngine:
    """An `EngineClient` over the processes that hold a checkpoint.

    A speech goes to the process with the fewest.
    """

    def __init__(self, model: Model, processes: Sequence[ProcessClient]) -> None:
        self.card: ModelCard = model.card
        self.defaults: Sampling = model.defaults
        self._processes = processes

    @property
    def available(self) -> bool:
        """Whether any process takes speeches."""
        return bool(self._ready())

    def open(self, request: SpeechRequest, arrived: float | None = None) -> RemoteSpeech:
        """Queue a speech; return its handle at once.

        Raises `InvalidRequest` for fields out of range, `EngineFailed` while no process takes speeches. Other refusals
        come by the first iteration.
        """
        request.validate()
        if request.sampling.seed is None:
            request = replace(request, sampling=replace(request.sampling, seed=secrets.randbits(64)))
        return self._least().open(self.card.name, request, time.monotonic() if arrived is None else arrived)

    async def check(self, request: SpeechRequest) -> None:
        """Raise the present refusal of `request`, if any."""
        request.validate()
        await self._least().ask(Check(self.card.name, request), Done, ANSWER)

    async def clone(self, reference: Reference) -> Voice:
        """Voice of a recording; raises `InvalidRequest`, `Unsupported`."""
        reference.validate()
        return await self._least().ask(Clone(self.card.name, reference), Voice, ENCODING)

    async def prime(self, kept: Voice) -> None:
        """Prime every process's codec; raises `Unsupported`."""
        question = Prime(self.card.name, kept)
        await asyncio.gather(*(process.ask(question, Done, ENCODING) for process in self._ready()))

    async def queue_wait(self, tenant: str = "") -> float:
        """Expected wait in seconds.

        0 where unknown, or a slot is free.
        """
        process = self._least()
        if process.speeches(self.card.name) < process.models[self.card.name].slots:
            return 0.0
        return (await process.ask(QueueWait(self.card.name, tenant), Wait, ANSWER)).seconds

    def _least(self) -> ProcessClient:
        ready = sorted(self._ready(), key=lambda process: process.speeches(self.card.name))
        if not ready:
            raise EngineFailed(f"no engine of {self.card.name} is there at present")
        return ready[0]

    def _ready(self) -> list[ProcessClient]:
        return [process for process in self._processes if process.accepting and self.card.name in process.models]
