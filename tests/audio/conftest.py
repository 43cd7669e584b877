"""A signal to encode."""

import numpy as np
import numpy.typing as npt
import pytest


@pytest.fixture(scope="session")
def speech() -> npt.NDArray[np.int16]:
    """1.3 s of a gliding, syllabic buzz with a little noise: int16 mono at 24 kHz, not a multiple of any block."""
    time = np.arange(31_207) / 24_000
    phase = 2 * np.pi * np.cumsum(130 + 30 * np.sin(2 * np.pi * 2 * time)) / 24_000
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 30))
    noise = np.random.default_rng(7).standard_normal(time.size)
    return np.rint(buzz * np.sin(2 * np.pi * 3 * time) ** 2 * 6_000 + noise * 40).astype(np.int16)
