"""Tensors of a checkpoint by name: the part of a mapping that lies under a prefix."""

from collections.abc import Mapping

from torch import Tensor

Tensors = Mapping[str, Tensor]


def under(weights: Tensors, prefix: str) -> dict[str, Tensor]:
    """The tensors named `prefix.rest`, as `rest`."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
