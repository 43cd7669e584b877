"""Tile sizes of the codec's products, measured on an H100.

By `python -m tools.codec tune`; any computes the same.
Those of UNIT are checked but not tuned: no warp repeats another's work, and hardly a register is spilled. A unit's tile
must not be one for which Triton takes wgmma: with the left side of its second product in the registers of a wgmma the
kernel comes out wrong on a device, though its PTX is right (9.7 dB for 96 channels); with mma.sync it is right
(73.6 dB). The other products are right with either.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tile:
    """Tile of a kernel: rows, columns, depth.

    Then the programs that share the depth, warps, pipeline stages.
    """

    rows: int
    columns: int
    depth: int
    split: int = 1
    warps: int = 4
    stages: int = 4

    @property
    def wgmma(self) -> bool:
        """Whether Triton uses wgmma for such tiles.

        wgmma is Hopper's instruction for four warps; otherwise mma.sync.
        """
        return self.rows >= 64 and self.warps % 4 == 0


Table = dict[tuple[int, int], tuple[tuple[int, Tile], ...]]  # (depth, width) -> most positions and their tile

LEAST = 16  # rows, columns and depth of a matrix product's operands
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
        (3840, Tile(16, 96, 64, 1, 4, 3)),
        (30720, Tile(32, 96, 64, 1, 2, 3)),
        (MORE, Tile(64, 96, 64, 1, 2, 3)),
    ),
    (192, 192): (
        (640, Tile(16, 192, 64, 1, 4, 4)),
        (MORE, Tile(32, 192, 64, 1, 4, 3)),
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
    """Tile of a product `positions` x `depth` x `width`."""
    return _measured(CONV, positions, depth, width) or _guessed(positions, depth, width)


def unit_tile(positions: int, channels: int) -> Tile:
    """Tile of a fused residual unit."""
    return _measured(UNIT, positions, channels, channels) or Tile(32, channels, 64, 1, 2, 3)


def linear_tile(positions: int, depth: int, width: int) -> Tile:
    """Tile of a transformer's product."""
    return _measured(LINEAR, positions, depth, width) or _guessed_linear(positions)


def _guessed_linear(positions: int) -> Tile:
    if positions > 64:
        return Tile(64, 64, 64, 1, 4, 3)
    return Tile(16 if positions <= 16 else 32, 32, 128, 1, 4, 4)


def _measured(table: Table, positions: int, depth: int, width: int) -> Tile | None:
    return next((tile for most, tile in table.get((depth, width), ()) if positions <= most), None)


def _guessed(positions: int, depth: int, width: int) -> Tile:
    if positions >= 4096 and width % 128 == 0:
        return Tile(128, 128, 64, 1, 8, 3)
    rows = 16 if positions <= 16 else 32 if positions <= 32 else 64
    tiles = -(-positions // rows) * -(-width // 64)
    return Tile(rows, 64, 64, max(1, min(8, 264 // tiles, depth // 512)))


def largest_power_below(n: int) -> int:
    """Largest power of two smaller than n.

    A unit's first block of columns; the rest is its second.
    """
    return 1 << ((n - 1).bit_length() - 1)
