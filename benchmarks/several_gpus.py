"""Several GPUs of one host: a server each, then one server over all.

`python -m benchmarks.several_gpus --devices cuda:0,cuda:1` prints a line a rate. Rates are per GPU, so that both
arrangements carry the same. Each server has its share of the cores, the generators the rest.
"""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from benchmarks.load.__main__ import numbers
from benchmarks.load.figures import Figures, trial_figures
from benchmarks.load.generator import Generator
from benchmarks.load.plan import Settings, plan
from benchmarks.load.prompts import BUILT_IN, Prompt, read_prompts
from benchmarks.parts import machine
from benchmarks.parts.server import Served, serving
from benchmarks.parts.target import Target

HEADER = (
    "arrangement | req/s a GPU | audio s/s | first audio ms p50 / p95 / p99 | failed, underruns | processors in use"
)


def main() -> None:
    """Measure both arrangements."""
    options = _options()
    print(machine.describe(), HEADER, sep="\n", flush=True)
    devices = options.devices.split(",")
    for name, groups in (("separate", [[device] for device in devices]), ("one server", [devices])):
        if name in options.only.split(","):
            for line in _lines(name, groups, options):
                print(line, flush=True)


def _lines(name: str, groups: Sequence[Sequence[str]], options: argparse.Namespace) -> Iterator[str]:
    prompts = read_prompts(BUILT_IN)
    with ExitStack() as stack:
        served, generators = _start(groups, options, stack)
        for rate in options.rates:
            before = sum(each.cpu_seconds() for each in served)
            work = [(generators[i], rate * len(group), prompts) for i, group in enumerate(groups)]
            with ThreadPoolExecutor(len(groups)) as threads:
                trials = list(threads.map(lambda each: _trial(*each), work))
            used = (sum(each.cpu_seconds() for each in served) - before) / trials[0][1]
            yield _line(name, rate, [figures for figures, _ in trials], used)


def _start(
    groups: Sequence[Sequence[str]], options: argparse.Namespace, stack: ExitStack
) -> tuple[list[Served], list[tuple[Generator, Settings]]]:
    """A server with its generator for each group of devices."""
    server_cores, generator_cores = machine.share_cores(len(groups[0]) * len(groups))
    shares = _split(sorted(server_cores), len(groups)), _split(sorted(generator_cores), len(groups))
    served, generators = [], []
    for group, cores, own in zip(groups, *shares, strict=True):
        target = Target(
            options.model, ",".join(group), options.max_speeches, options.max_queue, options.fronts * len(group)
        )
        served.append(stack.enter_context(serving(target.flags, set(cores), options.module)))
        settings = Settings(
            served[-1].address,
            seconds=options.seconds,
            warm_up=options.warm_up,
            first_chunk=1,
            max_lead=60.0,
            processes=2 * len(group),
        )
        with machine.pinned(set(own)):
            generators.append((stack.enter_context(Generator(settings)), settings))
    return served, generators


def _trial(generator: tuple[Generator, Settings], rate: float, prompts: Sequence[Prompt]) -> tuple[Figures, float]:
    """Figures of one server at `rate`, with the seconds of its trial."""
    sending, settings = generator
    start, calls = sending.run(plan(settings, rate, 0, prompts))
    return trial_figures(calls, rate, start + settings.warm_up, settings.seconds), settings.seconds + settings.warm_up


def _line(name: str, rate: float, figures: Sequence[Figures], used: float) -> str:
    """A line of the table; percentiles are those of the slowest server."""
    first = [max(getattr(each.first_playable, name) for each in figures) for name in ("p50", "p95", "p99")]
    total = sum(each.requests for each in figures)
    cells = (
        name,
        f"{rate:g}",
        f"{sum(each.audio for each in figures):.0f}",
        " / ".join(f"{each:.1f}" for each in first),
        f"{sum(each.failed for each in figures)}, {sum(each.interrupted for each in figures)} of {total}",
        f"{used:.1f}",
    )
    return " | ".join(cells)


def _split(cores: Sequence[int], parts: int) -> list[Sequence[int]]:
    return [cores[part::parts] or cores for part in range(parts)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.several_gpus", description=__doc__)
    add = parser.add_argument
    add("--devices", default="cuda:0,cuda:1", help="default %(default)s")
    add("--model", default="1.7B-CustomVoice", help="kind or folder (default %(default)s)")
    add("--only", default="separate,one server", help="arrangements (default: both)")
    add("--rates", type=numbers, default=numbers("10,80,110,130"), help="requests per second a GPU")
    add("--seconds", type=float, default=10.0, help="of a trial (default %(default)g)")
    add("--warm-up", type=float, default=2.0, help="seconds before it (default %(default)g)")
    add("--fronts", type=int, default=2, help="front processes a GPU; 0 with one device only (default %(default)s)")
    add("--max-speeches", type=int, default=128, help="a GPU (default %(default)s)")
    add("--max-queue", type=int, default=512, help="a GPU (default %(default)s)")
    add("--module", default="qwentts_grpc.cli.flags", help="of the server (default %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
