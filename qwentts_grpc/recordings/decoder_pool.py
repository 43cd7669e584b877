"""A pool of decoding processes behind a bounded queue."""

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from engine.api.errors import Busy, GenerationFailed, InvalidRequest
from engine.api.queue_wait import QueueWaitEstimator
from qwentts_grpc.admission.fair_semaphore import FairSemaphore
from qwentts_grpc.recordings.decode import Recording, check_size
from qwentts_grpc.recordings.decode_worker import CPU_SECONDS
from qwentts_grpc.recordings.decoder import Broken, Decoder
from qwentts_grpc.recordings.unusable import unusable
from qwentts_grpc.wire.limits import RecordingLimits

WORKERS = 2
MAX_RECORDINGS = 64  # waiting or being decoded
TIMEOUT = 20.0  # seconds for one: its processor time has a limit of its own, but the machine may be busy
UNKNOWN_WAIT = 0.5  # seconds
CPU_EXIT = 128 + signal.SIGXCPU
TOO_SLOW = f"takes more than {CPU_SECONDS} s of processor time to decode"
BROKE = "cannot be decoded: its decoder broke down"

log = logging.getLogger(__name__)


class DecoderPool:
    """Decodes recordings in up to `WORKERS` processes.

    Each starts when needed, and is replaced when broken.
    """

    def __init__(self, limits: RecordingLimits, timeout: float = TIMEOUT) -> None:
        self.limits = limits
        self.timeout = timeout
        self._decoders: set[Decoder] = set()
        self._idle: list[Decoder] = []
        self._free = FairSemaphore(WORKERS)
        self._recordings = 0
        self._wait_estimator = QueueWaitEstimator(WORKERS)
        self._first: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> "asyncio.Task[None]":
        """Start one process in advance, for the first recording."""
        self._first = asyncio.create_task(self._prepare())
        return self._first

    async def close(self) -> None:
        """Kill all processes."""
        self._closed = True
        await asyncio.gather(*(decoder.end() for decoder in self._decoders), *filter(None, (self._first,)))

    async def decode(self, data: bytes, tenant: str = "") -> Recording:
        """The decoded recording of a file's bytes; tenants take turns.

        Raises `InvalidRequest` on "reference.audio", `Busy`, and `GenerationFailed` for a decoder that hangs or does
        not start. A cancelled caller leaves the queue; a started decode runs to its end, which is cheaper than another
        process.
        """
        check_size(len(data), self.limits)
        with self._counted():
            async with self._free.hold(tenant):
                task = asyncio.create_task(self._decode(data))
                try:
                    return await asyncio.shield(task)
                finally:
                    await asyncio.wait((task,))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._recordings >= MAX_RECORDINGS:
            raise Busy(self._wait_estimator.estimate(self._recordings) or UNKNOWN_WAIT)
        self._recordings += 1
        try:
            yield
        finally:
            self._recordings -= 1

    async def _decode(self, data: bytes) -> Recording:
        began = time.monotonic()
        decoder = await self._decoder()
        try:
            async with asyncio.timeout(self.timeout):
                recording = await decoder.decode(data, self.limits)
        except InvalidRequest:
            self._idle.append(decoder)
            raise
        except TimeoutError:
            await self._drop(decoder)
            raise GenerationFailed(f"the recording could not be decoded in {self.timeout:g} s") from None
        except Broken as error:
            code = await self._drop(decoder)
            log.warning("a decoder of recordings broke and is replaced: %s, exit code %d", error, code)
            raise unusable(TOO_SLOW if code == CPU_EXIT else BROKE) from None
        self._idle.append(decoder)
        self._wait_estimator.record(time.monotonic() - began)
        return recording

    async def _decoder(self) -> Decoder:
        while self._idle:
            decoder = self._idle.pop()
            if decoder.alive:
                return decoder
            await self._drop(decoder)
        return await self._started()

    async def _prepare(self) -> None:
        async with self._free.hold(""):
            with suppress(GenerationFailed):
                self._idle.append(await self._started())

    async def _started(self) -> Decoder:
        try:
            decoder = await Decoder.start()
        except (OSError, Broken) as error:
            log.warning("a decoder of recordings does not start: %r", error)
            raise GenerationFailed("no decoder of recordings starts") from error
        self._decoders.add(decoder)
        if self._closed:
            await decoder.end()
        return decoder

    async def _drop(self, decoder: Decoder) -> int:
        self._decoders.discard(decoder)
        return await decoder.end()
