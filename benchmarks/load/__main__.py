"""`python -m benchmarks.load`: rising request rates until underruns."""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc

from benchmarks.load.figures import Figures, rate_figures, trial_figures
from benchmarks.load.generator import Generator
from benchmarks.load.plan import Settings, plan
from benchmarks.load.prompts import BUILT_IN, Prompt, read_prompts
from benchmarks.load.report import document, dump, header, row
from qwentts_client.client import AsyncClient

RATES = (1.0, 2.0, 4.0, 8.0, 10.0, 16.0, 20.0, 30.0, 40.0, 60.0, 80.0)
SEEDS = (0, 1, 2)


def main() -> None:
    """Run the trials; print a line for each rate.

    The JSON file is rewritten after each.
    """
    options = parser().parse_args()
    settings = settings_of(options)
    prompts = read_prompts(options.prompts)
    about = asyncio.run(describe(settings.server))
    print(
        f"{about['model']} at {settings.server}, server {about['version']}; {_plan_line(options, prompts)}", flush=True
    )
    print(header(), flush=True)
    rates = []
    with Generator(settings) as generator:
        for figures in hold(generator, settings, options.rates, options.seeds, prompts):
            rates.append(figures)
            print(row(figures), *figures.errors, sep="\n", flush=True)
            if options.json:
                options.json.write_text(dump(document(settings, {**about, "seeds": options.seeds}, rates)))
            if not figures.passed and not options.keep_going:
                break


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    add = made.add_argument
    add("--server", default="localhost:50051", metavar="HOST:PORT", help="default %(default)s")
    add("--rates", type=numbers, default=RATES, help="requests per second, comma separated")
    add("--seconds", type=float, default=25.0, help="measured time of a trial (default %(default)g)")
    add("--warm-up", type=float, default=5.0, help="seconds of load before it (default %(default)g)")
    add("--seeds", type=whole_numbers, default=SEEDS, help="trials of a rate (default 0,1,2)")
    add("--prompts", type=Path, default=BUILT_IN, help="a text a line (default: the built-in ones)")
    add("--voice", default="", help="default: the server's first")
    add("--first-chunk-frames", type=int, default=2, help="80 ms each (default %(default)s)")
    add("--max-lead", type=float, help="seconds ahead of playback (default: the server's)")
    add("--processes", type=int, default=2, help="of the generator (default %(default)s)")
    add("--channels", type=int, default=4, help="connections of a process (default %(default)s)")
    add("--keep-going", action="store_true", help="do not stop at the first rate that is not held")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    return made


def settings_of(options: argparse.Namespace) -> Settings:
    """Settings common to every trial."""
    return Settings(
        server=options.server,
        voice=options.voice,
        seconds=options.seconds,
        warm_up=options.warm_up,
        first_chunk=options.first_chunk_frames,
        max_lead=options.max_lead,
        processes=options.processes,
        channels=options.channels,
    )


def hold(
    generator: Generator, settings: Settings, rates: Sequence[float], seeds: Sequence[int], prompts: Sequence[Prompt]
) -> Iterator[Figures]:
    """The figures of each rate, as they come."""
    for rate in rates:
        trials = []
        for seed in seeds:
            start, calls = generator.run(plan(settings, rate, seed, prompts))
            trials.append(trial_figures(calls, rate, start + settings.warm_up, settings.seconds))
        yield rate_figures(trials)


async def describe(server: str) -> dict[str, str]:
    """Facts on the server; raises `grpc.aio.AioRpcError`."""
    async with AsyncClient(server) as client:
        await asyncio.wait_for(client.channel.channel_ready(), 10.0)
        info = await client.server_info()
        return {"model": info.models[0].name, "version": info.server_version, "grpc": grpc.__version__}


def _plan_line(options: argparse.Namespace, prompts: list[Prompt]) -> str:
    frames = sum(prompt.frames for prompt in prompts) / len(prompts)
    return f"{len(prompts)} texts, {frames:.1f} frames on average; {options.seconds:g} s a trial, seeds {options.seeds}"


def whole_numbers(text: str) -> list[int]:
    """Whole numbers of a flag's value like 0,1,2."""
    return [int(part) for part in text.split(",")]


def numbers(text: str) -> list[float]:
    """Numbers of a flag's value like 1,2.5,10."""
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
