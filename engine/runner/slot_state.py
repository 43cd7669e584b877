"""Device-resident state of running speeches, one row a slot.

A step passes slot numbers, never the state itself.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.checkpoint.config import ModelConfig
from engine.ops.base import SamplingTensors
from engine.scheduler.batch import SlotInit

RING = 64  # frames a slot keeps for the codec: `chunk_policy.MOST_PENDING`, then those in flight or padding a chunk
# Slot, seed, top_k of talker and predictor; then as bits of float64: temperature and top_p of both, penalty.
START_FIELDS = 9


class SlotState:
    """State of `slots` rows, then the dummy.

    Padded batch rows use the dummy: its blocks are the scratch block 0. Belongs to the device thread.
    """

    def __init__(self, config: ModelConfig, slots: int, blocks: int, block_size: int, like: Tensor) -> None:
        """`blocks` of `block_size` positions: the most of one slot.

        `like` gives the model's device and dtype.
        """
        rows, groups, device = slots + 1, config.code_groups, like.device
        self.dummy, self.block_size = slots, block_size
        self.block_table = torch.zeros(rows, blocks, dtype=torch.int32, device=device)
        self.codes = torch.full((rows, groups), -1, dtype=torch.int64, device=device)
        self.frames = torch.zeros(rows, RING, groups, dtype=torch.int64, device=device)
        self.vector = like.new_zeros(rows, config.talker.hidden)
        self.generated_mask = torch.zeros(rows, config.talker.vocab, dtype=torch.bool, device=device)
        self.seed = torch.zeros(rows, dtype=torch.int64, device=device)
        # Side by side, so that a frame fetches all at once: temperature and top_p of talker and predictor, penalty.
        self._numbers = torch.ones(5, rows, device=device)
        self._top_k = torch.zeros(2, rows, dtype=torch.int32, device=device)  # row 0: talker, row 1: predictor

    def load(self, table: Tensor) -> None:
        """Load what frames read, for the starts of segments: `table` of `pack_starts`.

        Never waits for the device, so that it can be captured.
        """
        slots, numbers = table[:, 0], table[:, 4:].contiguous().view(torch.float64)
        self.seed[slots] = table[:, 1]
        self._top_k[:, slots] = table[:, 2:4].t().int()
        self._numbers[:, slots] = numbers.t().float()
        self.generated_mask.index_fill_(0, slots, False)

    def load_vector(self, init: SlotInit) -> None:
        """Load what prefills read: the speaker's vector."""
        if init.vector is not None:
            self.vector[init.slot] = upload(init.vector, self.vector.device).to(self.vector.dtype)

    def load_past(self, init: SlotInit) -> None:
        """Load the past of an evicted segment, behind `load`: generated ids, frames that wait for the codec."""
        slot, device = init.slot, self.codes.device
        if init.generated:
            self.generated_mask[slot, upload(init.generated, device)] = True
        if init.pending:
            numbers = range(init.first_pending, init.first_pending + len(init.pending))
            ring = upload([number % RING for number in numbers], device)
            self.frames[slot, ring] = upload(init.pending, device)

    def map_blocks(self, slots: Tensor, positions: Tensor, blocks: Tensor) -> None:
        """Map each row's position to its block."""
        map_blocks(self.block_table, self.block_size, slots, positions, blocks)

    def pending_codes(self, slots: Tensor, first: Tensor, count: int) -> Tensor:
        """Codes of `count` frames of each slot, for the codec.

        From number `first` of its segment.
        slots, first (B,) int64 -> (B, count, code groups) int64.
        """
        ring = (first[:, None] + torch.arange(count, device=first.device)) % RING
        return self.frames[slots[:, None], ring]

    def sampling(self, slots: Tensor, uniform: Tensor) -> tuple[SamplingTensors, SamplingTensors, Tensor]:
        """Sampling parameters of codebooks 0, 1, with penalties (R,).

        For rows at `slots`; `uniform`: random numbers of all codebooks (code groups, R).
        """
        numbers, top_k = self._numbers[:, slots], self._top_k[:, slots]
        talker = SamplingTensors(numbers[0], top_k[0], numbers[1], uniform[0])
        return talker, SamplingTensors(numbers[2], top_k[1], numbers[3], uniform[1]), numbers[4]


def map_blocks(block_table: Tensor, block_size: int, slots: Tensor, positions: Tensor, blocks: Tensor) -> None:
    """Map each row's position to its block.

    Repeating an entry of the table does no harm.
    """
    block_table[slots, positions // block_size] = blocks.int()


def pack_starts(inits: Sequence[SlotInit]) -> npt.NDArray[np.int64]:
    """Table of slots' starts: (R, START_FIELDS)."""
    table = np.empty((len(inits), START_FIELDS), np.int64)
    numbers = table[:, 4:].view(np.float64)
    for row, init in enumerate(inits):
        talker, predictor = init.sampling.talker, init.sampling.predictor
        seed = init.seed - (1 << 64) if init.seed >= 1 << 63 else init.seed
        table[row, :4] = init.slot, seed, talker.top_k, predictor.top_k
        chances = talker.temperature, talker.top_p, predictor.temperature, predictor.top_p
        numbers[row] = *chances, init.sampling.repetition_penalty
    return table


def start_padding(dummy: int) -> list[int]:
    """Row of `pack_starts` for the dummy slot."""
    one = int(np.float64(1.0).view(np.int64))
    return [dummy, 0, 0, 0] + [one] * (START_FIELDS - 4)


def upload(values: object, device: torch.device) -> Tensor:
    """Numbers on `device`, without a wait for what it has queued.

    From memory that is not pinned the copy would wait for the frame in flight.
    """
    memory = torch.as_tensor(values)
    return memory.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else memory.to(device)
