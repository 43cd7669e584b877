"""Several GPUs of one host, in three layouts.

A server each, one server over all, a Ray node each.
`python -m benchmarks.several_gpus --devices cuda:0,cuda:1` prints a line a rate. Rates are per GPU, so that all
arrangements carry the same. The servers share most cores, the generators the rest. `killed` is one server over all, one
of whose engine processes is killed in the middle of a trial.
"""

import argparse
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load.__main__ import numbers
from benchmarks.load.call import Call
from benchmarks.load.figures import Figures, Spread, trial_figures
from benchmarks.load.generator import PREPARATION, Generator
from benchmarks.load.plan import MEASUREMENT, Settings, plan
from benchmarks.load.prompts import BUILT_IN, read_prompts
from benchmarks.parts import machine
from benchmarks.parts.server import Served, serving
from benchmarks.parts.target import Target
from benchmarks.plot_load import several

HEADER = (
    "arrangement | req/s a GPU | audio s/s | first audio ms p50 / p95 / p99 | failed, underruns | processors in use"
)
BACK_LIMIT = 120.0  # seconds for a killed engine process to serve again

Running = tuple[list[Served], list[tuple[Generator, Settings]]]
Point = tuple[float, float, bool]  # rate, p95 in milliseconds, whether it was held


def main() -> None:
    """Measure the arrangements."""
    options = _options()
    print(machine.describe(), HEADER, sep="\n", flush=True)
    p95: dict[str, list[Point]] = {}
    for name in options.only.split(","):
        with ExitStack() as stack:
            running = _start(name, options, stack)
            if name == "killed":
                print(*_killed(running, options), sep="\n", flush=True)
            else:
                p95[name] = list(_measured(name, running, options))
        if options.svg and p95:
            options.svg.write_text(several("p95 of first audio, requests per second and GPU", p95))


def _start(name: str, options: argparse.Namespace, stack: ExitStack) -> Running:
    """The servers of an arrangement, each with its generator."""
    devices = options.devices.split(",")
    server_cores, own = machine.share_cores(len(devices))
    groups = [[device] for device in devices] if name == "separate" else [devices]
    if name == "ray nodes":
        from benchmarks.parts.ray_nodes import nodes

        served, addresses = stack.enter_context(nodes(len(devices), _target(["cuda"], options).flags, server_cores))
    else:
        with ThreadPoolExecutor(len(groups)) as threads:
            shares = _split(sorted(server_cores), len(groups))
            starts = [
                serving(_target(group, options).flags, set(cores), options.module)
                for group, cores in zip(groups, shares, strict=True)
            ]
            served = list(threads.map(stack.enter_context, starts))
        addresses = [each.address for each in served]
    shares = _split(sorted(own), len(addresses))
    per_server = len(devices) // len(addresses)
    return served, [
        _generator(address, per_server, cores, options, stack) for address, cores in zip(addresses, shares, strict=True)
    ]


def _target(group: Sequence[str], options: argparse.Namespace) -> Target:
    fronts = options.fronts * len(group)
    return Target(options.model, ",".join(group), options.max_speeches, options.max_queue, fronts)


def _generator(
    address: str, gpus: int, cores: Sequence[int], options: argparse.Namespace, stack: ExitStack
) -> tuple[Generator, Settings]:
    settings = Settings(
        address, seconds=options.seconds, warm_up=options.warm_up, first_chunk=1, max_lead=60.0, processes=2 * gpus
    )
    with machine.pinned(set(cores)):
        return stack.enter_context(Generator(settings)), settings


def _measured(name: str, running: Running, options: argparse.Namespace) -> Iterator[Point]:
    """Print a line a rate; its points."""
    served, generators = running
    for rate in options.rates:
        before = sum(each.cpu_seconds() for each in served)
        trials = _trials(generators, rate * len(options.devices.split(",")) / len(generators), options)
        seconds = options.seconds + options.warm_up
        used = (sum(each.cpu_seconds() for each in served) - before) / seconds
        figures = [trial_figures(calls, rate, start + options.warm_up, options.seconds) for start, calls in trials]
        print(_line(name, rate, figures, used), flush=True)
        yield rate, max(each.first_playable.p95 for each in figures), all(each.passed for each in figures)


def _trials(
    generators: Sequence[tuple[Generator, Settings]], rate: float, options: argparse.Namespace
) -> list[tuple[float, list[Call]]]:
    """Trial of each generator, all at once: start, calls."""
    prompts = read_prompts(BUILT_IN)
    with ThreadPoolExecutor(len(generators)) as threads:
        return list(threads.map(lambda each: each[0].run(plan(each[1], rate, options.seed, prompts)), generators))


def _killed(running: Running, options: argparse.Namespace) -> Iterator[str]:
    """One trial with its faults.

    With the moment at which all engine processes are ready again.
    """
    (served,), generators = running
    engines, rate = served.engines(), options.kill_rate * len(options.devices.split(","))
    delay = PREPARATION + options.warm_up + options.seconds / 2
    with ThreadPoolExecutor(1) as threads:
        killing = threads.submit(_kill_and_wait, served, engines[0], len(engines), delay)
        ((start, calls),) = _trials(generators, rate, options)
        killed, back = killing.result()
    lost = [call for call in calls if call.error]
    spoken = [call for call in calls if not call.error and call.phase == MEASUREMENT]
    yield _line("killed", options.kill_rate, [trial_figures(calls, rate, start + options.warm_up, options.seconds)], 0)
    yield f"engine processes {len(engines)}; turns open at the kill {sum(c.sent < killed < c.ended for c in calls)}"
    yield f"lost {len(lost)}, after {Spread.of(call.ended - killed for call in lost if call.ended > killed)} ms"
    yield f"underruns of the others {sum(call.underruns > 0 for call in spoken)} of {len(spoken)}"
    yield f"all ready again {back - killed:.1f} s after the kill"
    yield from (f"{count} x {error}" for error, count in Counter(call.error for call in lost).items())


def _kill_and_wait(served: Served, pid: int, engines: int, delay: float) -> tuple[float, float]:
    """Moments of the kill, of readiness of all engine processes.

    Raises TimeoutError.
    """
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    time.sleep(0.5)
    while served.count("tts_process_ready", role="engine") < engines:
        if time.monotonic() > killed + BACK_LIMIT:
            raise TimeoutError("the killed engine process did not come back")
        time.sleep(0.2)
    return killed, time.monotonic()


def _line(name: str, rate: float, figures: Sequence[Figures], used: float) -> str:
    """A line of the table.

    Percentiles are those of the slowest server.
    """
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
    add("--only", default="separate,one server,killed", help="of these and `ray nodes` (default %(default)s)")
    add("--rates", type=numbers, default=numbers("10,80,110,130"), help="requests per second a GPU")
    add("--kill-rate", type=float, default=40.0, help="requests per second a GPU (default %(default)g)")
    add("--seed", type=int, default=0, help="of the schedule (default %(default)s)")
    add("--seconds", type=float, default=10.0, help="of a trial (default %(default)g)")
    add("--warm-up", type=float, default=2.0, help="seconds before it (default %(default)g)")
    add("--fronts", type=int, default=2, help="front processes a GPU; 0 with one device only (default %(default)s)")
    add("--max-speeches", type=int, default=128, help="a GPU (default %(default)s)")
    add("--max-queue", type=int, default=512, help="a GPU (default %(default)s)")
    add("--module", default="qwentts_grpc.cli.flags", help="of the server (default %(default)s)")
    add("--svg", type=Path, help="picture of p95 by rate")
    return parser.parse_args()


if __name__ == "__main__":
    main()
