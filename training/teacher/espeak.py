"""Voice variants of eSpeak NG: text to 22.05 kHz samples.

From the package espeakng-loader.
"""

import ctypes
from functools import cache

import numpy as np
from numpy.typing import NDArray

_SYNCHRONOUS, _UTF8, _RATE = 2, 1, 1  # espeak_AUDIO_OUTPUT, espeakCHARS, espeak_PARAMETER of its header
_WORDS_A_MINUTE = 165
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_heard: list[NDArray[np.int16]] = []


def read(variant: str, text: str, slowness: float) -> NDArray[np.int16]:
    """`text` by the American voice with a variant's name.

    Raises ValueError where there is none of that name.
    """
    espeak = _load()
    if espeak.espeak_SetVoiceByName(f"en-us+{variant}".encode()):
        raise ValueError(f"eSpeak NG has no variant {variant}")
    espeak.espeak_SetParameter(_RATE, round(_WORDS_A_MINUTE / slowness), 0)
    _heard.clear()
    data = text.encode()
    espeak.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
    return np.concatenate(_heard)


@_Callback
def _take(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
    if samples and count:
        _heard.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
    return 0


@cache
def _load() -> ctypes.CDLL:
    import espeakng_loader

    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    espeak.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    espeak.espeak_SetSynthCallback(_take)
    return espeak
