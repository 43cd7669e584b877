"""Cost of the host: real server, real load, simulated device.

`python -m benchmarks.host` measures the rate of one GPU with this host (benchmarks/parts/simulated.py), on any machine.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.load.__main__ import numbers, parser, settings_of
from benchmarks.load.figures import Figures, trial_figures
from benchmarks.load.generator import Generator
from benchmarks.load.plan import plan
from benchmarks.load.prompts import read_prompts
from benchmarks.parts import machine
from benchmarks.parts.server import Served, serving
from benchmarks.parts.single import over_grpc

MODULE = "benchmarks.parts.simulated"
STAGES = ("prefill", "frame", "codec")
HEADER = "req/s | first audio ms p50/p95/p99 | underruns | steps/s | rows a step | device busy | host busy | late p99"


@dataclass(frozen=True, slots=True)
class Counts:
    """The server's counters so far.

    Times in seconds, `host` of all its threads.
    """

    at: float
    steps: float
    rows: float
    device: float
    host: float

    @classmethod
    def of(cls, served: Served) -> "Counts":
        """Read from its metrics."""
        stage = "tts_engine_step_{}"
        return cls(
            at=time.monotonic(),
            steps=served.count(stage.format("batch_size_count"), stage="frame"),
            rows=served.count(stage.format("batch_size_sum"), stage="frame"),
            device=sum(served.count(stage.format("duration_seconds_sum"), stage=name) for name in STAGES),
            host=served.cpu_seconds(),
        )


def main() -> None:
    """Print a line a rate."""
    options = _options()
    server_cores, generator_cores = machine.share_cores()
    flags = ["--max-speeches", "128", "--max-queue", "512", "--fronts", str(options.fronts)]
    with serving(flags, server_cores, MODULE) as served, machine.pinned(generator_cores):
        single = asyncio.run(over_grpc(served.address, 20))
        print(f"one stream: first audio of one frame {single.first_audio:.1f} ms, real-time factor {single.rtf:.4f}")
        print(HEADER, flush=True)
        for line in _lines(served, options):
            print(line, flush=True)


def _lines(served: Served, options: argparse.Namespace) -> Iterator[str]:
    options.server = served.address
    settings, prompts = settings_of(options), read_prompts(options.prompts)
    with Generator(settings) as generator:
        for rate in options.rates:
            before = Counts.of(served)
            start, calls = generator.run(plan(settings, rate, 0, prompts))
            after = Counts.of(served)
            yield _line(trial_figures(calls, rate, start + settings.warm_up, settings.seconds), before, after)


def _line(figures: Figures, before: Counts, after: Counts) -> str:
    wall, steps = after.at - before.at, after.steps - before.steps
    first = figures.first_playable
    cells = (
        f"{figures.rate:g}",
        f"{first.p50:.1f} / {first.p95:.1f} / {first.p99:.1f}",
        f"{figures.interrupted} of {figures.requests}" + (f", {figures.failed} failed" if figures.failed else ""),
        f"{steps / wall:.0f}",
        f"{(after.rows - before.rows) / steps:.1f}",
        f"{(after.device - before.device) / wall:.0%}",
        f"{(after.host - before.host) / wall:.0%}",
        f"{figures.lateness.p99:.1f}",
    )
    return " | ".join(cells)


def _options() -> argparse.Namespace:
    made = parser()
    made.prog, made.description = "python -m benchmarks.host", __doc__
    made.add_argument("--fronts", type=int, default=0, help="front processes (default: one process for all)")
    made.set_defaults(rates=numbers("1,10,20,40,60,80,100"), seconds=10.0, warm_up=2.0, max_lead=60.0)
    return made.parse_args()


if __name__ == "__main__":
    main()
