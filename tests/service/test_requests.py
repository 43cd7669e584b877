"""Wire messages become engine values, and what the wire gets wrong is refused by the name of its field."""

import math
from collections.abc import Callable

import pytest
from google.protobuf.duration_pb2 import Duration

from engine.api.config import ModelCard
from engine.api.errors import InvalidRequest
from engine.api.request import Delivery, Sampling, SamplingParams, TextFilter, TextMode
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.wire import requests
from qwentts_grpc.wire.limits import Limits

DEFAULTS = Sampling(SamplingParams(0.7, 20, 0.8), SamplingParams(0.6, 10, 0.9), 1.1)
CARD = ModelCard("tiny", "custom_voice", ("english",), ("ryan",), True, "", 1_920, 24_000)
SAMPLING, DELIVERY = pb.SamplingOptions, pb.DeliveryOptions
SERVER = requests.ServerDefaults(CARD, DEFAULTS, Limits(text_characters=50, audio_seconds=60.0))


def asked(config: pb.SynthesisConfig, server: requests.ServerDefaults = SERVER) -> requests.ParsedRequest:
    return requests.parse_config(config, "id", server)


def test_an_empty_config_is_the_checkpoints_defaults() -> None:
    request = asked(pb.SynthesisConfig()).request
    assert request.sampling == DEFAULTS
    assert request.delivery == Delivery()
    assert request.request_id == "id"


def test_an_explicit_zero_differs_from_a_default() -> None:
    options = pb.SamplingOptions(temperature=0.0, top_k=0, predictor_temperature=0.0, predictor_top_k=0, seed=0)
    sampling = asked(pb.SynthesisConfig(sampling=options)).request.sampling
    assert sampling.talker == SamplingParams(0.0, 0, 0.8)
    assert sampling.predictor == SamplingParams(0.0, 0, 0.9)
    assert sampling.seed == 0


def test_every_knob_reaches_its_place() -> None:
    options = pb.SamplingOptions(
        temperature=0.9,
        top_p=0.5,
        top_k=3,
        repetition_penalty=1.05,
        seed=2**64 - 1,
        predictor_temperature=0.8,
        predictor_top_p=0.4,
        predictor_top_k=4,
        max_audio=Duration(seconds=1),
    )
    sampling = asked(pb.SynthesisConfig(sampling=options)).request.sampling
    # The decimals that were meant, not what float32 makes of them.
    assert sampling == Sampling(
        SamplingParams(0.9, 3, 0.5), SamplingParams(0.8, 4, 0.4), 1.05, 2**64 - 1, max_frames=12
    )


def test_delivery_reaches_its_place() -> None:
    delivery = pb.DeliveryOptions(
        text_mode=pb.TEXT_MODE_WHOLE,
        first_chunk_frames=2,
        max_chunk_frames=8,
        max_lead=Duration(seconds=2, nanos=500_000_000),
        input_idle_timeout=Duration(),
        sentence_segments=True,
        text_filter=pb.TEXT_FILTER_MARKUP,
    )
    assert asked(pb.SynthesisConfig(delivery=delivery)).request.delivery == Delivery(
        TextMode.WHOLE, 2, 8, 2.5, 0.0, sentence_segments=True, text_filter=TextFilter.MARKUP
    )


def test_end_before_text_is_left_to_the_engine() -> None:
    greedy = pb.SamplingOptions(temperature=0)
    assert asked(pb.SynthesisConfig(sampling=greedy)).request.sampling.end_before_text is None


@pytest.mark.parametrize(
    ("seconds", "nanos", "frames"), [(0, 80_000_000, 1), (1, 0, 12), (1, 40_000_000, 13), (0, 160_000_001, 2)]
)
def test_max_audio_is_never_exceeded(seconds: int, nanos: int, frames: int) -> None:
    options = pb.SamplingOptions(max_audio=Duration(seconds=seconds, nanos=nanos))
    assert asked(pb.SynthesisConfig(sampling=options)).request.sampling.max_frames == frames


def test_what_has_no_effect_is_told() -> None:
    assert asked(pb.SynthesisConfig(delivery=DELIVERY(word_timings=True))).without_effect == (
        "delivery.word_timings: not available from this model",
    )


def test_bounds_are_inside() -> None:
    sampling = pb.SamplingOptions(max_audio=Duration(seconds=60))
    delivery = DELIVERY(first_chunk_frames=12, max_chunk_frames=1, max_lead=Duration(nanos=80_000_000))
    request = asked(pb.SynthesisConfig(sampling=sampling, delivery=delivery)).request
    assert request.sampling.max_frames == 750
    assert (request.delivery.first_chunk_frames, request.delivery.max_chunk_frames) == (12, 1)


def test_instructions_that_the_checkpoint_does_not_follow_are_told() -> None:
    deaf = requests.ServerDefaults(
        ModelCard("tiny", "custom_voice", (), (), False, "", 1_920, 24_000), DEFAULTS, Limits()
    )
    assert asked(pb.SynthesisConfig(instructions="softly"), deaf).without_effect == (
        "instructions: not followed by this checkpoint",
    )
    assert asked(pb.SynthesisConfig(instructions="softly")).without_effect == ()


