"""The codec that checkpoints have in common: where its files are the same, its weights are held once."""

from collections.abc import Callable, Mapping
from hashlib import file_digest
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from engine.checkpoint.hub import weight_files

Weights = Mapping[str, Tensor]
Decoder = TypeVar("Decoder")


class SharedCodecs:
    """Lives while the engines of one process are built, all for one device. Not safe across threads."""

    def __init__(self) -> None:
        self._weights: dict[tuple[bytes, ...], Weights] = {}
        self._decoders: dict[int, tuple[Weights, Any]] = {}  # by identity of the weights, which it keeps alive

    def weights(self, folder: Path, load: Callable[[], Weights]) -> Weights:
        """The tensors of a speech tokenizer's folder: those of an equal one, or what `load` returns."""
        digests = tuple(_digest(folder / name) for name in ("config.json", *weight_files(folder)))
        if digests not in self._weights:
            self._weights[digests] = load()
        return self._weights[digests]

    def decoder(self, weights: Weights, make: Callable[[], Decoder]) -> Decoder:
        """The decoder of these weights, which holds no state of any stream."""
        if id(weights) not in self._decoders:
            self._decoders[id(weights)] = weights, make()
        decoder: Decoder = self._decoders[id(weights)][1]
        return decoder


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return file_digest(file, "sha256").digest()
