"""Tensors of a checkpoint by name."""

from collections.abc import Mapping

from torch import Tensor

from engine.api.errors import CheckpointError

Tensors = Mapping[str, Tensor]


def check_shapes(where: object, shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `CheckpointError` for a tensor of another shape than `expected`.

    Absent ones pass.
    `where`: the tensors' folder, for the message.
    """
    wrong = [name for name, shape in expected.items() if shapes.get(name, shape) != shape]
    if wrong:
        found, wanted = list(shapes[wrong[0]]), list(expected[wrong[0]])
        more = f", and so do {len(wrong) - 1} more" if wrong[1:] else ""
        raise CheckpointError(f"{where}: {wrong[0]} has shape {found} where config.json gives {wanted}{more}")


def under(weights: Tensors, prefix: str) -> dict[str, Tensor]:
    """Tensors named `prefix.rest`, as `rest`."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
