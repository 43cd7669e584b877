"""Time of the captured frame, of its two halves.

In the engine's own code with random weights of full size.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.parts.stopwatch import milliseconds
from engine.api.config import EngineConfig
from engine.checkpoint.config import DecoderConfig, ModelConfig
from engine.checkpoint.weights import dummy_checkpoint
from engine.model.predictor import Predictor
from engine.model.talker import Talker, TextTable
from engine.ops.base import LayerCache, Ops
from engine.ops.select import choose
from engine.runner.frame import FrameStage
from engine.runner.inputs import FIELDS
from engine.runner.slot_state import SlotState

DEVICE = torch.device("cuda")
BYTES_PER_SECOND = 3.04e12  # what plain streaming reads reach on an H100
CONTEXT = 60  # positions already in the cache: the prompt and half of a typical speech


@dataclass(frozen=True)
class Parts:
    """The parts of a frame."""

    config: ModelConfig
    state: SlotState
    talker: Talker
    predictor: Predictor
    frame: FrameStage


def build(kind: str, ops: Ops, rows: int, weights: dict[str, Tensor], config: ModelConfig) -> Parts:
    """A frame stage for `rows` speeches.

    Each has the blocks of 4 times CONTEXT positions.
    """
    blocks = -(-4 * CONTEXT // ops.block_size)
    like = weights["talker.codec_head.weight"]
    state = SlotState(config, rows, blocks, ops.block_size, like)
    state.block_table[:rows] = 1 + torch.arange(rows * blocks, device=DEVICE).view(rows, blocks)
    state._numbers[:] = torch.tensor((0.9, 1.0, 0.9, 1.0, 1.05), device=DEVICE)[:, None]
    state._top_k[:] = 50
    text = TextTable(torch.randn(1000, config.talker.hidden, device=DEVICE).to(like.dtype))
    talker = Talker(config, weights, text, caches(config.talker, rows * blocks + 1, ops.block_size), 4096, ops)
    predictor = Predictor(config, weights, caches(config.predictor, rows, config.code_groups), ops)
    return Parts(config, state, talker, predictor, FrameStage(config, talker, predictor, state, ops))


def caches(sizes: DecoderConfig, rows: int, length: int) -> list[LayerCache]:
    """Filled caches of every layer: (rows, length, G, D) each."""
    shape = (rows, length, sizes.kv_heads, sizes.head_dim)
    return [
        LayerCache(*(torch.randn(shape, device=DEVICE, dtype=torch.bfloat16) for _ in range(2)))
        for _ in range(sizes.layers)
    ]


def replayed(run: Callable[[], object], repeats: int = 20) -> float:
    """Median milliseconds of a captured graph's replay."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(2):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return milliseconds(graph.replay, DEVICE, repeats)


def frame_table(config: ModelConfig, rows: int, block_size: int) -> Tensor:
    """The integers of a step at every row's 20th frame."""
    table = torch.full((rows, FIELDS + config.code_groups), -1, dtype=torch.int64, device=DEVICE)
    table[:, 0] = torch.arange(rows, device=DEVICE)
    table[:, 1:FIELDS] = torch.tensor((CONTEXT, 0, 5, 0, 20, 20, 1), device=DEVICE)
    blocks = -(-4 * CONTEXT // block_size)
    table[:, 2] = 1 + torch.arange(rows, device=DEVICE) * blocks + CONTEXT // block_size
    return table


def floors(parts: Parts) -> tuple[float, float]:
    """Milliseconds to read a frame's weights: talker, predictor."""

    def size(sizes: DecoderConfig) -> int:
        attention = 2 * sizes.hidden * (sizes.heads + sizes.kv_heads) * sizes.head_dim
        return 2 * sizes.layers * (attention + 3 * sizes.hidden * sizes.intermediate)

    talker, predictor = parts.config.talker, parts.config.predictor
    read = size(talker) + 2 * talker.vocab * talker.hidden
    steps = parts.predictor.steps
    again = steps * (size(predictor) + 2 * predictor.vocab * predictor.hidden)
    return read / BYTES_PER_SECOND * 1e3, again / BYTES_PER_SECOND * 1e3


@torch.inference_mode()
def main() -> None:
    """Print one line a batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="1.7B-CustomVoice")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--attention", choices=("flash-attn", "triton"), default="triton")
    parser.add_argument("--reference", action="store_true", help="time the definition instead of the kernels")
    options = parser.parse_args()
    checkpoint, _ = dummy_checkpoint(options.kind, DEVICE, torch.bfloat16)
    config = EngineConfig(reference_ops=options.reference, attention=options.attention)
    ops = choose(config, checkpoint.config.talker, DEVICE, torch.bfloat16)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.kind}")
    print(f"{ops.name} ops, {ops.attention} attention")
    print(f"{'rows':>5} {'talker':>9} {'predictor':>10} {'frame':>9}   share of the floor")
    for rows in options.rows:
        parts = build(options.kind, ops, rows, dict(checkpoint.main), checkpoint.config)
        print(line(parts, rows), flush=True)


def line(parts: Parts, rows: int) -> str:
    """One row of the table, in milliseconds.

    Talker step, predictor steps, the whole frame.
    """
    config, state = parts.config, parts.state
    table = frame_table(config, rows, state.block_size)
    x = torch.randn(rows, config.talker.hidden, device=DEVICE, dtype=torch.bfloat16)
    first = torch.randint(config.predictor.vocab, (rows,), device=DEVICE)
    uniform = torch.rand(rows, config.code_groups, device=DEVICE)
    _, picks, _ = state.sampling(table[:, 0], uniform.t().contiguous())
    talker = replayed(lambda: parts.talker.decode(x, state.block_table, table[:, 0], table[:, 1]))
    predictor = replayed(lambda: parts.predictor.forward(x, first, lambda _: picks))
    frame = replayed(lambda: parts.frame.forward(table))
    floor = floors(parts)
    shares = f"{floor[0] / talker:.0%} {floor[1] / predictor:.0%} {sum(floor) / frame:.0%}"
    return f"{rows:>5} {talker:>9.3f} {predictor:>10.3f} {frame:>9.3f}   {shares}"


if __name__ == "__main__":
    main()
