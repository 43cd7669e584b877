"""Voices of recordings: codes, speaker vector, primed codec."""

import numpy as np
import torch

from engine.api.request import RECORDING_RATE, Reference
from engine.api.voice import Voice
from engine.model.codec.encoder import CodecEncoder
from engine.model.speaker.encoder import SpeakerEncoder
from engine.runner.codec import CodecStage


class Cloner:
    """Encoder of one recording at a time.

    Safe beside running steps, for it shares no state with them.
    """

    def __init__(self, encoder: CodecEncoder, speaker: SpeakerEncoder, codec: CodecStage) -> None:
        self._encoder, self._speaker, self._codec = encoder, speaker, codec

    @torch.inference_mode()
    def __call__(self, reference: Reference) -> Voice:
        """Voice of a recording.

        Without codes where only the speaker embedding is required.
        """
        samples = torch.tensor(reference.samples)  # what came from another process is read-only
        embedding = self._speaker.embed(samples).float().cpu().numpy()
        if reference.speaker_embedding_only:
            return Voice(embedding=embedding, scope=reference.scope)
        silence = torch.zeros(round(reference.trailing_silence * RECORDING_RATE))
        codes = self._encoder.encode(torch.cat((samples, silence))).cpu().numpy().astype(np.int32)
        self._codec.prime(codes, reference.scope)
        return Voice(embedding=embedding, codes=codes, transcript=reference.transcript, scope=reference.scope)

    def is_primed(self, voice: Voice) -> bool:
        """Whether a speech in this voice can begin at once."""
        return voice.codes is None or self._codec.is_primed(voice.codes, voice.scope)

    def prime(self, voice: Voice) -> None:
        """Prime the codec with a kept voice; slow."""
        if voice.codes is not None:
            self._codec.prime(voice.codes, voice.scope)
