"""The options of a turn, as keywords of `AsyncClient.synthesize`."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration

from qwentts_client.channels import LARGEST_REFERENCE
from qwentts_client.v1 import tts_pb2

if TYPE_CHECKING:
    from typing_extensions import TypedDict

    class SpeechOptions(TypedDict, total=False):
        """Keywords of a turn; `synthesis_config` explains them."""

        voice: str
        reference: bytes | None
        transcript: str
        consent_reference: str
        language: str
        instructions: str
        model: str
        seed: int | None
        encoding: str
        sample_rate: int
        paced: bool
        request_id: str
        config: tts_pb2.SynthesisConfig | None


PREFIX = "AUDIO_ENCODING_"
ENCODINGS = [name[len(PREFIX) :].lower() for name in tts_pb2.AudioEncoding.keys()[1:]]
NO_LEAD_LIMIT = Duration(seconds=86_400)


def synthesis_config(
    *,
    voice: str = "",
    reference: bytes | None = None,
    transcript: str = "",
    consent_reference: str = "",
    language: str = "",
    instructions: str = "",
    model: str = "",
    seed: int | None = None,
    encoding: str = "",
    sample_rate: int = 0,
    paced: bool = True,
    request_id: str = "",
    config: tts_pb2.SynthesisConfig | None = None,
) -> tts_pb2.SynthesisConfig:
    """The config of a turn; fields of `config` take precedence.

    reference: a recording to clone in place of `voice`: the bytes of any common file, at most 10 MiB and 60 s.
    transcript: its text; without it only its speaker is used.
    consent_reference: where the speaker's consent to its use is on record, which some servers demand.
    instructions: how to speak, or which voice to design.
    seed: the same seed gives the same speech for one text layout: set `config.delivery.text_mode` to be sure of it.
    encoding: such as "pcm_s16le" (the default), "pcm_f32le", "wav", "flac", "ogg_opus", "mulaw", "alaw".
    sample_rate: in hertz, 8000 to 48000 (default: 24000).
    paced: let synthesis run only a little ahead of a listener; False for files, as fast as it goes.
    request_id: the turn's id in the server's log.

    Raises TypeError for an argument of the wrong type, and ValueError for a voice beside a reference, a reference that
    is empty or too large, an unknown encoding, or a text or number that the contract cannot hold.
    """
    texts = {
        "voice": voice,
        "transcript": transcript,
        "consent_reference": consent_reference,
        "language": language,
        "instructions": instructions,
        "model": model,
        "encoding": encoding,
        "request_id": request_id,
    }
    _check_types(texts, str)
    _check_types({"seed": seed, "sample_rate": sample_rate}, Integral)
    _check_types({"config": config}, tts_pb2.SynthesisConfig)
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"seed: {seed} is not from 0 to 2**64 - 1")
    made = tts_pb2.SynthesisConfig(
        request_id=request_id, model=model, voice=voice, language=language, instructions=instructions
    )
    if (transcript or consent_reference) and reference is None:
        raise ValueError("a transcript or consent is of a reference, and there is none")
    if reference is not None:
        if voice:
            raise ValueError("give either a voice or a reference")
        made.reference.audio = checked_recording(reference)
        made.reference.transcript = transcript
        made.reference.consent_reference = consent_reference
        made.reference.speaker_embedding_only = not transcript
    if seed is not None:
        made.sampling.seed = seed
    if encoding or sample_rate:
        made.audio_format.CopyFrom(audio_format(encoding or ENCODINGS[0], sample_rate))
    if not paced:
        made.delivery.max_lead.CopyFrom(NO_LEAD_LIMIT)
    if config is not None:
        made.MergeFrom(config)
    return made


def _check_types(options: Mapping[str, object], kind: type) -> None:
    for name, value in options.items():
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise TypeError(f"{name} is of type {type(value).__name__}, not {kind.__name__}")


def audio_format(encoding: str, sample_rate: int = 0) -> tts_pb2.AudioFormat:
    """The format of an encoding by its name in `ENCODINGS`.

    Raises ValueError for another.
    """
    if encoding not in ENCODINGS:
        raise ValueError(f"{encoding!r} is not one of {', '.join(ENCODINGS)}")
    return tts_pb2.AudioFormat(encoding=PREFIX + encoding.upper(), sample_rate_hertz=sample_rate)


def encoding_name(format: tts_pb2.AudioFormat) -> str:
    """Its encoding's name in `ENCODINGS`."""
    return tts_pb2.AudioEncoding.Name(format.encoding)[len(PREFIX) :].lower()


def checked_recording(audio: bytes) -> bytes:
    """`audio`; raises ValueError beyond the servers' limits.

    Raises TypeError for a path, whose file is to be read first.
    """
    if not isinstance(audio, (bytes, bytearray, memoryview)):
        raise TypeError(f"a recording is the bytes of a file, not a {type(audio).__name__}: read the file first")
    audio = bytes(audio)
    if not audio:
        raise ValueError("the recording is empty: 0 bytes")
    if len(audio) > LARGEST_REFERENCE:
        raise ValueError(
            f"the recording has {len(audio):,} bytes, more than the {LARGEST_REFERENCE:,} that a server takes:"
            " cut it (3 to 15 s are enough), or send it as mono, FLAC or Ogg"
        )
    return audio
