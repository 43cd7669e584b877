"""Chunks of one size as one codec call."""

from collections.abc import Iterable, Sequence

from engine.api.types import Pcm
from engine.scheduler.batch import Chunk
from engine.scheduler.chunk_policy import fit


def by_size(chunks: Iterable[Chunk]) -> dict[int, list[int]]:
    """Positions of the chunks that share a codec call, by its size."""
    positions: dict[int, list[int]] = {}
    for position, chunk in enumerate(chunks):
        positions.setdefault(fit(chunk.count), []).append(position)
    return positions


def in_order(calls: Iterable[tuple[Sequence[int], Pcm]]) -> list[Pcm]:
    """Audio of all chunks by position, from each call's positions and audio (chunks, samples)."""
    audio: dict[int, Pcm] = {}
    for positions, pcm in calls:
        audio.update(zip(positions, pcm, strict=True))
    return [audio[position] for position in range(len(audio))]
