"""Checks, timings, tuning of the codec decoder on a GPU.

Weights are random, of real size; steps run in the order given.
compile: into the kernel cache, in parallel, what the other steps will run. ops: every operation against plain maths.
check: whole decodes against fp32 on the CPU. time: replays of captured calls. profile: a replay kernel by kernel.
tune: candidate tiles of every product, as tables for `engine/ops/triton/codec/tiles.py`, which later steps use.
`python -m tools.codec compile ops time`; with TRITON_INTERPRET=1, `ops --shapes 1x1` needs no GPU and some minutes.
"""

import argparse
import time
from pathlib import Path

import torch

from engine.ops.triton.codec import support
from tools.codec import check, compiling, ops, profile, timing, tune
from tools.codec.decoder import DEVICE, Shape

SHAPES = {  # what each step runs
    "ops": ops.SHAPES,
    "check": check.SHAPES,
    "time": timing.SHAPES,
    "profile": profile.SHAPES,
    "tune": tune.SHAPES,
}


@torch.inference_mode()
def main() -> None:
    """Run the steps that were asked for."""
    options = parsed()
    support.FUSED_CHANNELS = options.fused_channels
    print(torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE, torch.__version__, flush=True)
    for step in options.steps:
        began = time.time()
        run(step, options)
        print(f"[{step}: {time.time() - began:.0f} s]", flush=True)


def run(step: str, options: argparse.Namespace) -> None:
    """One step."""
    match step:
        case "compile":
            compiling.run(options.processes, work(options))
        case "ops":
            ops.run(shapes(step, options))
        case "check":
            check.run()
        case "time":
            timing.run(shapes(step, options))
        case "profile":
            profile.run(shapes(step, options))
        case "tune":
            tune.run(options.tables, options.out)


def shapes(step: str, options: argparse.Namespace) -> tuple[Shape, ...]:
    """Shapes of a step: those given, or its own choice."""
    if options.shapes and step in ("ops", "time", "profile"):
        return tuple(options.shapes)
    return SHAPES[step]


def work(options: argparse.Namespace) -> compiling.Work:
    """What all other steps will run."""
    others = [step for step in options.steps if step != "compile"]
    wanted = dict.fromkeys(shape for step in others for shape in shapes(step, options))
    return compiling.Work(tuple(wanted), options.tables if "tune" in others else (), options.fused_channels)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.codec", description=__doc__)
    parser.add_argument("steps", nargs="+", choices=("compile", *SHAPES))
    parser.add_argument("--shapes", nargs="+", type=shape, metavar="STREAMSxFRAMES", help="of ops, time and profile")
    parser.add_argument("--tables", nargs="+", choices=tune.TABLES, default=tune.TABLES, help="what tune fills")
    parser.add_argument("--out", type=Path, help="where tune writes all its measurements")
    parser.add_argument("--processes", type=int, default=12, help="compilers at a time")
    parser.add_argument("--fused-channels", type=int, default=support.FUSED_CHANNELS)
    return parser.parse_args()


def shape(text: str) -> Shape:
    """Of "32x4"."""
    streams, _, frames = text.partition("x")
    return int(streams), int(frames)


if __name__ == "__main__":
    main()
