"""The package qwen-tts beside the plain path.

Where it is installed.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.api.request import RECORDING_RATE, Reference, SamplingParams, SpeechRequest
from engine.api.types import Codes
from engine.check.figures import Figure, at_least, at_most, noted, skipped
from engine.check.speeches import SENTENCE
from engine.check.stages import Script, Stages, drawn_codes

SECTION = "qwen-tts"
FRAMES = 24
CONTROLS = 1024  # ids at the end of the talker's vocabulary that the package never draws, whatever the checkpoint says
# Both are fp32, so codes differ at near ties alone: where the logits' error of 1e-3 of a spread of some 3 decides.
LEAST_EQUAL, MOST_BELOW = 0.99, 0.01


def figures(
    folder: Path, request: SpeechRequest, reference: Reference | None, script: Script, stages: Stages
) -> Iterator[Figure]:
    """Codes of the package's greedy speech.

    Against the plain stages with those codes given.
    `request`, or the recording `reference` to clone, has the voice of `script`.
    """
    name = "codes that are the package's"
    if find_spec("qwen_tts") is None:
        yield skipped(SECTION, name, "qwen-tts is not installed")
        return
    if stages.config.talker.vocab - CONTROLS != stages.config.predictor.vocab:
        yield skipped(
            SECTION, name, f"the package takes the talker's last {CONTROLS} ids for controls; here they are not"
        )
        return
    try:
        codes, seconds = _spoken(folder, request, reference, stages)
    except Exception as error:  # whatever is wrong with the package, or too large for this machine, is not ours
        yield skipped(SECTION, name, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        return
    yield from _compared(codes, script, stages, name)
    yield noted(SECTION, "frame of one stream, ms", 1e3 * seconds, f"{1e3 * seconds:.1f}", "in fp32, loading left out")


def _compared(codes: Codes, script: Script, stages: Stages, name: str) -> Iterator[Figure]:
    greedy = SamplingParams(temperature=0.0)
    sampling = replace(script.sampling, talker=greedy, predictor=greedy)
    trace = stages.run(replace(script.taught(codes), sampling=sampling))
    ours, logits = drawn_codes(trace, stages.config.code_groups), trace.logits
    different = np.flatnonzero(ours.ravel() != codes.ravel())
    yield at_least(SECTION, name, float((ours == codes).mean()), LEAST_EQUAL, ".3f", f"{len(codes)} frames, greedy")
    below = [float(logits[i].max() - logits[i][int(codes.flat[i])]) for i in different]
    yield at_most(SECTION, "a code that is not, below the best logit by", max(below, default=0.0), MOST_BELOW, ".3f")


def _spoken(folder: Path, request: SpeechRequest, reference: Reference | None, stages: Stages) -> tuple[Codes, float]:
    """Codes (frames, code groups), with seconds a frame."""
    from qwen_tts import Qwen3TTSModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    device = str(stages.device)
    tts = Qwen3TTSModel.from_pretrained(str(folder), dtype=torch.float32, device_map=device)
    made: list[Any] = []
    generate = tts.model.generate

    def noted_generate(*args: Any, **options: Any) -> Any:
        made.append(generate(*args, **options))
        return made[-1]

    tts.model.generate = noted_generate
    began = time.perf_counter()
    _generate(tts, request, reference)
    codes: Codes = made[-1][0][0].cpu().numpy().astype(np.int32)[:FRAMES]
    return codes, (time.perf_counter() - began) / len(codes)


def _generate(tts: Any, request: SpeechRequest, reference: Reference | None) -> None:
    common: dict[str, Any] = {
        "text": SENTENCE,
        "language": "Auto",
        "max_new_tokens": FRAMES + 1,  # the last token never becomes a frame
        "do_sample": False,
        "subtalker_dosample": False,
    }
    if reference is not None:
        prompt = tts.create_voice_clone_prompt(
            ref_audio=(reference.samples, RECORDING_RATE), ref_text=reference.transcript, x_vector_only_mode=False
        )
        tts.generate_voice_clone(voice_clone_prompt=prompt, non_streaming_mode=False, **common)
    elif request.instructions:
        tts.generate_voice_design(instruct=request.instructions, non_streaming_mode=True, **common)
    else:
        tts.generate_custom_voice(speaker=request.voice, non_streaming_mode=True, **common)
