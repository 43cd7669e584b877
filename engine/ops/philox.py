"""Randomness by address: Philox 4x32-10.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import torch
from torch import Tensor

ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF


def uniforms(seeds: Tensor, frames: Tensor, count: int) -> Tensor:
    """(R, count) fp32 in (0, 1].

    Row r, column c is word 0 of Philox(key=seeds[r], counter=(frames[r], c, 0, 0)).
    seeds (R,) int64 holding the bits of a uint64, frames (R,) int64.
    """
    columns = torch.arange(count, device=seeds.device).expand(len(seeds), -1)
    zero = torch.zeros_like(columns)
    counters = torch.stack((frames[:, None].expand_as(columns), columns, zero, zero))
    return ((philox(seeds, counters)[0] >> 8).float() + 0.5) * 2.0**-24


def philox(seeds: Tensor, counters: Tensor) -> Tensor:
    """Four words for every counter: (4, R, C).

    seeds (R,) int64, counters (4, R, C) int64 of 32 bits each.
    Words live in int64: products wrap, and the arithmetic shift's sign bits are masked off. `even` are words 0 and 2,
    `odd` words 3 and 1, so that in each round a product's high half meets the odd word beside it.
    """
    multipliers = _pair(_MULTIPLIERS, seeds)[:, None, None]
    keys = _keys(seeds)
    even, odd = counters[0::2], counters[1::2].flip(0)
    for turn in range(ROUNDS):
        product = even * multipliers
        even = (((product >> 32) & _WORD) ^ odd ^ keys[turn]).flip(0)
        odd = product & _WORD
    return torch.stack((even[0], odd[1], even[1], odd[0]))


def _keys(seeds: Tensor) -> Tensor:
    """Keys of all rounds: (ROUNDS, 2, R, 1).

    The high half comes first.
    """
    key = torch.stack((seeds >> 32, seeds)) & _WORD
    weyl = _pair(_WEYL[::-1], seeds)[:, None]
    turns = torch.arange(ROUNDS, device=seeds.device)[:, None, None]
    return ((key + turns * weyl) & _WORD)[..., None]


def _pair(numbers: tuple[int, int], like: Tensor) -> Tensor:
    """Two numbers on a device, made there.

    A copy from the host could not be captured in a graph.
    """
    return torch.arange(2, device=like.device) * (numbers[1] - numbers[0]) + numbers[0]
