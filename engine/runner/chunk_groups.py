"""Chunks of one size as one codec call."""

from collections.abc import Iterable, Sequence

from engine.api.types import Pcm
from engine.scheduler.batch import Chunk
from engine.scheduler.chunk_policy import fit


def by_size(chunks: Iterable[Chunk]) -> dict[int, list[int]]:
    """Positions of chunks of one size, by size.

    They share a codec call.
    """
    positions: dict[int, list[int]] = {}
    for position, chunk in enumerate(chunks):
        positions.setdefault(fit(chunk.count), []).append(position)
    return positions


def in_order(calls: Iterable[tuple[Sequence[int], Pcm]]) -> list[Pcm]:
    """Audio of all chunks by position.

    `calls`: positions with audio (chunks, samples) of each.
    """
    audio: dict[int, Pcm] = {}
    for positions, pcm in calls:
        audio.update(zip(positions, pcm, strict=True))
    return [audio[position] for position in range(len(audio))]
