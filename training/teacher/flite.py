"""Voices of Flite: text to 16 kHz samples.

From Debian's libraries, which training/teacher/fetch_flite.sh gets.
"""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
_LIBRARIES = ("libasound.so.2", "libflite.so.1", "libflite_cmulex.so.1", "libflite_usenglish.so.1")


class _Wave(ctypes.Structure):  # cst_wave
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("count", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Voice(ctypes.Structure):  # the start of cst_voice
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


def read(folder: Path, voice: str, text: str, slowness: float) -> NDArray[np.int16]:
    """Samples of `text` at 16 kHz.

    `folder`: where the libraries are; `voice`: flite's name of it.
    """
    flite, own = _load(folder, voice)
    flite.flite_feat_set_float(own.contents.features, b"duration_stretch", ctypes.c_float(slowness))
    wave = flite.flite_text_to_wave(text.encode("ascii", "ignore"), own)
    samples = np.ctypeslib.as_array(wave.contents.samples, (wave.contents.count,)).astype(np.int16)
    flite.delete_wave(wave)
    return samples


@cache
def _load(folder: Path, voice: str) -> tuple[ctypes.CDLL, "ctypes._Pointer[_Voice]"]:
    flite = _library(folder)
    register = getattr(ctypes.CDLL(f"{folder}/libflite_{voice}.so.1"), f"register_{voice}")
    register.restype = ctypes.POINTER(_Voice)
    register.argtypes = (ctypes.c_char_p,)
    return flite, register(None)


@cache
def _library(folder: Path) -> ctypes.CDLL:
    for name in _LIBRARIES:
        ctypes.CDLL(f"{folder}/{name}", ctypes.RTLD_GLOBAL)
    flite = ctypes.CDLL(f"{folder}/libflite.so.1")
    flite.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
    flite.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    flite.delete_wave.argtypes = (ctypes.c_void_p,)
    flite.flite_feat_set_float.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float)
    flite.flite_init()
    return flite
