"""Passes of the talker's layers: kinds, sizes of graphs.

All peers have the same.
"""

from collections.abc import Callable

from engine.runner.cuda_graphs import sizes_up_to

PROMPTS, FRAME = -1, 0  # kinds: prompts alone, a frame; else a frame with so many prompt tokens
PREFILL_SIZES = (16, 32, 64, 128)
RIDING_SIZES = (16, 32, 48, 64)  # prompt tokens of a frame's own pass; of more, reading weights twice is little
RIDDEN_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)  # rows of such a frame
Tell = Callable[[int, int], None]  # (kind, rows): such a pass is about to run


def nobody(_kind: int, _rows: int) -> None:
    """`Tell` without peers."""


def pass_sizes(slots: int, tokens: int, riding: bool) -> dict[int, list[int]]:
    """Ascending rows of the graphs by the kind of pass.

    Up to `tokens` of prompts alone, up to `slots` frames; `riding`: frames with prompt tokens too, these counted in.
    """
    sizes = {PROMPTS: sizes_up_to(tokens, PREFILL_SIZES), FRAME: sizes_up_to(slots)}
    for prompt in RIDING_SIZES if riding else ():
        if prompt <= tokens:
            sizes[prompt] = [prompt + rows for rows in sizes_up_to(slots, RIDDEN_SIZES)]
    return sizes
