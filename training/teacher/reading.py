"""Flite, eSpeak NG on many cores, in the background."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.teacher import espeak, flite
from training.teacher.speakers import FLITE

_CHUNK = 64  # texts handed to a process at once


class Job(NamedTuple):
    """One text to read aloud.

    A synthesiser and its voice, the text, and the factor on all durations.
    """

    family: str
    voice: str
    text: str
    slowness: float


@contextmanager
def reading(folder: Path, jobs: Iterable[Job], processes: int) -> Iterator[Iterator[NDArray[np.int16]]]:
    """Samples of each job, in order, read in the background.

    `folder`: where flite is. The processes end with the context.
    """
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield pool.map(_read, [(folder, job) for job in jobs], chunksize=_CHUNK)


def _read(task: tuple[Path, Job]) -> NDArray[np.int16]:
    folder, job = task
    if job.family == FLITE:
        return flite.read(folder, job.voice, job.text, job.slowness)
    return espeak.read(job.voice, job.text, job.slowness)
