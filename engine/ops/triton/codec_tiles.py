"""Tile sizes of the codec's products, measured on one H100 (`tools/bench_codec.py --tune`); any tile computes the same."""

from dataclasses import dataclass

import triton


@dataclass(frozen=True, slots=True)
class Tile:
    """A kernel's tile: rows, columns, depth; programs that share the depth; warps and pipeline stages."""

    rows: int
    columns: int
    depth: int
    split: int = 1
    warps: int = 4
    stages: int = 4


Table = dict[tuple[int, int], tuple[tuple[int, Tile], ...]]  # (depth, width) -> tiles by the most positions they are for

CONV: Table = {}
UNIT: Table = {}
NORM: Table = {}


def conv_tile(positions: int, depth: int, width: int) -> Tile:
    """The tile for a product of `positions` x `depth` x `width`."""
    return _measured(CONV, positions, depth, width) or _guessed(positions, depth, width)


def unit_tile(positions: int, channels: int) -> Tile:
    """The tile of a fused residual unit."""
    return _measured(UNIT, positions, channels, channels) or _guessed_unit(positions, channels)


def norm_tile(positions: int, depth: int, width: int) -> Tile:
    """The tile of a product with a norm before it."""
    rows = 16 if positions <= 16 else 32 if positions <= 32 else 64
    return _measured(NORM, positions, depth, width) or Tile(rows, 32, 128)


def _measured(table: Table, positions: int, depth: int, width: int) -> Tile | None:
    return next((tile for most, tile in table.get((depth, width), ()) if positions <= most), None)


def _guessed_unit(positions: int, channels: int) -> Tile:
    if positions <= 4096:
        return Tile(32, channels, 64, 1, 4, 3)
    return Tile(128, channels, 64, 1, 8, 3) if channels <= 192 else Tile(64, channels, 64, 1, 8, 2)


def _guessed(positions: int, depth: int, width: int) -> Tile:
    if positions >= 4096 and width % 128 == 0:
        return Tile(128, 128, 64, 1, 8, 3)
    rows = 16 if positions <= 16 else 32 if positions <= 32 else 64
    tiles = triton.cdiv(positions, rows) * triton.cdiv(width, 64)
    return Tile(rows, 64, 64, max(1, min(8, 264 // tiles, depth // 512)))
