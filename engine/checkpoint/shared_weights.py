"""Codec weights, held once for equal files."""

from collections.abc import Callable
from hashlib import file_digest
from pathlib import Path
from typing import Any, TypeVar

from engine.checkpoint.hub import weight_files
from engine.checkpoint.tensors import Tensors

Decoder = TypeVar("Decoder")


class SharedCodecs:
    """Cache of codecs while a process builds its engines.

    All are for one device. Not safe across threads.
    """

    def __init__(self) -> None:
        self._weights: dict[tuple[bytes, ...], Tensors] = {}
        self._decoders: dict[int, tuple[Tensors, Any]] = {}  # by id of the weights, which are kept alive

    def weights(self, folder: Path, load: Callable[[], Tensors]) -> Tensors:
        """Tensors of a speech tokenizer's folder.

        Those of an equal one, or what `load` returns.
        """
        digests = tuple(_digest(folder / name) for name in ("config.json", *weight_files(folder)))
        if digests not in self._weights:
            self._weights[digests] = load()
        return self._weights[digests]

    def decoder(self, weights: Tensors, make: Callable[[], Decoder]) -> Decoder:
        """Decoder of these weights, which holds no stream's state."""
        if id(weights) not in self._decoders:
            self._decoders[id(weights)] = weights, make()
        decoder: Decoder = self._decoders[id(weights)][1]
        return decoder


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return file_digest(file, "sha256").digest()
