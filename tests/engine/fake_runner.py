"""A device without a model: its memory is as a real one's, and a frame is a hash of all that it reads from there.

Any mistake in what the scheduler hands it (a block lent twice, a position skipped, codes of another slot, a frame
decoded twice) therefore changes the codes or the audio, and never goes unnoticed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from engine.checkpoint.config import ModelConfig
from engine.prompt.prompt_tokens import VECTOR
from engine.runner.slot_state import RING
from engine.scheduler.batch import NOTHING, Batch, Chunk, DecodeRow, Prefill, SlotInit, StepOutput

Codes = tuple[int, ...]
Cell = tuple[int, int, Codes]  # position, text, codes
MAY_END_ODDS = 5  # where it may, a speech ends at one frame in this many


def digest(*parts: object) -> int:
    """A number that stands for `parts`."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


class FakeModel:
    """Frames from everything read so far, and audio from every frame heard so far."""

    def __init__(self, config: ModelConfig) -> None:
        self.samples = config.frame_samples
        self.end, self.groups, self.audio_ids = config.codec.eos, config.code_groups, config.predictor.vocab

    def frame(self, cells: Sequence[Cell], seed: int, frame: int, seen: frozenset[int], may_end: bool) -> Codes:
        """The codes of a frame; the first is the end's where it ends."""
        number = digest(cells, seed, frame, sorted(seen))
        codes = tuple(digest(number, group) % self.audio_ids for group in range(self.groups))
        return (self.end, *codes[1:]) if may_end and number % MAY_END_ODDS == 0 else codes

    def listen(self, heard: int, codes: Codes) -> int:
        """The decoder's state after one more frame."""
        return digest(heard, codes)

    def audio(self, heard: int) -> npt.NDArray[np.int16]:
        """The samples that the decoder's state stands for."""
        return np.full(self.samples, heard % 65_536 - 32_768, np.int16)


class FakeRunner:
    """Steps at once. `breaks`: slots whose next frame is not finite; `error`: raised instead of the next step."""

    def __init__(self, config: ModelConfig, slots: int, block_size: int) -> None:
        self.model = FakeModel(config)
        self.breaks: set[int] = set()
        self.error: Exception | None = None
        self.steps = 0
        self._size = block_size
        self._cells: dict[tuple[int, int], Cell] = {}  # (block, offset)
        self._tables: list[dict[int, int]] = [{} for _ in range(slots)]
        self._entries: list[SlotInit | None] = [None] * slots
        self._codes: list[Codes] = [()] * slots
        self._frames: list[dict[int, Codes]] = [{} for _ in range(slots)]
        self._seen: list[set[int]] = [set() for _ in range(slots)]
        self._heard = [0] * slots

    def step(self, batch: Batch) -> StepOutput:
        """Entries, prefills, rows, chunks, as a real runner does them."""
        self.steps += 1
        if self.error is not None:
            raise self.error
        _check(batch)
        for init in batch.inits:
            self._enter(init)
        for work in batch.prefills:
            self._prefill(work)
        frames = [self._frame(row) for row in batch.rows]
        finite = np.array([row.slot not in self.breaks for row in batch.rows], bool)
        self.breaks -= {row.slot for row in batch.rows}
        codes = np.array(frames, np.int32).reshape(len(frames), self.model.groups)
        return StepOutput(batch, codes, finite, [self._decode(chunk) for chunk in batch.chunks], 0.0)

    def _enter(self, init: SlotInit) -> None:
        slot = init.slot
        self._entries[slot] = init
        self._codes[slot] = ()
        self._seen[slot] = set(init.generated)
        self._heard[slot] = 0
        reference = () if init.reference is None else map(tuple, init.reference.tolist())
        for codes in (*reference, *init.primed):
            self._heard[slot] = self.model.listen(self._heard[slot], codes)
        for number, codes in enumerate(init.pending, init.first_pending):
            self._frames[slot][number % RING] = codes

    def _prefill(self, work: Prefill) -> None:
        init = self._entries[work.slot]
        assert init is not None
        for i, (column, block) in enumerate(zip(work.tokens, work.blocks, strict=True)):
            assert column.codes != VECTOR or init.vector is not None
            self._write(work.slot, work.start + i, block, column.text, column.codes)

    def _frame(self, row: DecodeRow) -> Codes:
        init = self._entries[row.slot]
        assert init is not None
        self._write(
            row.slot, row.position, row.block, row.text, self._codes[row.slot] if row.codes is None else row.codes
        )
        cells = [self._read(row.slot, position) for position in range(row.position + 1)]
        seen = self._seen[row.slot]
        codes = self.model.frame(cells, init.seed, row.frame, frozenset(seen), row.may_end)
        seen.add(codes[0])
        self._codes[row.slot] = codes
        self._frames[row.slot][row.index % RING] = codes
        return codes

    def _write(self, slot: int, position: int, block: int, text: int, codes: Codes) -> None:
        assert block > 0, "block 0 belongs to nobody"
        self._tables[slot][position // self._size] = block
        self._cells[block, position % self._size] = (position, text, codes)

    def _read(self, slot: int, position: int) -> Cell:
        cell = self._cells[self._tables[slot][position // self._size], position % self._size]
        assert cell[0] == position, "another speech has written here"
        return cell

    def _decode(self, chunk: Chunk) -> npt.NDArray[np.int16]:
        audio = []
        for number in range(chunk.first, chunk.first + chunk.count):
            self._heard[chunk.slot] = self.model.listen(
                self._heard[chunk.slot], self._frames[chunk.slot][number % RING]
            )
            audio.append(self.model.audio(self._heard[chunk.slot]))
        return np.concatenate(audio)


class OneAhead:
    """Works one step ahead: each call starts its batch and returns the output of the one before, its audio later."""

    def __init__(self, device: FakeRunner) -> None:
        self.device = device
        self._outstanding = NOTHING

    def step(self, batch: Batch) -> StepOutput:
        """`NOTHING` at the first step; an empty batch only fetches."""
        output, self._outstanding = self._outstanding, NOTHING if batch.empty else self.device.step(batch)
        if not output.batch.chunks:
            return output
        audio = output.audio
        return replace(output, audio=(), decoding=lambda: (audio, ()))


def _check(batch: Batch) -> None:
    """No slot may appear twice where order would matter."""
    for works in (batch.inits, batch.prefills, batch.rows, batch.chunks):
        slots = [work.slot for work in works]
        assert len(set(slots)) == len(slots)
