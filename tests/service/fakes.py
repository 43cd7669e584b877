"""What may happen on the device: fakes of `Runner.step` around the real one."""

import time
from dataclasses import replace

import numpy as np

from engine.scheduler.batch import Batch, Runner, StepOutput


class Ending:
    """Every segment ends after its first `after` frames, as a trained model would end it."""

    def __init__(self, runner: Runner, eos: int, after: int) -> None:
        self._runner, self._eos, self._after = runner, eos, after

    def step(self, batch: Batch) -> StepOutput:
        output = self._runner.step(batch)
        assert output is not None  # on a CPU no runner works ahead
        codes = output.codes.copy()
        for row, frame in zip(batch.rows, codes, strict=True):
            if row.index >= self._after:
                frame[0] = self._eos
        return replace(output, codes=codes)


class Slow:
    """Every step takes `seconds` more."""

    def __init__(self, runner: Runner, seconds: float) -> None:
        self._runner, self._seconds = runner, seconds

    def step(self, batch: Batch) -> StepOutput:
        time.sleep(self._seconds)
        return self._runner.step(batch)


class Breaking:
    """A step with rows raises."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def step(self, batch: Batch) -> StepOutput:
        if batch.rows:
            raise RuntimeError("the device has fallen off")
        return self._runner.step(batch)


class Infinite:
    """The first row of every step has values that are not finite."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def step(self, batch: Batch) -> StepOutput:
        output = self._runner.step(batch)
        assert output is not None  # on a CPU no runner works ahead
        finite = output.finite.copy()
        finite[:1] = False
        return replace(output, finite=finite)


class Silent:
    """From frame `after` of a speech on there is no sound, though every frame differs."""

    def __init__(self, runner: Runner, after: int) -> None:
        self._runner, self._after = runner, after

    def step(self, batch: Batch) -> StepOutput:
        output = self._runner.step(batch)
        assert output is not None  # on a CPU no runner works ahead
        audio = zip(batch.chunks, output.audio, strict=True)
        heard = [pcm if chunk.first < self._after else 0 * pcm for chunk, pcm in audio]
        return replace(output, audio=heard)


class Stuck:
    """Every frame is the one before it: a speech that has run away."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def step(self, batch: Batch) -> StepOutput:
        output = self._runner.step(batch)
        assert output is not None  # on a CPU no runner works ahead
        return replace(output, codes=np.full_like(output.codes, 5))
