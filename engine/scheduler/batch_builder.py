"""Builder of the next step's `Batch`."""

from dataclasses import dataclass

from engine.scheduler.batch import Batch, Chunk, DecodeRow, Prefill, SlotInit
from engine.scheduler.segment import Segment
from engine.scheduler.sequence import Sequence

MIN_TOKENS = 2  # the reference forbids end of speech for this many tokens
Owners = list[tuple[Sequence, Segment]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a step or a speech.

    Each in the unit of its name.
    """

    slots: int
    prefill_tokens: int
    positions: int  # the most that one speech can hold
    frames: int  # the longest speech


@dataclass(frozen=True, slots=True)
class InFlightBatch:
    """A batch on the device, with its work's owners."""

    batch: Batch
    rows: Owners
    chunks: Owners


class BatchBuilder:
    """Builder of one `Batch`; marks its sequences as scheduled.

    `token_budget`: prompt tokens that the step may still take.
    For one sequence the order is `init_slot`, `add_prefill`, `add_row`.
    """

    def __init__(self, token_budget: int, block_size: int) -> None:
        self.token_budget = token_budget
        self._block_size = block_size
        self._inits: list[SlotInit] = []
        self._prefills: list[Prefill] = []
        self._rows: list[tuple[DecodeRow, Sequence]] = []
        self._chunks: list[tuple[Chunk, Sequence]] = []

    def init_slot(self, sequence: Sequence) -> None:
        """Initialise the slot for the current segment, once."""
        if sequence.slot_loaded:
            return
        segment, voice = sequence.segment, sequence.layout.voice
        self._inits.append(
            SlotInit(
                slot=slot_of(sequence),
                sampling=sequence.request.sampling,
                seed=sequence.seed,
                vector=voice.embedding,
                reference=voice.codes,
                primed=segment.frames[: segment.decoded],
                pending=segment.frames[segment.decoded :],
                first_pending=segment.decoded,
                generated=[frame[0] for frame in segment.frames],
                scope=voice.scope,
            )
        )
        sequence.slot_loaded = True

    def add_prefill(self, sequence: Sequence, stop: int) -> None:
        """Prefill the prompt up to position `stop`, unless cached."""
        if sequence.cached >= stop:
            return
        tokens = sequence.segment.inputs(sequence.cached, stop)
        blocks = [self._block(sequence, position) for position in range(sequence.cached, stop)]
        self._prefills.append(Prefill(slot_of(sequence), sequence.cached, tokens, blocks))
        self.token_budget -= len(tokens)
        sequence.cached, sequence.warm = stop, False

    def add_row(self, sequence: Sequence) -> None:
        """Schedule the next frame."""
        segment = sequence.segment
        position = segment.position
        row = DecodeRow(
            slot=slot_of(sequence),
            position=position,
            block=self._block(sequence, position),
            text=segment.next_text(),
            codes=None if sequence.warm else segment.last_codes(),
            index=segment.launched,
            frame=segment.first_frame + segment.launched,
            may_end=_may_end(sequence),
        )
        self._rows.append((row, sequence))
        segment.launched += 1
        sequence.cached, sequence.warm = sequence.cached + 1, True

    def add_chunk(self, sequence: Sequence, count: int) -> None:
        """Schedule the decoding of the next `count` frames."""
        self.init_slot(sequence)
        self._chunks.append((Chunk(slot_of(sequence), sequence.segment.decoded, count), sequence))
        sequence.segment.decoded += count

    def drop(self, slot: int) -> None:
        """Discard the work of a slot that was lost."""
        self._inits = [init for init in self._inits if init.slot != slot]
        self._prefills = [work for work in self._prefills if work.slot != slot]
        self._rows = [(row, sequence) for row, sequence in self._rows if row.slot != slot]

    def build(self) -> InFlightBatch:
        """The finished batch with its owners."""
        rows, chunks = [row for row, _ in self._rows], [chunk for chunk, _ in self._chunks]
        batch = Batch(self._inits, self._prefills, rows, chunks)
        return InFlightBatch(batch, _owners(self._rows), _owners(self._chunks))

    def _block(self, sequence: Sequence, position: int) -> int:
        return sequence.blocks[position // self._block_size]


def slot_of(sequence: Sequence) -> int:
    """Slot of a speech that has one."""
    assert sequence.slot is not None
    return sequence.slot


def _owners(planned: list[tuple[DecodeRow, Sequence]] | list[tuple[Chunk, Sequence]]) -> Owners:
    return [(sequence, sequence.segment) for _, sequence in planned]


def _may_end(sequence: Sequence) -> bool:
    """Whether end of speech may be drawn.

    From the third token on; before all text is read only where the request allows it.
    """
    sampling, segment = sequence.request.sampling, sequence.segment
    early = sampling.greedy if sampling.end_before_text is None else sampling.end_before_text
    return segment.launched >= MIN_TOKENS and (early or segment.text_consumed)
