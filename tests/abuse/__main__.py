"""`python -m tests.abuse`: every attack on a server of its own, beside a witness; a line for each."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from engine.checkpoint.dummy import write_checkpoint

from .attacker import ATTACKS, CALLERS, STRANGERS, TLS
from .listening import Heard, StepPacer
from .suite import Result, abused, stopped, tried

STORMS = {
    "storm of strangers": [attack.__name__ for attack in STRANGERS],
    "storm of callers": [attack.__name__ for attack in CALLERS],
    "storm of all": [attack.__name__ for attack in (*STRANGERS, *CALLERS)],
}
HEADER = f"{'attack':<20} {'turns':>5} {'underruns':>9} {'gap s':>6} {'first s':>7} {'/metrics KB':>11} {'+MB':>5} "
HEADER += f"{'lines/s':>7} {'end s':>5}"


def main() -> None:
    """Leave with code 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="abuse", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], metavar="ATTACK", help=f"of {', '.join(everything())}")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each attack (default %(default)g)")
    parser.add_argument("--fronts", type=int, default=0, help="front processes, beside one of the engine")
    options = parser.parse_args()
    sys.exit(asyncio.run(run(options.only or list(everything()), options.seconds, options.fronts)))


def everything() -> dict[str, list[str]]:
    """Names of attacks by the name of what is tried: one, or a storm of many."""
    return {name: [name] for name in ATTACKS} | STORMS


async def run(names: list[str], seconds: float, fronts: int) -> int:
    """Print a line each; how many went wrong."""
    wrong = 0
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"custom": "1.7B-CustomVoice", "base": "0.6B-Base"}
        models = [write_checkpoint(Path(folder) / name, kind, seed=3) for name, kind in kinds.items()]
        for number, name in enumerate(names):
            place = Path(folder) / str(number)
            place.mkdir()
            result = await one(place, models, name, seconds, fronts)
            print(line(result), flush=True)
            wrong += bool(result.wrong)
    print(f"{len(names) - wrong} of {len(names)} withstood")
    return min(wrong, 1)


async def one(place: Path, models: list[Path], name: str, seconds: float, fronts: int = 0) -> Result:
    """Try an attack, or a storm of them."""
    attacks = everything()[name]
    async with abused(place, models, tls=attacks == [TLS[0].__name__], fronts=fronts) as server:
        await tried(server, "warm-up", [], StepPacer(audio=1.0), 1.0)
        result = await tried(server, name, attacks, StepPacer(), seconds)
        await stopped(server, attacks, result)
    return result


def line(result: Result) -> str:
    """A row of the table; below it what is wrong."""
    heard: Heard = result.heard
    cells = f"{result.name:<20} {heard.turns:>5} {heard.underruns:>9} {heard.gap:>6.2f} {heard.first:>7.2f}"
    cells += f" {result.page / 1e3:>11.0f} {result.grown:>5.0f} {result.lines:>7.1f} {result.ended:>5.1f}"
    return "\n".join((cells, *(f"    WRONG: {what}" for what in dict.fromkeys(result.wrong))))


if __name__ == "__main__":
    main()
