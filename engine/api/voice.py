"""Whose voice: a row of the codec embedding, or what was kept of a recording."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """A speaker, in one of three forms: `row` (built in), `embedding` (cloned), or neither (voice design).

    `embedding`: (talker width,) float32. `codes`: (frames, code groups) int32 of the recording, whose words are
    `transcript`; without codes the voice is cloned from the embedding alone. `dialect` names the language that a
    built-in speaker speaks in place of Chinese. `scope` names who shares what is remembered of a recording: nothing
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
        """False where the prompt has no speaker column."""
        return self.row is not None or self.embedding is not None

    @property
    def frames(self) -> tuple[tuple[int, ...], ...]:
        """The recording's frames as tuples, empty where there are none."""
        return () if self.codes is None else tuple(map(tuple, self.codes.tolist()))


UNSPECIFIED = Voice()
