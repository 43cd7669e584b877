"""Voices of a recording, by two sets of encoders.

The device's, against plain ones in fp32.
"""

from collections.abc import Iterator

import numpy as np
import torch

from engine.api.request import Reference
from engine.api.voice import Voice
from engine.check.figures import Figure, at_least, at_most
from engine.checkpoint.codec_config import CodecEncoderConfig, SpeakerEncoderConfig
from engine.checkpoint.tensors import under
from engine.checkpoint.weights import Checkpoint
from engine.model.codec.encoder import CodecEncoder
from engine.model.speaker.encoder import SpeakerEncoder

SECTION = "cloning"
# A code is the nearest of 2048 vectors, so that the last bits may decide one, and with it those behind it in its frame.
LEAST_EQUAL = 0.98
# Some forty roundings of 2^-9 behind each other, as a random walk, and as much again for the pooling's own sums.
MOST_ERROR = {torch.float32: 1e-3, torch.bfloat16: 0.05}


def plain_voice(checkpoint: Checkpoint, reference: Reference) -> Voice:
    """Voice of a recording by a checkpoint's own weights."""
    encoder = CodecEncoder(CodecEncoderConfig.from_json(checkpoint.codec_json), under(checkpoint.codec, "encoder"))
    config = SpeakerEncoderConfig.from_json(checkpoint.config_json["speaker_encoder_config"])
    speaker = SpeakerEncoder(config, under(checkpoint.main, "speaker_encoder"))
    samples = torch.from_numpy(reference.samples)
    codes = encoder.encode(samples).cpu().numpy().astype(np.int32)
    return Voice(embedding=speaker.embed(samples).float().cpu().numpy(), codes=codes, transcript=reference.transcript)


def figures(plain: Voice, device: Voice, dtype: torch.dtype) -> Iterator[Figure]:
    """Figures of the device's voice; both have codes."""
    assert plain.embedding is not None and device.embedding is not None
    error = np.linalg.norm(device.embedding - plain.embedding) / np.linalg.norm(plain.embedding)
    yield at_most(SECTION, "error of the speaker's vector, of its length", float(error), MOST_ERROR[dtype], ".2g")
    assert plain.codes is not None and device.codes is not None
    share = float((plain.codes == device.codes).mean())
    yield at_least(SECTION, "codes of a recording that are the same", share, LEAST_EQUAL, ".3f")
