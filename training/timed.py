"""What both trainings share: their options, how they begin, and the clock that ends them."""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch


def training_options(doc: str | None, source: str, rate: float) -> argparse.ArgumentParser:
    """A parser with what `begin` and any training read; `source` names what is learnt from."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument(source, type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eager", action="store_true", help="no CUDA graphs")
    return parser


def begin(seed: int) -> torch.device:
    """Seed, settle how products are rounded, and say where to train: on a GPU if there is one."""
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def leave_default_stream(device: torch.device) -> None:
    """What is captured as graphs must not run on the default stream of a GPU."""
    if device.type == "cuda":
        torch.cuda.set_stream(torch.cuda.Stream(device))


def falling(done: float, least: float) -> float:
    """A factor on the rate, from 1 along a cosine to `least` as `done` goes from 0 to 1."""
    return least + (1 - least) * (0.5 + 0.5 * math.cos(math.pi * done))


def elapsing(minutes: float) -> Iterator[float]:
    """The share of `minutes` that has passed, until all of it has."""
    start = time.monotonic()
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        yield done
