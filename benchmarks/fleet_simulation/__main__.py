"""Simulate fleets; print the figures, draw the pictures.

`python -m benchmarks.fleet_simulation --out docs/fleet` takes some minutes of one core.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.fleet_simulation import day, events
from benchmarks.fleet_simulation.device import Device, measured
from benchmarks.fleet_simulation.picture import Curve, draw
from benchmarks.fleet_simulation.traffic import HOURS, Traffic, peak, rate

SAMPLED = 40  # GPUs that stand for all of a large fleet: callers choose at random, so each GPU's turns are independent
WINDOW = 5.0  # seconds of each sampled hour


def main() -> None:
    """Print Markdown; write SVG files with `--out`."""
    options = _options()
    device = measured()
    for name, lines, picture in _parts(device, options):
        print(f"\n{name}\n", *lines, sep="\n", flush=True)
        if picture and options.out:
            (options.out / f"{name}.svg").write_text(picture)


Part = tuple[str, Sequence[str], str]


def _parts(device: Device, options: argparse.Namespace) -> Iterator[Part]:
    yield _balance(device, options)
    yield _day(device, options)
    yield _large(device, options)
    yield _lost(device, options)
    yield _rolling(device, options)


def _balance(device: Device, options: argparse.Namespace) -> Part:
    ways = {"random": "each turn to any server", "round": "in turn", "two": "the less loaded of two"}
    rows = ["| turns a second a GPU | " + " | ".join(ways.values()) + " |", "|" + "---|" * (len(ways) + 1)]
    for turns in (40, 60, 80, 100):
        p95 = [events.steady(device, SAMPLED, SAMPLED * turns, way, 2 * WINDOW).whole for way in ways]
        rows.append(f"| {turns} | " + " | ".join(f"{1e3 * value:.1f} ms" for value in p95) + " |")
    return "balance", rows, ""


def _day(device: Device, options: argparse.Namespace) -> Part:
    made = day.simulate(device, options.turns_a_day, most=64, spare=1)
    rows = [
        f"{made.turns} turns, {made.refused} refused, {made.gpu_hours:.1f} GPU hours, "
        f"{made.cost(options.price):.3f} for a million characters at {options.price:g} a GPU hour",
        "| hour | turns a second | servers | p95 of first audio |",
        "|---|---|---|---|",
        *(f"| {hour.hour} | {hour.rate:.0f} | {hour.servers:.1f} | {1e3 * hour.first:.1f} ms |" for hour in made.hours),
    ]
    curves = [
        Curve("servers", [hour.servers for hour in made.hours]),
        Curve("turns/s", [hour.rate for hour in made.hours], right=True),
        Curve("p95 of first audio, ms", [1e3 * hour.first for hour in made.hours], right=True, dashes="5 4"),
    ]
    title = f"A day of {options.turns_a_day:,.0f} turns, every turn simulated"
    return "day", rows, draw(title, "hour of the day", [hour.hour for hour in made.hours], curves)


def _large(device: Device, options: argparse.Namespace) -> Part:
    traffic, turns = Traffic(), options.many_turns_a_day
    rates = [rate(3_600 * hour + 1_800, turns) for hour in range(len(HOURS))]
    servers = [int(-(-each // options.rate)) + options.host for each in rates]
    runs = [
        events.steady(device, SAMPLED, SAMPLED * each / number, "random", WINDOW).whole
        for each, number in zip(rates, servers, strict=True)
    ]
    cost = options.price * sum(servers) / (turns * traffic.characters / 1e6)
    rows = [
        f"{min(servers)} to {max(servers)} servers, {sum(servers)} GPU hours, p95 {1e3 * min(runs):.1f} to "
        f"{1e3 * max(runs):.1f} ms, {cost:.4f} for a million characters at {options.price:g} a GPU hour"
    ]
    curves = [
        Curve("servers", servers),
        Curve("p95 of first audio, ms", [1e3 * p95 for p95 in runs], right=True, dashes="5 4"),
    ]
    title = f"A day of {turns:,.0f} turns, at most {options.rate:g} turns a second on a GPU"
    return "large", rows, draw(title, "hour of the day", list(range(len(HOURS))), curves)


def _lost(device: Device, options: argparse.Namespace) -> Part:
    number = int(peak(options.many_turns_a_day) // options.rate) + options.host
    run = events.lost_host(device, number, number * options.rate, options.host, seconds=16.0, at=5.0)
    before, worst = max(run.p95[2:5]), max(run.p95[5:])
    rows = [
        f"{number} GPUs, {run.results.turns} turns in {len(run.seconds)} s, a host of {options.host} lost at 5 s: "
        f"{run.results.lost} open turns lost, {run.results.retried} sent again, {run.results.refused} refused four "
        f"times; p95 {1e3 * before:.1f} ms before, {1e3 * worst:.1f} ms in the worst second, "
        f"{1e3 * run.p95[-2]:.1f} ms after"
    ]
    curves = [Curve("p95, ms", [1e3 * p95 for p95 in run.p95]), Curve("p50, ms", [1e3 * p50 for p50 in run.p50])]
    title = f"First audio while a host of {options.host} of {number} GPUs is lost"
    return "lost-host", rows, draw(title, "seconds", run.seconds, curves)


def _rolling(device: Device, options: argparse.Namespace) -> Part:
    together = max(1, SAMPLED // 20)
    run = events.rolling_update(device, SAMPLED, SAMPLED * options.rate, together, 60.0, at=10.0)
    rows = [
        f"{SAMPLED} GPUs, {together} at a time: {run.results.turns} turns in {len(run.seconds)} s, "
        f"{run.results.lost} lost, {run.results.refused} refused; p95 {1e3 * max(run.p95[2:9]):.1f} ms before, "
        f"{1e3 * run.whole:.1f} ms over the whole, {1e3 * max(run.p95[10:-2]):.1f} ms in the worst second"
    ]
    curves = [Curve("p95, ms", [1e3 * p95 for p95 in run.p95]), Curve("p50, ms", [1e3 * p50 for p50 in run.p50])]
    title = f"First audio while {SAMPLED} GPUs restart, {together} at a time"
    return "rolling-update", rows, draw(title, "seconds", run.seconds, curves)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_simulation", description=__doc__)
    parser.add_argument("--turns-a-day", type=float, default=5e6, help="all simulated (default %(default)g)")
    parser.add_argument("--many-turns-a-day", type=float, default=5e9, help="sampled by hour (default %(default)g)")
    parser.add_argument("--rate", type=float, default=60.0, help="most turns a second of one GPU (default %(default)g)")
    parser.add_argument("--host", type=int, default=8, help="GPUs of one host (default %(default)s)")
    parser.add_argument("--price", type=float, default=2.5, help="of one GPU for an hour (default %(default)g)")
    parser.add_argument("--out", type=Path, help="folder for the pictures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
