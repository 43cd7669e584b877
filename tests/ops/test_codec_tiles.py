"""The tables of the codec's tiles hold what its kernels can run, and nothing that is wrong on a device."""

from itertools import pairwise

import pytest

from engine.ops.triton.codec.support import FUSED_CHANNELS
from engine.ops.triton.codec.tiles import CONV, LINEAR, MORE, UNIT, Table, conv_tile, largest_power_below, unit_tile


@pytest.mark.parametrize("table", [CONV, UNIT, LINEAR], ids=["conv", "unit", "linear"])
def test_a_table_has_a_tile_for_any_number_of_positions(table: Table) -> None:
    for tiles in table.values():
        bounds = [most for most, _ in tiles]
        assert all(low < high for low, high in pairwise(bounds))
        assert bounds[-1] == MORE


@pytest.mark.parametrize("channels", range(32, FUSED_CHANNELS + 1, 16))
def test_no_tile_of_a_unit_is_one_for_wgmma(channels: int) -> None:
    """With wgmma that kernel is wrong on a device."""
    bounds = [most for most, _ in UNIT.get((channels, channels), ())]
    for positions in (1, *bounds, *(most + 1 for most in bounds), 1 << 20):
        tile = unit_tile(positions, channels)
        assert not tile.wgmma
        assert tile.columns == channels


def test_tiles_of_64_rows_and_four_warps_are_for_wgmma() -> None:
    assert conv_tile(64, 768, 768).wgmma
    assert not conv_tile(16, 768, 768).wgmma


def test_a_unit_has_two_blocks_of_columns() -> None:
    assert [largest_power_below(channels) for channels in (32, 48, 96, 128, 192)] == [16, 32, 64, 64, 128]
