"""Codec decoder, encoders of recordings, from a checkpoint."""

from engine.api.errors import CheckpointError
from engine.api.request import RECORDING_RATE
from engine.checkpoint.codec_config import CodecDecoderConfig, CodecEncoderConfig, SpeakerEncoderConfig
from engine.checkpoint.tensors import under
from engine.checkpoint.weights import Checkpoint
from engine.model.codec.decoder import CodecDecoder
from engine.model.codec.encoder import CodecEncoder
from engine.model.speaker.encoder import SpeakerEncoder
from engine.ops.codec import Decoder
from engine.ops.fallbacks import Fallbacks
from engine.ops.triton.codec.support import misfit
from engine.runner.cloner import Cloner
from engine.runner.codec import CodecStage


def make_decoder(checkpoint: Checkpoint, fused: bool) -> Decoder:
    """Codec decoder, by fused kernels where `fused` unless sizes misfit."""
    config = CodecDecoderConfig.from_json(checkpoint.codec_json["decoder_config"])
    weights = under(checkpoint.codec, "decoder")
    if not fused or Fallbacks().needed("codec decoder", misfit(config, weights)):
        return CodecDecoder(config, weights)
    from engine.ops.triton.codec.decoder import FusedCodecDecoder  # Triton is there on GPU machines only

    return FusedCodecDecoder(config, weights)


def make_cloner(checkpoint: Checkpoint, codec: CodecStage, name: str) -> Cloner | None:
    """Encoders of a base checkpoint; None for other kinds.

    Raises `CheckpointError` for a codec that does not take `RECORDING_RATE`; `name`: the checkpoint's.
    """
    if checkpoint.config.kind != "base":
        return None
    rate = checkpoint.codec_json["input_sample_rate"]
    if rate != RECORDING_RATE:
        raise CheckpointError(f"{name}: the codec encodes {rate} Hz, recordings have {RECORDING_RATE}")
    encoder_config = CodecEncoderConfig.from_json(checkpoint.codec_json)
    encoder = CodecEncoder(encoder_config, under(checkpoint.codec, "encoder"))
    speaker_config = SpeakerEncoderConfig.from_json(checkpoint.config_json["speaker_encoder_config"])
    speaker = SpeakerEncoder(speaker_config, under(checkpoint.main, "speaker_encoder"))
    return Cloner(encoder, speaker, codec)
