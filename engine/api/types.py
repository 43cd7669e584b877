"""Types of audio data, shared by all rooms."""

import numpy as np
import numpy.typing as npt

Pcm = npt.NDArray[np.int16]  # (samples,)
Frame = tuple[int, ...]  # (code groups,)
Codes = npt.NDArray[np.int32]  # (frames, code groups)
