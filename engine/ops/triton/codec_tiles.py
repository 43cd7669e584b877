"""Tile sizes of the codec's products, measured on an H100 (tools/bench_codec.py, tune); any tile computes the same.

No tile is so small that warps would have to repeat each other's work (fewer than 64 rows for 8 warps, or 32 columns for
4 on 16 rows). Decodes with a residual unit of 64 rows and 8 warps were noise on a device, though the kernel's PTX is
right: its matrix instructions are the only ones that ptxas has to put in order by itself (warning C7515).
"""

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


Table = dict[tuple[int, int], tuple[tuple[int, Tile], ...]]  # (depth, width) -> most positions and their tile

MORE = 1 << 30  # positions: the last tile of a shape is for all that are more

CONV: Table = {
    (384, 288): (
        (640, Tile(64, 64, 64, 1, 4, 4)),
        (MORE, Tile(128, 64, 64, 1, 4, 4)),
    ),
    (384, 384): (
        (160, Tile(32, 64, 128, 1, 4, 3)),
        (1280, Tile(128, 64, 64, 1, 4, 4)),
        (5120, Tile(64, 128, 64, 1, 4, 4)),
        (MORE, Tile(128, 64, 64, 1, 4, 4)),
    ),
    (768, 768): (
        (32, Tile(32, 32, 128, 1, 4, 4)),
        (256, Tile(64, 64, 64, 1, 4, 5)),
        (4096, Tile(64, 64, 64, 1, 4, 4)),
        (5120, Tile(128, 128, 64, 1, 4, 3)),
        (12288, Tile(128, 64, 64, 1, 4, 4)),
        (MORE, Tile(128, 128, 64, 1, 4, 3)),
    ),
    (3072, 2048): (
        (1, Tile(16, 64, 128, 1, 4, 4)),
        (16, Tile(16, 32, 128, 1, 4, 4)),
        (32, Tile(32, 32, 128, 1, 4, 4)),
        (64, Tile(64, 64, 64, 1, 4, 4)),
        (384, Tile(64, 64, 64, 1, 4, 5)),
        (MORE, Tile(128, 64, 64, 1, 4, 4)),
    ),
    (1024, 4096): (
        (2, Tile(16, 64, 64, 1, 4, 5)),
        (4, Tile(16, 64, 128, 1, 4, 4)),
        (16, Tile(16, 64, 64, 1, 4, 5)),
        (32, Tile(32, 64, 128, 1, 4, 4)),
        (64, Tile(64, 64, 64, 1, 4, 4)),
        (256, Tile(64, 64, 64, 1, 4, 5)),
        (512, Tile(128, 64, 64, 1, 4, 4)),
        (MORE, Tile(128, 128, 64, 1, 8, 3)),
    ),
    (4608, 512): (
        (8, Tile(16, 32, 128, 4, 4, 4)),
        (32, Tile(32, 64, 128, 4, 4, 4)),
        (128, Tile(64, 64, 64, 4, 4, 5)),
        (MORE, Tile(64, 64, 64, 2, 4, 5)),
    ),
    (1536, 1920): (
        (32, Tile(32, 32, 128, 1, 4, 4)),
        (256, Tile(64, 64, 64, 2, 4, 5)),
        (1024, Tile(128, 64, 64, 1, 4, 4)),
        (MORE, Tile(128, 128, 64, 1, 4, 3)),
    ),
    (2688, 384): (
        (160, Tile(64, 64, 64, 2, 4, 5)),
        (1280, Tile(128, 64, 64, 1, 4, 4)),
        (5120, Tile(64, 128, 64, 1, 4, 4)),
        (MORE, Tile(128, 128, 64, 1, 4, 3)),
    ),
    (3072, 6144): (
        (4, Tile(16, 64, 128, 4, 4, 4)),
        (32, Tile(16, 64, 128, 2, 4, 4)),
        (128, Tile(64, 64, 64, 1, 4, 5)),
        (512, Tile(128, 64, 64, 1, 4, 4)),
        (MORE, Tile(128, 256, 64, 1, 8, 3)),
    ),
    (4096, 1024): (
        (2, Tile(16, 64, 64, 4, 4, 5)),
        (4, Tile(16, 64, 128, 4, 4, 4)),
        (16, Tile(16, 64, 64, 4, 4, 5)),
        (32, Tile(32, 32, 128, 8, 4, 4)),
        (64, Tile(64, 64, 64, 4, 4, 4)),
        (256, Tile(64, 64, 64, 4, 4, 5)),
        (512, Tile(64, 64, 64, 2, 4, 5)),
        (768, Tile(64, 128, 64, 2, 4, 4)),
        (MORE, Tile(128, 64, 64, 1, 4, 4)),
    ),
    (5376, 768): (
        (32, Tile(16, 64, 128, 8, 4, 4)),
        (256, Tile(64, 64, 64, 4, 4, 5)),
        (1024, Tile(64, 128, 64, 2, 4, 4)),
        (MORE, Tile(128, 256, 64, 1, 8, 3)),
    ),
    (21504, 1536): (
        (32, Tile(16, 64, 128, 8, 4, 4)),
        (128, Tile(64, 64, 64, 4, 4, 5)),
        (512, Tile(128, 64, 64, 2, 4, 4)),
        (MORE, Tile(128, 256, 64, 1, 8, 3)),
    ),
}
UNIT: Table = {
    (96, 96): (
        (1920, Tile(64, 96, 64, 1, 4, 3)),
        (MORE, Tile(64, 96, 32, 1, 4, 4)),
    ),
    (192, 192): (
        (640, Tile(16, 192, 64, 1, 4, 4)),
        (5120, Tile(32, 192, 64, 1, 4, 3)),
        (MORE, Tile(64, 192, 64, 1, 4, 3)),
    ),
}
LINEAR: Table = {
    (512, 1024): (
        (32, Tile(16, 32, 128, 1, 4, 3)),
        (MORE, Tile(64, 32, 64, 1, 4, 4)),
    ),
    (512, 3072): (
        (32, Tile(16, 64, 64, 1, 4, 3)),
        (128, Tile(64, 32, 64, 1, 4, 4)),
        (MORE, Tile(64, 64, 64, 1, 4, 3)),
    ),
    (1024, 512): (
        (32, Tile(16, 32, 128, 1, 4, 3)),
        (MORE, Tile(64, 32, 128, 1, 4, 3)),
    ),
}


