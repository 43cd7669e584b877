"""Tiles worth trying for a product.

Left out are those in which warps repeat each other's work or registers spill by the hundred.
"""

from collections.abc import Iterator

from engine.ops.triton.codec.tiles import LINEAR_DEPTH, MORE, Tile
from tools.codec.calls import Product

Sizes = tuple[int, int, int, int, int]  # rows, columns, depth, warps, stages

_LINEAR = ((32, 4, 5), (32, 4, 4), (32, 4, 3))  # columns, warps, stages

_FEW = 8192  # positions of a unit
_UNIT = {  # (channels, most positions) -> rows, depth, warps, stages; none that would be wgmma (see codec_tiles)
    (96, _FEW): (
        (16, 64, 4, 4),
        (16, 64, 4, 3),
        (16, 32, 4, 4),
        (16, 64, 2, 4),
        (32, 64, 2, 4),
        (32, 64, 2, 3),
        (32, 32, 2, 4),
        (64, 64, 2, 3),
    ),
    (96, MORE): (
        (16, 64, 4, 3),
        (32, 64, 2, 2),
        (32, 64, 2, 3),
        (32, 32, 2, 4),
        (64, 64, 2, 2),
        (64, 64, 2, 3),
        (64, 32, 2, 3),
        (64, 32, 2, 4),
    ),
    (192, _FEW): (
        (16, 64, 4, 4),
        (16, 64, 4, 3),
        (16, 32, 4, 4),
        (16, 64, 2, 3),
        (32, 64, 4, 3),
        (32, 32, 4, 4),
        (32, 64, 8, 3),
        (32, 64, 8, 4),
    ),
    (192, MORE): (
        (16, 64, 4, 3),
        (32, 64, 4, 2),
        (32, 64, 4, 3),
        (32, 32, 4, 3),
        (32, 32, 4, 4),
        (32, 64, 8, 2),
        (32, 64, 8, 3),
        (32, 32, 8, 4),
    ),
}

_CONV: tuple[tuple[int, tuple[Sizes, ...]], ...] = (  # most positions, and what to try
    (
        16,
        (
            (16, 16, 128, 4, 8),
            (16, 16, 256, 4, 5),
            (16, 16, 256, 4, 8),
            (16, 16, 512, 4, 5),
            (16, 32, 256, 4, 4),
            (16, 32, 256, 4, 6),
            (16, 64, 128, 4, 5),
        ),
    ),
    (
        64,
        (
            (16, 32, 256, 4, 5),
            (32, 16, 128, 4, 8),
            (32, 16, 256, 4, 5),
            (32, 32, 128, 4, 5),
            (32, 32, 256, 4, 5),
            (64, 16, 128, 4, 6),
            (64, 32, 128, 4, 5),
            (64, 64, 64, 4, 5),
        ),
    ),
    (
        512,
        (
            (32, 32, 128, 4, 5),
            (64, 32, 128, 4, 4),
            (64, 32, 128, 4, 6),
            (64, 64, 128, 4, 4),
            (128, 32, 128, 4, 4),
            (64, 64, 64, 4, 5),
            (64, 128, 64, 4, 4),
            (128, 64, 64, 4, 4),
        ),
    ),
    (
        MORE,
        (
            (64, 64, 64, 4, 4),
            (64, 128, 64, 4, 4),
            (128, 64, 64, 4, 4),
            (128, 128, 64, 8, 3),
            (128, 128, 64, 4, 3),
            (128, 256, 64, 8, 3),
            (64, 256, 64, 8, 3),
        ),
    ),
)


def candidates(product: Product) -> Iterator[Tile]:
    """Tiles of sizes that suit the product."""
    match product.table:
        case "CONV":
            return _of_conv(product)
        case "UNIT":
            return _of_unit(product)
        case _:
            return _of_linear(product)


def _of_linear(product: Product) -> Iterator[Tile]:
    positions = product.positions
    for rows in (16,) if positions <= 16 else (16, 32) if positions <= 32 else (32,):
        for columns, warps, stages in _LINEAR:
            yield Tile(rows, columns, LINEAR_DEPTH, warps, stages)


def _of_unit(product: Product) -> Iterator[Tile]:
    for rows, depth, warps, stages in _UNIT[product.width, _FEW if product.positions <= _FEW else MORE]:
        yield Tile(rows, product.width, depth, warps, stages)


def _of_conv(product: Product) -> Iterator[Tile]:
    width, positions = product.width, product.positions
    shapes = next(shapes for most, shapes in _CONV if positions <= most)
    for rows, columns, deep, warps, stages in shapes:
        if -(-width // 64) * 64 % columns:
            continue
        yield Tile(rows, columns, deep, warps, stages)
