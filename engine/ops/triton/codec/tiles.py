"""Tile sizes of the codec's products, measured on an H100.

By `python -m tools.codec tune`; any computes the same.
Those of UNIT are checked but not tuned: no warp repeats another's work, and hardly a register is spilled. A unit's tile
must not be one for which Triton takes wgmma: with the left side of its second product in the registers of a wgmma the
kernel comes out wrong on a device, though its PTX is right (9.7 dB for 96 channels); with mma.sync it is right
(73.6 dB). The other products are right with either.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Tile:
    """Tile of a kernel: rows, columns, depth, warps, pipeline stages."""

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 4

    def fitted(self, stage: int, shared: int) -> "Tile":
        """Tile that `shared` bytes of shared memory hold.

        As it is, or of fewer stages, of `stage` bytes each.
        """
        return self if self.stages * stage <= shared else replace(self, stages=max(2, shared // stage))

    @property
    def wgmma(self) -> bool:
        """Whether Triton uses wgmma for such tiles.

        wgmma is Hopper's instruction for four warps; otherwise mma.sync.
        """
        return self.rows >= 64 and self.warps % 4 == 0


Table = dict[tuple[int, int], tuple[tuple[int, Tile], ...]]  # (depth, width) -> most positions and their tile

# Of all tiles of the transformer, so that its three products a chunk add up in one order. So do the squares of its norm
# while a tile is for mma.sync and not square at 64, where Triton hands a thread eight values instead of four.
LINEAR_DEPTH = 64
LEAST = 16  # rows, columns and depth of a matrix product's operands
MORE = 1 << 30  # positions: the last tile of a shape is for all that are more

CONV: Table = {
    (384, 288): (
        (640, Tile(64, 64, 64, 4, 4)),
        (MORE, Tile(128, 64, 64, 4, 4)),
    ),
    (384, 384): (
        (160, Tile(32, 32, 128, 4, 5)),
        (1280, Tile(64, 128, 64, 4, 4)),
        (5120, Tile(128, 64, 64, 4, 4)),
        (10240, Tile(64, 128, 64, 4, 4)),
        (MORE, Tile(64, 64, 64, 4, 4)),
    ),
    (768, 768): (
        (32, Tile(32, 16, 256, 4, 5)),
        (160, Tile(64, 64, 128, 4, 4)),
        (256, Tile(64, 32, 128, 4, 6)),
        (4096, Tile(64, 64, 64, 4, 4)),
        (20480, Tile(128, 128, 64, 4, 3)),
        (24576, Tile(128, 64, 64, 4, 4)),
        (MORE, Tile(128, 128, 64, 4, 3)),
    ),
    (1024, 4096): (
        (16, Tile(16, 32, 256, 4, 6)),
        (32, Tile(32, 32, 256, 4, 5)),
        (64, Tile(64, 32, 128, 4, 5)),
        (128, Tile(64, 64, 128, 4, 4)),
        (256, Tile(64, 64, 64, 4, 5)),
        (512, Tile(128, 64, 64, 4, 4)),
        (MORE, Tile(128, 128, 64, 8, 3)),
    ),
    (1536, 1920): (
        (32, Tile(32, 32, 256, 4, 5)),
        (256, Tile(64, 64, 128, 4, 4)),
        (1024, Tile(128, 64, 64, 4, 4)),
        (MORE, Tile(128, 128, 64, 4, 3)),
    ),
    (2688, 384): (
        (160, Tile(64, 32, 128, 4, 6)),
        (1280, Tile(128, 64, 64, 4, 4)),
        (5120, Tile(64, 128, 64, 4, 4)),
        (MORE, Tile(128, 128, 64, 4, 3)),
    ),
    (3072, 2048): (
        (16, Tile(16, 16, 512, 4, 5)),
        (32, Tile(32, 32, 256, 4, 5)),
        (64, Tile(64, 32, 128, 4, 5)),
        (128, Tile(64, 32, 128, 4, 6)),
        (256, Tile(64, 64, 128, 4, 4)),
        (768, Tile(128, 64, 64, 4, 4)),
        (MORE, Tile(128, 256, 64, 8, 3)),
    ),
    (3072, 6144): (
        (4, Tile(16, 64, 128, 4, 4)),
        (32, Tile(32, 32, 128, 4, 5)),
        (128, Tile(64, 64, 64, 4, 5)),
        (512, Tile(128, 64, 64, 4, 4)),
        (MORE, Tile(128, 256, 64, 8, 3)),
    ),
    (4096, 1024): (
        (16, Tile(16, 16, 512, 4, 5)),
        (32, Tile(32, 16, 256, 4, 5)),
        (64, Tile(64, 16, 128, 4, 6)),
        (256, Tile(64, 32, 128, 4, 6)),
        (512, Tile(64, 64, 128, 4, 4)),
        (1536, Tile(128, 64, 64, 4, 4)),
        (MORE, Tile(128, 256, 64, 8, 3)),
    ),
    (4608, 512): (
        (8, Tile(16, 16, 512, 4, 5)),
        (32, Tile(32, 16, 256, 4, 5)),
        (64, Tile(64, 16, 128, 4, 6)),
        (128, Tile(64, 32, 128, 4, 6)),
        (MORE, Tile(64, 64, 64, 4, 5)),
    ),
    (5376, 768): (
        (32, Tile(16, 32, 256, 4, 5)),
        (256, Tile(64, 32, 128, 4, 6)),
        (1024, Tile(64, 64, 64, 4, 4)),
        (2048, Tile(128, 64, 64, 4, 4)),
        (MORE, Tile(128, 256, 64, 8, 3)),
    ),
    (21504, 1536): (
        (4, Tile(16, 16, 512, 4, 5)),
        (32, Tile(32, 16, 256, 4, 5)),
        (128, Tile(64, 32, 128, 4, 6)),
        (256, Tile(64, 64, 128, 4, 4)),
        (512, Tile(64, 64, 64, 4, 5)),
        (MORE, Tile(128, 256, 64, 8, 3)),
    ),
}
UNIT: Table = {
    (96, 96): (
        (3840, Tile(16, 96, 64, 4, 3)),
        (30720, Tile(32, 96, 64, 2, 3)),
        (MORE, Tile(64, 96, 64, 2, 3)),
    ),
    (192, 192): (
        (640, Tile(16, 192, 64, 4, 4)),
        (MORE, Tile(32, 192, 64, 4, 3)),
    ),
}
LINEAR: Table = {
    (512, 1024): (
        (32, Tile(16, 32, LINEAR_DEPTH, 4, 5)),
        (MORE, Tile(32, 32, LINEAR_DEPTH, 4, 5)),
    ),
    (512, 3072): (
        (32, Tile(16, 64, LINEAR_DEPTH, 4, 3)),
        (MORE, Tile(32, 32, LINEAR_DEPTH, 4, 4)),
    ),
    (1024, 512): (
        (32, Tile(16, 32, LINEAR_DEPTH, 4, 5)),
        (MORE, Tile(32, 32, LINEAR_DEPTH, 4, 5)),
    ),
}


def conv_tile(positions: int, depth: int, width: int) -> Tile:
    """Tile of a product `positions` x `depth` x `width`."""
    return _measured(CONV, positions, depth, width) or _guessed(positions, width)


def unit_tile(positions: int, channels: int) -> Tile:
    """Tile of a fused residual unit."""
    return _measured(UNIT, positions, channels, channels) or Tile(32, channels, 64, 2, 3)


def linear_tile(positions: int, depth: int, width: int) -> Tile:
    """Tile of a transformer's product."""
    return _measured(LINEAR, positions, depth, width) or _guessed_linear(positions)


def _guessed_linear(positions: int) -> Tile:
    return Tile(16 if positions <= 16 else 32, 32, LINEAR_DEPTH, 4, 5)


def _measured(table: Table, positions: int, depth: int, width: int) -> Tile | None:
    return next((tile for most, tile in table.get((depth, width), ()) if positions <= most), None)


def _guessed(positions: int, width: int) -> Tile:
    if positions >= 4096 and width % 128 == 0:
        return Tile(128, 128, 64, 8, 3)
    rows = 16 if positions <= 16 else 32 if positions <= 32 else 64
    return Tile(rows, 16 if positions <= 16 else 32, 128) if positions <= 256 else Tile(64, 64, 64)


def largest_power_below(n: int) -> int:
    """Largest power of two smaller than n.

    A unit's first block of columns; the rest is its second.
    """
    return 1 << ((n - 1).bit_length() - 1)
