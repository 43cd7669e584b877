"""From a recording to a voice: the codec's codes of it and the speaker encoder's vector."""

import numpy as np
import torch

from engine.model.codec_encoder import CodecEncoder
from engine.model.speaker import SpeakerEncoder
from engine.request import Reference
from engine.voice import Voice


class Cloner:
    """Encodes one recording at a time; safe beside running steps, for it shares no state with them."""

    def __init__(self, encoder: CodecEncoder, speaker: SpeakerEncoder) -> None:
        self._encoder, self._speaker = encoder, speaker

    @torch.inference_mode()
    def __call__(self, reference: Reference) -> Voice:
        """The voice of a recording; without codes where only the speaker embedding was asked for."""
        samples = torch.from_numpy(reference.samples)
        embedding = self._speaker.embed(samples).float().cpu().numpy()
        if reference.speaker_embedding_only:
            return Voice(embedding=embedding)
        codes = self._encoder.encode(samples).cpu().numpy().astype(np.int32)
        return Voice(embedding=embedding, codes=codes, transcript=reference.transcript)
