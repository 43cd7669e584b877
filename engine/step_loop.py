"""The step loop: next batch, run it, commit, deliver."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from engine.api.config import EngineConfig
from engine.api.metrics import record_step
from engine.api.observer import Observer
from engine.scheduler.batch import Batch, Runner, StepOutput
from engine.scheduler.scheduler import Scheduler
from engine.speeches.open_speeches import OpenSpeeches

HOUSEKEEPING = 0.25  # seconds between checks of time limits while idle
CHECK_INTERVAL = 0.02  # seconds between such checks while steps run
DECODING = 1  # steps whose audio waits for that of an earlier one


class StepLoop:
    """Steps of all open speeches, one after the other.

    `failed`: the error of a step, after which no other runs; `last_step`: when the latest ended.
    """

    def __init__(
        self, config: EngineConfig, speeches: OpenSpeeches, scheduler: Scheduler, runner: Runner, observer: Observer
    ) -> None:
        self.runner = runner
        self.failed: BaseException | None = None
        self.last_step = time.monotonic()
        self._config, self._speeches, self._scheduler, self._observer = config, speeches, scheduler, observer
        self._next_by = 0.0  # time until which the next step may wait for newcomers
        self._last_check = 0.0  # of time limits
        self._closing = False
        self._device = ThreadPoolExecutor(1, "device")
        self._codec = ThreadPoolExecutor(1, "codec")  # waits for audio beside the next steps
        self._decoding: asyncio.Queue[StepOutput] = asyncio.Queue(DECODING)
        loop = asyncio.get_running_loop()
        self._running = loop.create_task(self._run(), name="engine")
        self._listening = loop.create_task(self._listen(), name="codec")

    @property
    def open(self) -> bool:
        """Whether steps run, or would."""
        return self.failed is None and not self._closing

    def stop(self) -> None:
        """Begin no further step."""
        self._closing = True
        self._speeches.wake.set()

    async def close(self) -> None:
        """Stop, await the step under way; idempotent."""
        self.stop()
        await asyncio.wait((self._running,), timeout=self._config.step_timeout)
        for task in (self._running, self._listening):
            task.cancel()
        await asyncio.wait((self._listening,))
        self._device.shutdown(wait=False, cancel_futures=True)
        self._codec.shutdown(wait=False, cancel_futures=True)

    def fail(self, error: BaseException) -> None:
        """End with every speech, whatever runs."""
        self._fail(error)
        self._running.cancel()

    async def _run(self) -> None:
        try:
            while (batch := await self._next_batch()) is not None:
                output = await self._run_step(batch)
                outcomes = self._scheduler.commit(output)
                self._speeches.deliver(outcomes)
                if output.decoding is not None:
                    await self._decoding.put(output)
        except Exception as error:  # a broken step ends the engine with every speech
            self._fail(error)

    async def _listen(self) -> None:
        """Deliver audio decoded beside later steps, in order."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                output = await self._decoding.get()
                assert output.decoding is not None
                async with asyncio.timeout(self._config.step_timeout):
                    audio, timings = await loop.run_in_executor(self._codec, output.decoding)
                record_step(self._observer, timings)
                self._speeches.deliver(self._scheduler.commit_audio(replace(output, audio=audio)))
                self._speeches.wake.set()
        except Exception as error:
            self.fail(error)

    async def _next_batch(self) -> Batch | None:
        """The next batch, awaited; None when the engine closes."""
        await self._linger(self._next_by)
        while not self._closing:
            now = time.monotonic()
            self._speeches.wake.clear()
            self._speeches.deliver(self._scheduler.settle(now))
            for sequence in self._scheduler.admit(now):
                self._speeches.started(sequence, now)
            if now >= self._last_check + CHECK_INTERVAL:
                self._check_time_limits(now)
            batch = self._scheduler.schedule(now)
            if batch is not None:
                return batch
            self._check_time_limits(now)
            self._scheduler.check()
            await self._sleep(now)
        return None

    async def _run_step(self, batch: Batch) -> StepOutput:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._config.step_timeout):
            output = await loop.run_in_executor(self._device, self.runner.step, batch)
        self.last_step, self._next_by = time.monotonic(), output.next_by
        record_step(self._observer, output.timings)
        return output

    async def _linger(self, until: float) -> None:
        """Leave the next step open to newcomers until `until`.

        Whole milliseconds, in which the thread is free to write audio.
        """
        pause = int(1000 * (until - time.monotonic()))
        if pause > 0:
            await asyncio.sleep(pause / 1000)

    async def _sleep(self, now: float) -> None:
        """Sleep until a call, a due speech, or the housekeeping."""
        wake_at = self._scheduler.wake_at(now)
        pause = HOUSEKEEPING if wake_at is None else min(HOUSEKEEPING, wake_at - now)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause, 0.001) if len(self._speeches) else None):
                await self._speeches.wake.wait()

    def _check_time_limits(self, now: float) -> None:
        self._last_check = now
        self._speeches.check_time_limits(now)

    def _fail(self, error: BaseException) -> None:
        self.failed = error
        self._speeches.fail(error)