def conv_tile(positions: int, depth: int, width: int) -> Tile:
    """The tile for a product of `positions` x `depth` x `width`."""
    return _measured(CONV, positions, depth, width) or _guessed(positions, depth, width)


def unit_tile(positions: int, channels: int) -> Tile:
    """The tile of a fused residual unit."""
    return _measured(UNIT, positions, channels, channels) or _guessed_unit(positions, channels)


def linear_tile(positions: int, depth: int, width: int) -> Tile:
    """The tile of a transformer's product."""
    return _measured(LINEAR, positions, depth, width) or _guessed_linear(positions)


def _guessed_linear(positions: int) -> Tile:
    if positions > 64:
        return Tile(64, 64, 64, 1, 4, 3)
    return Tile(16 if positions <= 16 else 32, 32, 128, 1, 4, 4)


def _measured(table: Table, positions: int, depth: int, width: int) -> Tile | None:
    return next((tile for most, tile in table.get((depth, width), ()) if positions <= most), None)


def _guessed_unit(positions: int, channels: int) -> Tile:
    if positions <= 4096:
        return Tile(32, channels, 64, 1, 4, 3)
    return Tile(64, channels, 64, 1, 4, 3)


def _guessed(positions: int, depth: int, width: int) -> Tile:
    if positions >= 4096 and width % 128 == 0:
        return Tile(128, 128, 64, 1, 8, 3)
    rows = 16 if positions <= 16 else 32 if positions <= 32 else 64
    tiles = triton.cdiv(positions, rows) * triton.cdiv(width, 64)
    return Tile(rows, 64, 64, max(1, min(8, 264 // tiles, depth // 512)))