BAD: list[tuple[str, Callable[[], pb.SynthesisConfig]]] = [
    ("sampling.temperature", lambda: pb.SynthesisConfig(sampling=SAMPLING(temperature=math.nan))),
    ("sampling.temperature", lambda: pb.SynthesisConfig(sampling=SAMPLING(temperature=-1))),
    ("sampling.top_p", lambda: pb.SynthesisConfig(sampling=SAMPLING(top_p=0))),
    ("sampling.top_p", lambda: pb.SynthesisConfig(sampling=SAMPLING(top_p=1.5))),
    ("sampling.top_k", lambda: pb.SynthesisConfig(sampling=SAMPLING(top_k=-1))),
    ("sampling.repetition_penalty", lambda: pb.SynthesisConfig(sampling=SAMPLING(repetition_penalty=0))),
    ("sampling.predictor_temperature", lambda: pb.SynthesisConfig(sampling=SAMPLING(predictor_temperature=math.inf))),
    ("sampling.predictor_top_p", lambda: pb.SynthesisConfig(sampling=SAMPLING(predictor_top_p=-1))),
    ("sampling.predictor_top_k", lambda: pb.SynthesisConfig(sampling=SAMPLING(predictor_top_k=-5))),
    ("sampling.max_audio", lambda: pb.SynthesisConfig(sampling=SAMPLING(max_audio=Duration()))),
    ("sampling.max_audio", lambda: pb.SynthesisConfig(sampling=SAMPLING(max_audio=Duration(seconds=-1)))),
    ("sampling.max_audio", lambda: pb.SynthesisConfig(sampling=SAMPLING(max_audio=Duration(nanos=2_000_000_000)))),
    ("delivery.text_mode", lambda: pb.SynthesisConfig(delivery=DELIVERY(text_mode=9))),  # type: ignore[arg-type]
    ("delivery.text_filter", lambda: pb.SynthesisConfig(delivery=DELIVERY(text_filter=9))),  # type: ignore[arg-type]
    ("delivery.first_chunk_frames", lambda: pb.SynthesisConfig(delivery=DELIVERY(first_chunk_frames=0))),
    ("delivery.max_chunk_frames", lambda: pb.SynthesisConfig(delivery=DELIVERY(max_chunk_frames=-3))),
    ("delivery.max_lead", lambda: pb.SynthesisConfig(delivery=DELIVERY(max_lead=Duration()))),
    (
        "delivery.input_idle_timeout",
        lambda: pb.SynthesisConfig(delivery=DELIVERY(input_idle_timeout=Duration(nanos=-1))),
    ),
    ("voice", lambda: pb.SynthesisConfig(voice="x" * 257)),
    ("language", lambda: pb.SynthesisConfig(language="x" * 257)),
    ("instructions", lambda: pb.SynthesisConfig(instructions="x" * 51)),
]


@pytest.mark.parametrize(("field", "config"), BAD, ids=[f"{field}-{i}" for i, (field, _) in enumerate(BAD)])
def test_a_bad_value_is_refused_by_name(field: str, config: Callable[[], pb.SynthesisConfig]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(config())
    assert refused.value.field == field


def seconds(value: float) -> Duration:
    return Duration(seconds=int(value), nanos=round(value % 1 * 1e9))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (pb.SynthesisConfig(sampling=SAMPLING(max_audio=seconds(0.05))), "0.05 s is not in [0.08 s, 60 s]"),
        (pb.SynthesisConfig(sampling=SAMPLING(max_audio=seconds(61))), "61 s is not in [0.08 s, 60 s]"),
        (pb.SynthesisConfig(delivery=DELIVERY(first_chunk_frames=99)), "99 is not in [1, 12]"),
        (pb.SynthesisConfig(delivery=DELIVERY(max_chunk_frames=13)), "13 is not in [1, 12]"),
        (pb.SynthesisConfig(delivery=DELIVERY(max_lead=seconds(86_401))), "86401 s is not in [0.08 s, 86400 s]"),
        (pb.SynthesisConfig(delivery=DELIVERY(max_lead=seconds(0.001))), "0.001 s is not in [0.08 s, 86400 s]"),
        (pb.SynthesisConfig(delivery=DELIVERY(input_idle_timeout=seconds(1e5))), "100000 s is not in [0 s, 86400 s]"),
        (pb.SynthesisConfig(sampling=SAMPLING(temperature=10.5)), "10.5 is not in [0, 10]"),
        (pb.SynthesisConfig(sampling=SAMPLING(top_p=0)), "0 is not in (0, 1]"),
    ],
)
def test_a_range_is_told_in_the_fields_own_unit(config: pb.SynthesisConfig, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(config)
    assert refused.value.description == message


@pytest.mark.parametrize("bad", ["x" * 129, "two\nlines", "naïve", "\x7f"])
def test_a_request_id_fits_a_log_line(bad: str) -> None:
    with pytest.raises(InvalidRequest):
        requests.request_id(pb.SynthesisConfig(request_id=bad))


def test_fields_of_the_config_are_named_from_the_root() -> None:
    with pytest.raises(InvalidRequest) as refused, requests.fields_of_config():
        raise InvalidRequest("voice", "is odd", "FIELD_INVALID")
    assert (refused.value.field, refused.value.description) == ("config.voice", "is odd")
