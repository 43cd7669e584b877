"""Wire messages to engine values, as pure functions.

Only what the wire alone can get wrong is checked here; `SpeechRequest.validate` checks the rest.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from google.protobuf.duration_pb2 import Duration

from engine.api.config import ModelCard
from engine.api.errors import InvalidRequest
from engine.api.request import (
    Delivery,
    Reference,
    Sampling,
    SamplingParams,
    SpeechRequest,
    TextFilter,
    TextMode,
    in_range,
)
from engine.api.voice import Voice
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.wire.limits import NAME, REQUEST_ID, Limits

Value = TypeVar("Value")

_TEXT_MODES: Mapping[int, TextMode | None] = {
    tts_pb2.TEXT_MODE_UNSPECIFIED: None,
    tts_pb2.TEXT_MODE_INCREMENTAL: TextMode.INCREMENTAL,
    tts_pb2.TEXT_MODE_WHOLE: TextMode.WHOLE,
}
_TEXT_FILTERS: Mapping[int, TextFilter] = {
    tts_pb2.TEXT_FILTER_UNSPECIFIED: TextFilter.NONE,
    tts_pb2.TEXT_FILTER_NONE: TextFilter.NONE,
    tts_pb2.TEXT_FILTER_MARKUP: TextFilter.MARKUP,
}


@dataclass(frozen=True, slots=True)
class ServerDefaults:
    """Model card, sampling defaults, limits for parsing a request."""

    card: ModelCard
    defaults: Sampling
    limits: Limits


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request for the engine, plus notes on ineffective fields.

    `without_effect`: one line for each field of the config without effect here.
    """

    request: SpeechRequest
    without_effect: tuple[str, ...]


def parse_config(
    config: tts_pb2.SynthesisConfig,
    request_id: str,
    server: ServerDefaults,
    reference: Reference | None = None,
    created: Voice | None = None,
    tenant: str = "",
) -> ParsedRequest:
    """Request of the engine for `config`.

    `reference`: the config's recording, decoded. `created`: its created voice. `tenant`: its share of the queue.
    Raises `InvalidRequest` naming the field inside the config ("sampling.top_p").
    """
    request = SpeechRequest(
        request_id=request_id,
        tenant=tenant,
        voice="" if created else checked_name("voice", config.voice),
        reference=reference,
        kept=created,
        instructions=_instructions(config.instructions, server.limits),
        language=checked_name("language", config.language),
        sampling=_sampling(config.sampling, server),
        delivery=_delivery(config.delivery),
    )
    request.validate()
    return ParsedRequest(request, _without_effect(config, server.card))


@contextmanager
def fields_of_config() -> Iterator[None]:
    """Prefix the fields of an `InvalidRequest` with "config."."""
    try:
        yield
    except InvalidRequest as error:
        raise InvalidRequest(f"config.{error.field}", error.description, error.reason) from error


def request_id(config: tts_pb2.SynthesisConfig) -> str:
    """The caller's id for the turn, or "".

    Raises `InvalidRequest` for an id that does not fit a log line.
    """
    value = config.request_id
    if len(value) > REQUEST_ID or not (value.isascii() and (value.isprintable())):
        raise InvalidRequest("request_id", f"needs at most {REQUEST_ID} printable ASCII characters")
    return value


def frame_nanoseconds(options: tts_pb2.DeliveryOptions) -> int | None:
    """Exact frame length requested, or None."""
    if not options.HasField("frame_duration"):
        return None
    return nanoseconds("delivery.frame_duration", options.frame_duration)


def checked_name(field: str, value: str) -> str:
    """`value`; raises `InvalidRequest` beyond `NAME` characters."""
    if len(value) > NAME:
        raise InvalidRequest(field, f"is longer than {NAME} characters")
    return value


def nanoseconds(field: str, value: Duration) -> int:
    """Integer nanoseconds; raises `InvalidRequest` if negative or malformed."""
    total = value.seconds * 1_000_000_000 + value.nanos
    if total < 0 or not 0 <= value.nanos < 1_000_000_000:
        raise InvalidRequest(field, "is not a duration of zero or more")
    return total


def _instructions(text: str, limits: Limits) -> str:
    if len(text) > limits.text_characters:
        raise InvalidRequest("instructions", f"are longer than {limits.text_characters} characters", "TEXT_TOO_LONG")
    return text


def _without_effect(config: tts_pb2.SynthesisConfig, card: ModelCard) -> tuple[str, ...]:
    """Lines for config fields that this checkpoint does not support."""
    lines = []
    if config.delivery.word_timings:
        lines.append("delivery.word_timings: not available from this model")
    if config.instructions and card.kind == "custom_voice" and not card.instructions:
        lines.append("instructions: not followed by this checkpoint")
    return tuple(lines)


def _sampling(options: tts_pb2.SamplingOptions, server: ServerDefaults) -> Sampling:
    defaults = server.defaults
    return Sampling(
        talker=_pick(options, "", defaults.talker),
        predictor=_pick(options, "predictor_", defaults.predictor),
        repetition_penalty=_real(options, "repetition_penalty", defaults.repetition_penalty),
        seed=options.seed if options.HasField("seed") else defaults.seed,
        max_frames=_longest(options, server),
    )


def _pick(options: tts_pb2.SamplingOptions, prefix: str, default: SamplingParams) -> SamplingParams:
    top_k = f"{prefix}top_k"
    return SamplingParams(
        temperature=_real(options, f"{prefix}temperature", default.temperature),
        top_k=getattr(options, top_k) if options.HasField(top_k) else default.top_k,
        top_p=_real(options, f"{prefix}top_p", default.top_p),
    )


def _real(options: tts_pb2.SamplingOptions, field: str, default: float) -> float:
    # A float32 on the wire becomes the decimal the caller wrote: 0.9, not 0.8999999761581421.
    return float(str(np.float32(getattr(options, field)))) if options.HasField(field) else default


def _longest(options: tts_pb2.SamplingOptions, server: ServerDefaults) -> int | None:
    if not options.HasField("max_audio"):
        return server.defaults.max_frames
    card = server.card
    longest = nanoseconds("sampling.max_audio", options.max_audio)
    in_range("sampling.max_audio", longest / 1e9, card.frame_seconds, server.limits.audio_seconds, unit=" s")
    return longest * card.sample_rate // (card.frame_samples * 1_000_000_000)


def _delivery(options: tts_pb2.DeliveryOptions) -> Delivery:
    default = Delivery()
    return Delivery(
        text_mode=_chosen(_TEXT_MODES, "text_mode", options.text_mode),
        first_chunk_frames=_whole(options, "first_chunk_frames", default.first_chunk_frames),
        max_chunk_frames=_whole(options, "max_chunk_frames", default.max_chunk_frames),
        max_lead=_seconds(options, "max_lead", default.max_lead),
        input_idle_timeout=_seconds(options, "input_idle_timeout", default.input_idle_timeout),
        sentence_segments=options.sentence_segments,
        text_filter=_chosen(_TEXT_FILTERS, "text_filter", options.text_filter),
    )


def _chosen(values: Mapping[int, Value], field: str, value: int) -> Value:
    if value not in values:
        raise InvalidRequest(f"delivery.{field}", f"{value} is not a known value")
    return values[value]


def _whole(options: tts_pb2.DeliveryOptions, field: str, default: int) -> int:
    value: int = getattr(options, field)
    return value if options.HasField(field) else default


def _seconds(options: tts_pb2.DeliveryOptions, field: str, default: float) -> float:
    if not options.HasField(field):
        return default
    return nanoseconds(f"delivery.{field}", getattr(options, field)) / 1e9
