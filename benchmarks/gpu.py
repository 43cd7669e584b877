"""`make bench-gpu`: frames, one stream, served rate, in one table.

Exits with 1 where a figure is more than 5 % slower than the one kept of the same card.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.parts import gate, machine
from benchmarks.parts.inside import measure
from benchmarks.parts.server import Served, serving
from benchmarks.parts.single import over_grpc
from benchmarks.parts.table import Row, inside_rows, load_rows, markdown, single_rows
from benchmarks.parts.target import Target
from benchmarks.plot_load import draw

SECTIONS = ("frame", "single", "load")
BETWEEN = 10.0  # seconds that a trial may take beyond its schedule


def main() -> None:
    """Measure, print, write table.md, bench.json, load.json, load.svg."""
    options = _options()
    about = {**machine.describe(), "command": " ".join(["python -m benchmarks.gpu", *sys.argv[1:]])}
    print(about, flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for model in options.models.split(","):
        target = Target(model, options.device, options.max_speeches, options.max_queue, options.fronts)
        first = not rows
        for section in (_inside_figures, _served_figures):
            for row in _attempt(section(target, options, first), section.__name__):
                rows.append(row)
                print(" | ".join(row.cells), flush=True)
                _write(options.out, about, rows)
    print(markdown(rows))
    sys.exit(_judge(rows, about["gpu"], options))


def _judge(rows: Sequence[Row], card: str, options: argparse.Namespace) -> int:
    """Exit code of the figures.

    1 where one is more than 5 % slower than the one kept of this card, or failed.
    """
    measured, models = gate.figures(rows), [Target(m, "", 0, 0, None).name for m in options.models.split(",")]
    if options.keep:
        gate.keep(card, measured)
    before = {name: old for name, old in gate.kept(card).items() if name in measured or options.only == set(SECTIONS)}
    if not before:
        print(f"no figures of {card} are kept")
    slower = list(gate.regressions(measured, before, models))
    slower += [f"{row.figure}: {row.ours}" for row in rows if row.ours.startswith("failed")]
    print(*(slower or [f"{len(before)} figures are within 5 % of those kept"]), sep="\n")
    return int(bool(slower))


def _attempt(rows: Iterator[Row], section: str) -> Iterator[Row]:
    """Rows of a section; its failure becomes a row too."""
    try:
        yield from rows
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        yield Row(section.strip("_").replace("_", " "), "", f"failed: {type(error).__name__}")


def _inside_figures(target: Target, options: argparse.Namespace, first: bool) -> Iterator[Row]:
    """Figures of an engine without a server."""
    inside = {"frame", "single"} & options.only
    if inside:
        yield from inside_rows(target.name, target.size, measure(target, inside, options.repeats))


def _served_figures(target: Target, options: argparse.Namespace, first: bool) -> Iterator[Row]:
    """Figures of a server.

    The load test runs on the first model alone.
    """
    load = first and "load" in options.only
    if not load and "single" not in options.only:
        return
    server_cores, generator_cores = machine.share_cores()
    with serving(target.flags, server_cores) as served:
        before = machine.gpu_memory()
        yield Row(f"{target.name}: start to serving, s", "", f"{served.seconds:.1f}")
        with machine.pinned(generator_cores):
            if "single" in options.only:
                single = asyncio.run(over_grpc(served.address, max(3, options.repeats // 10)))
                yield from single_rows(target.name, target.size, "gRPC", single)
            if load:
                yield from load_rows(target.name, _load(served, options))
        yield from _steadiness(target, served, before)


def _load(served: Served, options: argparse.Namespace) -> dict[str, Any]:
    """Run the load test from its command line.

    It prints its own table as it goes.
    """
    file = options.out / "load.json"
    trials = len(options.rates.split(",")) * len(options.seeds.split(","))
    command = [sys.executable, "-m", "benchmarks.load", "--server", served.address, "--json", str(file), "--keep-going"]
    command += ["--rates", options.rates, "--seeds", options.seeds, "--seconds", str(options.seconds)]
    command += ["--warm-up", str(options.warm_up), "--processes", str(options.processes)]
    command += [] if options.max_lead is None else ["--max-lead", str(options.max_lead)]
    limit = trials * (options.seconds + options.warm_up + BETWEEN) + 120.0
    file.unlink(missing_ok=True)
    try:
        subprocess.run(command, check=True, timeout=limit)
    except subprocess.SubprocessError as error:
        print(f"the load test did not come to its end: {error}", file=sys.stderr)
    document: dict[str, Any] = json.loads(file.read_text())  # the rates that were finished
    (options.out / "load.svg").write_text(draw(document))
    return document


def _steadiness(target: Target, served: Served, before: int | None) -> Iterator[Row]:
    """Figures that must not have changed meanwhile."""
    after = machine.gpu_memory()
    yield Row(f"{target.name}: GPU memory, MiB", "start / end", f"{before} / {after}")
    replays, fallbacks = (served.count(f"tts_graph_{name}_total") for name in ("replays", "fallbacks"))
    yield Row(f"{target.name}: graphs", "replays / fallbacks", f"{replays:.0f} / {fallbacks:.0f}")


def _write(out: Path, about: dict[str, str], rows: Sequence[Row]) -> None:
    (out / "table.md").write_text(markdown(rows) + "\n")
    document = {"about": about, "rows": [asdict(row) for row in rows]}
    (out / "bench.json").write_text(json.dumps(document, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    add = parser.add_argument
    add(
        "--models",
        default="1.7B-CustomVoice,0.6B-CustomVoice",
        help="kinds or folders; the load test runs on the first",
    )
    add("--only", type=_sections, default=set(SECTIONS), help="of frame,single,load (default: all)")
    add("--rates", default="1,10,20,40,60,80", help="requests per second (default %(default)s)")
    add("--seconds", type=float, default=25.0, help="of a trial (default %(default)g)")
    add("--warm-up", type=float, default=5.0, help="seconds before it (default %(default)g)")
    add("--seeds", default="0,1,2", help="trials of a rate (default %(default)s)")
    add("--processes", type=int, default=2, help="of the load generator (default %(default)s)")
    add("--max-lead", type=float, help="seconds ahead of playback under load (default: the server's)")
    add("--repeats", type=int, default=50, help="of a replay; the median counts (default %(default)s)")
    add("--device", default="auto", help="default %(default)s")
    add("--max-speeches", type=int, default=128, help="default %(default)s")
    add("--max-queue", type=int, default=512, help="default %(default)s")
    add("--fronts", type=int, help="front processes; 0: one process for all (default: the server's)")
    add("--keep", action="store_true", help="keep the figures as those of this card")
    add("--out", type=Path, default=Path("build/bench"), help="folder for results (default %(default)s)")
    return parser.parse_args()


def _sections(text: str) -> set[str]:
    chosen = set(text.split(","))
    if not chosen <= set(SECTIONS):
        raise argparse.ArgumentTypeError(f"sections are {', '.join(SECTIONS)}")
    return chosen


if __name__ == "__main__":
    main()
