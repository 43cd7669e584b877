"""Tensors of a checkpoint by name."""

from collections.abc import Mapping

from torch import Tensor

Tensors = Mapping[str, Tensor]


def under(weights: Tensors, prefix: str) -> dict[str, Tensor]:
    """Tensors named `prefix.rest`, as `rest`."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
