"""Prompt tokens in a frame's own pass: the same codes, keys and values as of a pass before it, bit for bit."""

import asyncio
import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from engine.api.config import EngineConfig
from engine.build import build_engine
from engine.engine import Engine
from engine.prompt.prompt_tokens import VECTOR, PromptToken
from engine.runner.pipelined import PipelinedRunner
from engine.scheduler.batch import Batch, DecodeRow, Prefill, SlotInit

pytest.importorskip("triton")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1", reason="needs a CUDA device"
    ),
]
SEATS, CONTEXT, BLOCKS = 72, 150, 16  # speeches, positions behind a row, blocks of a speech


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with asyncio.Runner() as loop:
        config = EngineConfig(
            device="cuda", dummy_weights=True, max_speeches=SEATS, max_queue=SEATS, kv_blocks=SEATS * BLOCKS
        )
        made = loop.run(build_engine("0.6B-CustomVoice", config))
        yield made
        loop.run(made.close())


@pytest.fixture
def runner(engine: Engine) -> PipelinedRunner:
    made = engine._steps.runner
    assert isinstance(made, PipelinedRunner)
    if not made._graphs.riding:
        pytest.skip("this attention reads prompts apart")
    return made


def block(slot: int, position: int, size: int) -> int:
    return 1 + slot * BLOCKS + position // size


def prefill(slot: int, start: int, tokens: int, size: int) -> Prefill:
    columns = [PromptToken(7 * i + slot, (slot, 5, i)) for i in range(tokens - 1)] + [PromptToken(3, VECTOR)]
    return Prefill(slot, start, columns, [block(slot, start + i, size) for i in range(tokens)])


def row(slot: int, position: int, size: int) -> DecodeRow:
    return DecodeRow(slot, position, block(slot, position, size), 11, (9, 8, slot), 0, slot, True)


def step(engine: Engine, runner: PipelinedRunner, rows: int, newcomers: int) -> Batch:
    """Rows of speeches that run, newcomers whose prompt and first frame come in one step, and a prompt's first half."""
    size = runner._state.block_size
    inits = [SlotInit(s, engine.defaults, s, None, None, (), (), 0, ()) for s in range(rows + newcomers + 1)]
    prefills = [prefill(rows + i, 0, 9 + i, size) for i in range(newcomers)]
    work = [row(slot, CONTEXT, size) for slot in range(rows)]
    work += [row(rows + i, 9 + i, size) for i in range(newcomers)]
    return Batch(inits, [*prefills, prefill(rows + newcomers, 0, 5, size)], work)


def run(runner: PipelinedRunner, batch: Batch, riding: bool) -> tuple[Tensor, list[Tensor]]:
    """Frames of the batch over a filled cache, and all keys and values."""
    caches = [each for layer in runner._frame._talker.layers.cache for each in (layer.keys, layer.values)]
    torch.manual_seed(0)
    for each in caches:
        each.normal_()
    size, state = runner._state.block_size, runner._state
    for slot in range(SEATS):
        table = [block(slot, position, size) for position in range(0, BLOCKS * size, size)]
        state.block_table[slot, :BLOCKS] = torch.tensor(table, dtype=torch.int32)
    state.codes.zero_()
    graphs = runner._graphs
    kept, graphs.riding = graphs.riding, graphs.riding if riding else {}
    try:
        runner.step(batch)
        out = runner.step(Batch())
    finally:
        graphs.riding = kept
    return torch.from_numpy(out.codes), [each[1:].clone() for each in caches]  # block 0 is scratch


@pytest.mark.parametrize(("rows", "newcomers"), [(0, 1), (1, 1), (9, 2), (33, 1), (64, 4)])
@torch.inference_mode()
def test_riding_changes_nothing(engine: Engine, runner: PipelinedRunner, rows: int, newcomers: int) -> None:
    batch = step(engine, runner, rows, newcomers)
    assert runner._graphs.riding_size(batch)
    together, apart = run(runner, batch, riding=True), run(runner, batch, riding=False)
    assert torch.equal(together[0], apart[0])
    assert all(torch.equal(a, b) for a, b in zip(together[1], apart[1], strict=True))
