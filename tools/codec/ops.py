"""`ops`: each operation of a decode against plain maths.

Kernels that overlap and kernels in order; two calls in a row of every shape. Prints the whole decode against the plain
decoder, then every operation, its tile, and which are wrong.
"""

import math
from typing import Any

import torch

from engine.model.codec.decoder import CodecDecoder
from engine.ops.triton.codec.decoder import FusedCodecDecoder
from engine.ops.triton.launch import overlap
from tools.codec.calls import Call, recorded
from tools.codec.decoder import DEVICE, SLOTS, Shape, fused, random_codes, sizes, weights
from tools.codec.exact import LEAST, decibels, ratio

SHAPES: tuple[Shape, ...] = ((1, 1), (4, 1), (6, 1), (32, 1), (4, 4), (32, 4), (3, 12), (32, 12))
Worst = dict[str, dict[str, float]]  # dB of each operation, by its sizes and tile, for each way of launching


def ways() -> dict[str, dict[str, bool]]:
    """Options of launches."""
    overlapping = {"as launched": overlap(torch.device(DEVICE))} if DEVICE == "cuda" else {}
    return overlapping | {"in order": {"OVERLAP": False}}


def run(shapes: tuple[Shape, ...]) -> None:
    """Compare shape by shape, then the table."""
    on_device = weights()
    plain, decoder = CodecDecoder(sizes(), on_device), fused(on_device)
    worst: Worst = {}
    for shape in shapes:
        compare(decoder, plain, shape, worst)
    print(f"the worst of each operation, {', '.join(ways())}:")
    for name, row in worst.items():
        wrong = "  WRONG" if min(row.values()) < LEAST else ""
        print(f"  {' '.join(f'{value:6.1f}' for value in row.values())} dB  {name}{wrong}", flush=True)


def compare(decoder: FusedCodecDecoder, plain: CodecDecoder, shape: Shape, worst: Worst) -> None:
    """Two calls in a row for each way of launching.

    The second runs over the first one's memory.
    """
    slots = torch.arange(shape[0], device=DEVICE)
    codes = [random_codes(*shape) for _ in range(2)]
    state = plain.new_state(SLOTS, DEVICE, plain.dtype)
    wanted = [plain.forward(part, state, slots) for part in codes]
    for way, launch in ways().items():
        decoder.ops.launch = launch
        state = decoder.new_state(SLOTS, DEVICE, decoder.dtype)
        whole = []
        for part, exact in zip(codes, wanted, strict=True):
            poison()
            calls = recorded(decoder, state, part, slots)
            whole.append(decibels(calls[-1][1], exact))
            for call, result in calls:
                add(worst, way, call, result)
        print(f"{way}, {shape[0]} x {shape[1]} twice: {whole[0]:.1f}, {whole[1]:.1f} dB against plain fp32", flush=True)


def add(worst: Worst, way: str, call: Call, result: Any) -> None:
    """Compare a call's result with plain maths."""
    row = worst.setdefault(f"{call!s:28} {call.product.tile if call.product else ''}", {})
    row[way] = min(ratio(call, result), row.get(way, math.inf))


def poison() -> None:
    """Leave NaN in memory that the next tensors get.

    What no kernel wrote must not be read.
    """
    if DEVICE == "cpu":
        return
    torch.full((1 << 28,), math.nan, device=DEVICE)
    for size in (1 << 10, 1 << 14, 1 << 17):
        [torch.full((size,), math.nan, device=DEVICE) for _ in range(64)]
