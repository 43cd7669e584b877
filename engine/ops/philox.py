"""Randomness by address: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011)."""

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF


def uniforms(seeds: Tensor, frames: Tensor, count: int) -> Tensor:
    """(R, count) fp32 in (0, 1): row r, column c is word 0 of Philox(key=seeds[r], counter=(frames[r], c, 0, 0)).

    seeds (R,) int64 holding the bits of a uint64, frames (R,) int64. Integers live in int64; products wrap, and the
    arithmetic shift's sign bits are masked off.
    """
    low, high = (seeds & _WORD)[:, None], ((seeds >> 32) & _WORD)[:, None]
    codebooks = torch.arange(count, device=seeds.device)[None]
    zero = torch.zeros_like(frames[:, None] + codebooks)
    words = (frames[:, None] + zero, codebooks + zero, zero, zero)
    for turn in range(10):
        words = _round(words, (low + turn * _WEYL[0]) & _WORD, (high + turn * _WEYL[1]) & _WORD)
    return ((words[0] >> 8).float() + 0.5) * 2.0**-24


def _round(words: tuple[Tensor, ...], low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
    first, second = words[0] * _MULTIPLIERS[0], words[2] * _MULTIPLIERS[1]
    return (
        ((second >> 32) & _WORD) ^ words[1] ^ low,
        second & _WORD,
        ((first >> 32) & _WORD) ^ words[3] ^ high,
        first & _WORD,
    )
