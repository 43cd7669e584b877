"""`compile`: kernels of the other steps, into the kernel cache.

Many processes each launch a share of them.
"""

import multiprocessing
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from triton import OutOfResources
from triton.runtime.jit import JITFunction

from engine.ops.triton.codec import support
from engine.ops.triton.codec.decoder import FusedCodecDecoder
from tools.codec import tune
from tools.codec.candidates import candidates
from tools.codec.decoder import SLOTS, Shape, fused, random_codes


@dataclass(frozen=True)
class Work:
    """Calls of these shapes, with all candidates of these tables."""

    shapes: tuple[Shape, ...]
    tables: Sequence[str]
    fused_channels: int


def run(processes: int, work: Work) -> None:
    """Compile all of it, in `processes` processes."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=compile_share, args=(i, processes, work)) for i in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@torch.inference_mode()
def compile_share(share: int, shares: int, work: Work) -> None:
    """Launch the kernels of `work` whose number falls to `share`."""
    JITFunction.run = only(share, shares)
    support.FUSED_CHANNELS = work.fused_channels
    decoder = fused()
    state = decoder.new_state(SLOTS, "cuda", decoder.dtype)
    for shape in work.shapes:
        codes, slots = random_codes(*shape), torch.arange(shape[0], device="cuda")
        decoder.forward(codes, state, slots)
    if work.tables:
        try_candidates(decoder, work.tables)
    torch.cuda.synchronize()


def only(share: int, shares: int) -> Callable[..., Any]:
    """Triton's launch, limited to kernels of this share.

    A kernel's number comes from its name and options.
    """
    launch = JITFunction.run

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        name = f"{self.fn.__name__} {sorted((key, str(value)) for key, value in options.items())}"
        if zlib.crc32(name.encode()) % shares == share:
            return launch(self, *args, grid=grid, warmup=warmup, **options)
        return None

    return run


def try_candidates(decoder: FusedCodecDecoder, tables: Sequence[str]) -> None:
    """Launch every candidate once.

    `tune` lists those that do not fit the device.
    """
    for product, call in tune.products(decoder, tables).items():
        for tile in candidates(product):
            try:
                call.run(decoder.ops, tile=tile)
            except OutOfResources:
                continue
