"""Tiles worth trying for a product.

Left out are those in which warps repeat each other's work or registers spill by the hundred.
"""

from collections.abc import Iterator

from engine.ops.triton.codec.tiles import MORE, Tile
from tools.codec.calls import Product

Sizes = tuple[int, int, int, int, int]  # rows, columns, depth, warps, stages

_LINEAR = ((32, 128, 4, 3), (32, 64, 4, 4), (64, 64, 4, 3))  # columns, depth, warps, stages

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
    (16, ((16, 64, 64, 4, 5), (16, 64, 128, 4, 4), (16, 32, 128, 4, 4), (16, 128, 64, 4, 4))),
    (
        64,
        (
            (16, 64, 128, 4, 4),
            (32, 64, 64, 4, 5),
            (32, 64, 128, 4, 4),
            (32, 32, 128, 4, 4),
            (64, 64, 64, 4, 4),
            (64, 128, 64, 4, 4),
        ),
    ),
    (
        512,
        (
            (32, 64, 128, 4, 3),
            (64, 64, 64, 4, 5),
            (64, 128, 64, 4, 4),
            (128, 64, 64, 4, 4),
            (128, 128, 64, 8, 3),
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
    for rows in (16,) if positions <= 16 else (16, 32) if positions <= 32 else (32, 64):
        for columns, depth, warps, stages in _LINEAR:
            yield Tile(rows, columns, depth, 1, warps, stages)


def _of_unit(product: Product) -> Iterator[Tile]:
    for rows, depth, warps, stages in _UNIT[product.width, _FEW if product.positions <= _FEW else MORE]:
        yield Tile(rows, product.width, depth, 1, warps, stages)


def _of_conv(product: Product) -> Iterator[Tile]:
    _, depth, width, positions = product
    shapes = next(shapes for most, shapes in _CONV if positions <= most)
    for rows, columns, deep, warps, stages in shapes:
        if -(-width // 64) * 64 % columns:
            continue
        tiles = -(-positions // rows) * -(-width // columns)
        for split in (1, 2, 4, 8):
            if split == 1 or (tiles * split <= 400 and depth // split >= 256):
                yield Tile(rows, columns, deep, split, warps, stages)
