"""Device-resident state of running speeches, one row a slot.

A step passes slot numbers, never the state itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.checkpoint.config import ModelConfig
from engine.ops.base import SamplingTensors
from engine.scheduler.batch import SlotInit

RING = 64  # frames a slot keeps for the codec: `chunk_policy.MOST_PENDING`, then those in flight or padding a chunk


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

    def load_prompt_inputs(self, init: SlotInit) -> None:
        """Load what prefills read: the speaker's vector."""
        if init.vector is not None:
            self.vector[init.slot] = torch.tensor(init.vector).to(self.vector)

    def load_sampling_params(self, init: SlotInit) -> None:
        """Load what frames read, for a segment's start.

        Sampling parameters, seed, generated ids, frames that wait for the codec.
        """
        slot, sampling = init.slot, init.sampling
        for side, pick in enumerate((sampling.talker, sampling.predictor)):
            self._numbers[2 * side, slot], self._numbers[2 * side + 1, slot] = pick.temperature, pick.top_p
            self._top_k[side, slot] = pick.top_k
        self._numbers[4, slot] = sampling.repetition_penalty
        self.seed[slot] = init.seed - (1 << 64) if init.seed >= 1 << 63 else init.seed
        self.generated_mask[slot] = False
        if init.generated:
            self.generated_mask[slot, self._to_device(init.generated)] = True
        if init.pending:
            numbers = range(init.first_pending, init.first_pending + len(init.pending))
            self.frames[slot, self._to_device([number % RING for number in numbers])] = self._to_device(init.pending)

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

    def _to_device(self, values: Sequence[object]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.codes.device)

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
