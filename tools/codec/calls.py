"""Operations of one decode: recorded, named by size, run again.

The record holds their arguments and results.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from engine.ops.codec import CodecState
from engine.ops.triton.codec.decoder import FusedCodecDecoder
from engine.ops.triton.codec.ops import CodecOps
from engine.ops.triton.codec.tiles import Tile, conv_tile, linear_tile, unit_tile

METHODS = ("embed", "conv", "unit", "linear", "attention", "depthwise_norm", "output_conv")


class Product(NamedTuple):
    """A product: the table that has its tile, its sizes."""

    table: str
    depth: int
    width: int
    positions: int

    @property
    def tile(self) -> Tile:
        """The tile that it runs with."""
        match self.table:
            case "CONV":
                return conv_tile(self.positions, self.depth, self.width)
            case "UNIT":
                return unit_tile(self.positions, self.depth)
            case _:
                return linear_tile(self.positions, self.depth, self.width)

    def __str__(self) -> str:
        return f"{self.table.lower()} {self.positions}x{self.depth}x{self.width}"


@dataclass(frozen=True)
class Call:
    """One operation with the arguments it had."""

    method: str
    args: tuple[Any, ...]
    options: dict[str, Any]

    def run(self, ops: CodecOps, **options: Any) -> Any:
        """Once more, with other options if need be."""
        return getattr(ops, self.method)(*self.args, **self.options | options)

    @property
    def product(self) -> Product | None:
        """What has a tile of its own."""
        match self.method:
            case "conv":
                x, conv, history = self.args[0], self.args[1], self.options.get("history")
                positions = x.shape[0] * (x.shape[1] - (history.length if history else 0))
                return Product("CONV", conv.depth, conv.width, positions)
            case "unit":
                streams, steps, channels = self.args[1].shape
                return Product("UNIT", channels, channels, streams * steps)
            case "linear":
                depth, columns = self.args[1].high.shape
                width = columns // 2 if self.options.get("gated") else columns
                return Product("LINEAR", depth, width, self.args[0].shape[0])
        return None

    def __str__(self) -> str:
        return str(self.product or self.method)


def recorded(decoder: FusedCodecDecoder, state: CodecState, codes: Tensor, slots: Tensor) -> list[tuple[Call, Any]]:
    """Operations of one decode with their results, in order."""
    calls: list[tuple[Call, Any]] = []
    ops = decoder.ops

    def recorder(method: str) -> Callable[..., Any]:
        original = getattr(ops, method)

        def run(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            calls.append((Call(method, args, options), result))
            return result

        return run

    for method in METHODS:
        setattr(ops, method, recorder(method))
    decoder.forward(codes, state, slots)
    for method in METHODS:
        delattr(ops, method)
    return calls
