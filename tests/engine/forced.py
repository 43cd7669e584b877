"""Codes of an idle engine's own runner under teacher forcing: every frame begins with given codes."""

import numpy as np
import numpy.typing as npt

from engine.api.request import Sampling
from engine.engine import Engine
from engine.prompt.prompt_tokens import PromptToken
from engine.scheduler.batch import Batch, DecodeRow, Prefill, SlotInit

PROMPT = 21  # tokens of a prompt


def forced_codes(engine: Engine, rows: int, frames: int) -> npt.NDArray[np.int32]:
    """Codes (frames, rows, code groups): prompts apart, then frames; with the last, one more prompt."""
    runner, size, sampling = engine._steps.runner, engine._scheduler._pool.block_size, engine.defaults
    outputs = [runner.step(batch) for batch in (*_batches(rows, frames, size, sampling), Batch())]
    return np.stack([output.codes for output in outputs if len(output.codes) == rows])


def _batches(rows: int, frames: int, size: int, sampling: Sampling) -> list[Batch]:
    reading = [Batch([_init(slot, sampling)], [_prompt(slot, rows, size)]) for slot in range(rows)]
    making = [Batch(rows=[_row(slot, rows, frame, size) for slot in range(rows)]) for frame in range(frames - 1)]
    last = [_row(slot, rows, frames - 1, size) for slot in range(rows)]
    return [*reading, *making, Batch([_init(rows, sampling)], [_prompt(rows, rows, size)], last)]


def _init(slot: int, sampling: Sampling) -> SlotInit:
    return SlotInit(slot, sampling, 1_000 + slot, None, None, (), (), 0, ())


def _prompt(slot: int, rows: int, size: int) -> Prefill:
    tokens = [PromptToken(5 + (7 * i + slot) % 90, (slot % 7, 5, i)) for i in range(PROMPT)]
    return Prefill(slot, 0, tokens, [_block(slot, rows, position, size) for position in range(PROMPT)])


def _row(slot: int, rows: int, frame: int, size: int) -> DecodeRow:
    position, given = PROMPT + frame, tuple((31 * g + 17 * slot + frame) % 30 for g in range(16))
    return DecodeRow(slot, position, _block(slot, rows, position, size), 9, given, frame, frame, False)


def _block(slot: int, rows: int, position: int, size: int) -> int:
    """Blocks are dealt out in turn: those of a slot do not adjoin."""
    return 1 + position // size * (rows + 1) + slot
