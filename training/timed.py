"""Common parts of both trainings: options, start, clock."""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch


def training_options(doc: str | None, source: str, rate: float) -> argparse.ArgumentParser:
    """Parser with the options of any training.

    `source` names the argument with the training data.
    """
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
    """Training device, a GPU if there is one.

    Also sets the seed and the rounding of products.
    """
    torch.manual_seed(seed)
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def leave_default_stream(device: torch.device) -> None:
    """Leave a GPU's default stream, which graphs cannot capture."""
    if device.type == "cuda":
        torch.cuda.set_stream(torch.cuda.Stream(device))


def falling(done: float, least: float) -> float:
    """Cosine factor from 1 to `least` as `done` reaches 1."""
    return least + (1 - least) * (0.5 + 0.5 * math.cos(math.pi * done))


def elapsing(minutes: float) -> Iterator[float]:
    """Share of `minutes` that has passed, up to all."""
    start = time.monotonic()
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        yield done
