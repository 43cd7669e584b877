"""`python -m tests.faults.faulty FAULT CHECKPOINT`: a server whose device breaks once it has made some steps."""

import os
import sys
import time
from collections.abc import Callable

from tests.processes import fakes  # before anything asks for torch

# isort: split
from engine.engine import Engine
from engine.scheduler.batch import Batch, Runner, StepOutput

GOOD_STEPS = 20


class Breaking:
    """Works for a while; then every step is `fault`."""

    def __init__(self, runner: Runner, fault: Callable[[], None]) -> None:
        self._runner, self._fault, self._steps = runner, fault, 0

    def step(self, batch: Batch) -> StepOutput:
        self._steps += 1
        if self._steps > GOOD_STEPS:
            self._fault()
        return self._runner.step(batch)


def hang() -> None:
    time.sleep(3_600)


def fail() -> None:
    raise RuntimeError("an illegal memory access was encountered")


def vanish() -> None:
    os.kill(os.getpid(), 9)


real = fakes.build_engine


async def faulty_engine(*arguments: object) -> Engine:
    engine = await real(*arguments)  # type: ignore[arg-type]
    engine._steps.runner = Breaking(engine._steps.runner, {"hang": hang, "fail": fail, "vanish": vanish}[sys.argv[1]])
    return engine


if __name__ == "__main__":
    fakes.build_engine = faulty_engine  # type: ignore[assignment]
    fakes.install()
    from qwentts_grpc.cli import flags

    flags.main(["serve", "--model", sys.argv[2], "--port", "0", "--metrics-port", "0", *sys.argv[3:]])
