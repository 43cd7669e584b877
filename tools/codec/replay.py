"""CUDA graph of a decoder call, replayed with timing."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.parts.stopwatch import milliseconds
from engine.ops.codec import CodecState
from engine.ops.triton.codec.decoder import FusedCodecDecoder
from tools.codec.decoder import Shape, random_codes


class Captured(NamedTuple):
    """The graph with its inputs, its output."""

    graph: torch.cuda.CUDAGraph
    codes: Tensor
    slots: Tensor
    audio: Tensor


def captured(decoder: FusedCodecDecoder, state: CodecState, shape: Shape) -> Captured:
    """One call as a graph."""
    codes, slots = random_codes(*shape), torch.arange(shape[0], device="cuda")
    decoder.forward(codes, state, slots)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        audio = decoder.forward(codes, state, slots)
    return Captured(graph, codes, slots, audio)


def microseconds(replay: Callable[[], None], repeats: int = 20) -> float:
    """Median over `repeats` of one call's device time."""
    return 1e3 * milliseconds(replay, torch.device("cuda"), repeats)
