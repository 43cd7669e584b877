"""A speaker: a built-in id, or data of a recording."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A speaker: `row` (built in), `embedding` (cloned), or neither.

    Neither stands for voice design.
    `embedding`: (talker width,) float32. `codes`: (frames, code groups) int32 of the recording, with the text
    `transcript`; without codes the voice is cloned from the embedding alone. `dialect` names the language of a
    built-in speaker in place of Chinese. `scope`: the sharing group of cached states of a recording; nothing
    that one scope has cached is found, or timed, from another.
    """

    row: int | None = None
    dialect: str | None = None
    embedding: npt.NDArray[np.float32] | None = None
    codes: npt.NDArray[np.int32] | None = None
    transcript: str = ""
    scope: str = ""

    @property
    def is_given(self) -> bool:
        """False where the prompt has no speaker token."""
        return self.row is not None or self.embedding is not None

    @property
    def frames(self) -> tuple[tuple[int, ...], ...]:
        """Frames of the recording as tuples; empty without one."""
        return () if self.codes is None else tuple(map(tuple, self.codes.tolist()))


UNSPECIFIED = Voice()
