"""`python -m tests.abuse.served serve ...`: the server in front of devices that take two milliseconds a step.

Without `serve` it is one of the server's own child processes.
"""

import sys

from engine import build
from engine.engine import Engine
from qwentts_grpc.cli import flags
from qwentts_grpc.processes import child, worker
from tests.faults.devices import Steady

STEP = 0.002  # seconds
real = build.build_engine


async def steady_engine(*arguments: object) -> Engine:
    """An engine whose speed does not depend on what else the processors do."""
    engine = await real(*arguments)  # type: ignore[arg-type]
    engine._steps.runner = Steady(int(engine._prompt_builder.config.codec.eos), STEP)
    return engine


if __name__ == "__main__":
    build.build_engine = steady_engine  # type: ignore[assignment]
    child.WORKER = "tests.abuse.served"
    flags.main() if "serve" in sys.argv else worker.main()
