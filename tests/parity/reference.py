"""The real qwen-tts package as the other side: greedy, fp32, on a CPU."""

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engine.api.languages import language_name
from engine.api.request import TextMode
from tests.parity.cases import Case, Recording

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """What a speech came to: codes (frames, 16), and int16 samples at 24 kHz."""

    codes: npt.NDArray[np.int64]
    pcm: npt.NDArray[np.int16]


def load_reference(folder: Path) -> Any:
    """The package's own model object over a checkpoint; its import takes longer than all others."""
    if find_spec("torchaudio") is None:
        sys.path.append(str(Path(__file__).with_name("stubs")))
    from qwen_tts import Qwen3TTSModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    return Qwen3TTSModel.from_pretrained(str(folder), dtype=torch.float32)


class Reference:
    """A checkpoint loaded by qwen-tts. Results are kept, so that several tests may ask for the same speech."""

    def __init__(self, folder: Path) -> None:
        self._tts = load_reference(folder)
        self._codes: npt.NDArray[np.int64] = np.empty((0, 16), np.int64)
        self._generate = self._tts.model.generate
        self._tts.model.generate = self._recorded
        self._spoken: dict[Case, Spoken] = {}

    def speak(self, case: Case) -> Spoken:
        """Codes and audio of `case`."""
        if case not in self._spoken:
            wave = self._synthesize(case)
            pcm = np.rint(wave * 32767).astype(np.int16)
            # With in-context cloning the cut is computed in floating point and may leave one sample too many in front.
            self._spoken[case] = Spoken(self._codes, pcm[pcm.size - 1920 * len(self._codes) :])
        return self._spoken[case]

    def _synthesize(self, case: Case) -> npt.NDArray[np.float32]:
        common: dict[str, Any] = {
            "text": case.text,
            "language": language_name(case.language) or "Auto",
            "max_new_tokens": case.frames + 1,  # the last token never becomes a frame
            "do_sample": False,
            "subtalker_dosample": False,
        }
        if case.mode is not None:
            common["non_streaming_mode"] = case.mode is TextMode.WHOLE
        if case.recording is not None:
            (wave,), _ = self._tts.generate_voice_clone(voice_clone_prompt=self._prompt(case.recording), **common)
        elif self._tts.model.tts_model_type == "voice_design":
            (wave,), _ = self._tts.generate_voice_design(instruct=case.instructions, **common)
        else:
            (wave,), _ = self._tts.generate_custom_voice(speaker=case.voice, instruct=case.instructions, **common)
        return np.asarray(wave, np.float32)

    def _prompt(self, recording: Recording) -> Any:
        return self._tts.create_voice_clone_prompt(
            ref_audio=(recording.samples(), 24_000),
            ref_text=recording.transcript or None,
            x_vector_only_mode=not recording.transcript,
        )

    def _recorded(self, *args: Any, **kwargs: Any) -> Any:
        codes, hidden = self._generate(*args, **kwargs)
        self._codes = codes[0].numpy()
        return codes, hidden
