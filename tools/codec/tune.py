"""`tune`: candidate tiles of every product, checked for results, timed.

Its tables are for engine/ops/triton/codec/tiles.py.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from triton import OutOfResources

from engine.ops.triton.codec.decoder import FusedCodecDecoder
from engine.ops.triton.codec.ops import CodecOps
from engine.ops.triton.codec.tiles import MORE, Table, Tile
from tools.codec.calls import Call, Product, recorded
from tools.codec.candidates import candidates
from tools.codec.decoder import DEVICE, SLOTS, Shape, fused, random_codes
from tools.codec.exact import LEAST, ratio
from tools.codec.replay import microseconds

SHAPES: tuple[Shape, ...] = ((1, 1), (8, 1), (32, 1), (32, 4), (32, 12))
TABLES = ("CONV", "UNIT", "LINEAR")
COLD_BYTES = 100 << 20  # weights cycle through more than the L2 cache, as they do in a whole decode
LAUNCHES = 24


class Timed(NamedTuple):
    """Microseconds of a launch with a tile."""

    used: float
    tile: Tile


Found = dict[Product, list[Timed]]  # of each the fastest first


def run(tables: Sequence[str], out: Path | None) -> None:
    """Measure into `out`, print the tables, use them from here."""
    decoder = fused()
    found: Found = {}
    for product, call in sorted(products(decoder, tables).items()):
        times = [Timed(timed(decoder.ops, call, tile), tile) for tile in right_ones(decoder.ops, product, call)]
        if times:
            found[product] = sorted(times, key=lambda one: one.used)
            report(product, found[product])
    if out:
        rows = [
            [*product, *dataclasses.astuple(tile), used] for product, times in found.items() for used, tile in times
        ]
        out.write_text("\n".join(json.dumps(row) for row in rows))
    for name in tables:
        adopt(name, found)


def products(decoder: FusedCodecDecoder, tables: Sequence[str]) -> dict[Product, Call]:
    """Products to tune: those of `tables` in decodes of SHAPES.

    Each comes with a call that has it.
    """
    state = decoder.new_state(SLOTS, DEVICE, decoder.dtype)
    found: dict[Product, Call] = {}
    for shape in SHAPES:
        for call, _ in recorded(decoder, state, random_codes(*shape), torch.arange(shape[0], device=DEVICE)):
            if call.product and call.product.table in tables:
                found.setdefault(call.product, call)
    return found


def right_ones(ops: CodecOps, product: Product, call: Call) -> list[Tile]:
    """Candidates that fit the device with right results.

    Right is what plain maths computes; the others are printed.
    """
    return [tile for tile in candidates(product) if is_right(ops, product, call, tile)]


def is_right(ops: CodecOps, product: Product, call: Call, tile: Tile) -> bool:
    """Whether a launch with `tile` succeeds near plain maths."""
    try:
        found = ratio(call, call.run(ops, tile=tile))
    except OutOfResources as error:
        print(f"left out: {product} {tile}: {error}", flush=True)
        return False
    if found < LEAST:
        print(f"left out, WRONG: {product} {tile}: {found:.1f} dB", flush=True)
    return found >= LEAST


def timed(ops: CodecOps, call: Call, tile: Tile) -> float:
    """Microseconds a launch, weights cold."""
    calls = cold(call)

    def launches() -> None:
        for i in range(LAUNCHES):
            calls[i % len(calls)].run(ops, tile=tile)

    launches()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launches()
    return microseconds(graph.replay, 5) / LAUNCHES


def cold(call: Call) -> list[Call]:
    """Calls over copies of its weights, too large for caches.

    A unit's weights are small enough to be warm in a decode too.
    """
    if call.method == "unit":
        return [call]
    layer: Any = call.args[1]
    names = [name for name in ("weight", "high", "low") if hasattr(layer, name)]
    count = min(LAUNCHES, max(2, COLD_BYTES // sum(getattr(layer, name).nbytes for name in names)))
    copies = [dataclasses.replace(layer, **{n: getattr(layer, n).clone() for n in names}) for _ in range(count)]
    return [dataclasses.replace(call, args=(call.args[0], copy, *call.args[2:])) for copy in copies]


def report(product: Product, times: Sequence[Timed]) -> None:
    """Best tile, its rate, the times of the next ones."""
    depth = product.depth * (8 if product.table == "UNIT" else 1)  # seven taps and one
    used, tile = times[0]
    rate = 2e-6 * product.positions * depth * product.width / used
    others = " ".join(f"{other.used:.1f}" for other in times[1:4])
    print(f"{product!s:28} {used:7.1f} us {rate:6.0f} TFLOP/s {dataclasses.astuple(tile)} then {others}", flush=True)


def adopt(name: str, found: Found) -> None:
    """Print one table; put it in place."""
    table: Table = {}
    for product, times in sorted(found.items()):
        if product.table == name:
            shape = product.depth, product.width
            table[shape] = (*table.get(shape, ()), (product.positions, times[0].tile))
    print(f"{name}: Table = {{")
    for shape, tiles in table.items():
        *some, (_, last) = tiles
        entries = [*((str(most), tile) for most, tile in some), ("MORE", last)]
        print(f"    {shape}: ({', '.join(f'({most}, Tile{dataclasses.astuple(tile)})' for most, tile in entries)},),")
        getattr(tiles, name)[shape] = (*some, (MORE, last))
    print("}")
