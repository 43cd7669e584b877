"""Flite's female voice "slt", from Debian's libraries, on many cores: text to 16 kHz samples.

tools/train_voice/fetch_flite.sh .voice/flite
"""

import ctypes
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
_LIBRARIES = ("libasound.so.2", "libflite.so.1", "libflite_cmulex.so.1", "libflite_usenglish.so.1")
_VOICE = "cmu_us_slt"
_CHUNK = 64  # texts handed to a process at once


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


@contextmanager
def reading(folder: Path, texts: Iterable[tuple[str, float]], processes: int) -> Iterator[Iterator[NDArray[np.int16]]]:
    """Starts to read each (text, slowness) aloud in the background; gives the samples in order.

    `folder`: where the libraries are. The processes end with the context.
    """
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield pool.map(_read, [(str(folder), *text) for text in texts], chunksize=_CHUNK)


def _read(job: tuple[str, str, float]) -> NDArray[np.int16]:
    folder, text, slowness = job
    flite, voice = _load(folder)
    flite.flite_feat_set_float(voice.contents.features, b"duration_stretch", ctypes.c_float(slowness))
    wave = flite.flite_text_to_wave(text.encode("ascii", "ignore"), voice)
    samples = np.ctypeslib.as_array(wave.contents.samples, (wave.contents.count,)).astype(np.int16)
    flite.delete_wave(wave)
    return samples


@cache
def _load(folder: str) -> tuple[ctypes.CDLL, "ctypes._Pointer[_Voice]"]:
    for name in _LIBRARIES:
        ctypes.CDLL(f"{folder}/{name}", ctypes.RTLD_GLOBAL)
    flite = ctypes.CDLL(f"{folder}/libflite.so.1")
    flite.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
    flite.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    flite.delete_wave.argtypes = (ctypes.c_void_p,)
    flite.flite_feat_set_float.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float)
    flite.flite_init()
    register = getattr(ctypes.CDLL(f"{folder}/libflite_{_VOICE}.so.1"), f"register_{_VOICE}")
    register.restype = ctypes.POINTER(_Voice)
    register.argtypes = (ctypes.c_char_p,)
    return flite, register(None)
