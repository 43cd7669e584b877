"""Messages of rank 0 with its followers.

Pickled, over a pair of sockets. In this order: `Load`, `Loaded`, `Serve`, `Ready`, then a `Pass` for each; `Failed` in
place of a reply.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from engine.api.config import EngineConfig


@dataclass(frozen=True, slots=True)
class Load:
    """The weights to load.

    `model`: a folder, or a kind's name for random weights; `devices` by rank; `store`: the file by which ranks meet.
    """

    model: str
    config: EngineConfig
    dtype: torch.dtype
    devices: Sequence[str]
    rank: int
    store: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The shard is loaded; so many bytes are left."""

    free: int


@dataclass(frozen=True, slots=True)
class Serve:
    """Sizes of cache, block table, graphs.

    `blocks` of `block_size` positions, the scratch block included; `slots` and `slot_blocks` of the block table, the
    dummy slot included; `positions`: the most of a slot; `columns` of a pass's table; `most_rows` of a pass, each of at
    most `words` of 4 bytes; `rows` of the graphs by the kind of pass, None without graphs.
    """

    blocks: int
    block_size: int
    slots: int
    slot_blocks: int
    positions: int
    columns: int
    most_rows: int
    words: int
    rows: Mapping[int, Sequence[int]] | None


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything is captured."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The follower cannot go on.

    `checkpoint`: nor could another one with this checkpoint.
    """

    text: str
    checkpoint: bool


class Pass(NamedTuple):
    """A pass of this kind is about to run (`engine.runner.passes`)."""

    kind: int
    rows: int
