"""Turns that are refused: each with its code, its reason, the field it is about, and nothing left behind."""

import asyncio
import io
import math
import wave
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from engine.api.errors import TextTooLong
from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.rpc.incoming import Incoming
from qwentts_grpc.service.request_reader import RequestReader
from qwentts_grpc.wire.limits import Limits

from .conftest import Running, config, failure, flush, send, text, turn

pytestmark = pytest.mark.asyncio(loop_scope="session")

Code = grpc.StatusCode
HELLO = text("Hello.")
NAN = pb.SynthesisConfig(sampling=pb.SamplingOptions(temperature=math.nan))
UNKNOWN_ENCODING = pb.SynthesisConfig(audio_format=pb.AudioFormat(encoding=99))  # type: ignore[arg-type]
ODD_RATE = pb.SynthesisConfig(audio_format=pb.AudioFormat(sample_rate_hertz=12_345))
UNKNOWN_MODE = pb.SynthesisConfig(delivery=pb.DeliveryOptions(text_mode=7))  # type: ignore[arg-type]
NOT_AUDIO = pb.SynthesisConfig(reference=pb.ReferenceVoice(audio=b"RIFFnonsense", transcript="x"))
FIRST_CHUNK = pb.SynthesisConfig(delivery=pb.DeliveryOptions(first_chunk_frames=99))
LITTLE = pb.SynthesisConfig(sampling=pb.SamplingOptions(max_audio=Duration(nanos=50_000_000)))
ODD_FRAMES = pb.SynthesisConfig(
    audio_format=pb.AudioFormat(sample_rate_hertz=22_050),
    delivery=pb.DeliveryOptions(frame_duration=Duration(nanos=10_000_000)),
)
INVALID = (Code.INVALID_ARGUMENT, "FIELD_INVALID")
EMPTY = (Code.INVALID_ARGUMENT, "TEXT_EMPTY", ["text"])


def only(asked: pb.SynthesisConfig) -> list[Any]:
    return [pb.SynthesizeRequest(config=asked), HELLO]


TABLE: dict[str, tuple[list[Any], Code, str, list[str]]] = {
    "nothing": ([], Code.INVALID_ARGUMENT, "CONFIG_NOT_FIRST", ["config"]),
    "text first": ([HELLO], Code.INVALID_ARGUMENT, "CONFIG_NOT_FIRST", ["config"]),
    "empty message": ([pb.SynthesizeRequest()], Code.INVALID_ARGUMENT, "CONFIG_NOT_FIRST", ["config"]),
    "two configs": ([config(), config()], Code.INVALID_ARGUMENT, "CONFIG_REPEATED", ["config"]),
    "nothing known": ([config(), pb.SynthesizeRequest()], Code.INVALID_ARGUMENT, "FIELD_INVALID", ["payload"]),
    "no text": ([config()], Code.INVALID_ARGUMENT, "TEXT_EMPTY", ["text"]),
    "empty text": ([config(), text(""), flush("x")], Code.INVALID_ARGUMENT, "TEXT_EMPTY", ["text"]),
    "blank text": ([config(), text(" \n")], Code.INVALID_ARGUMENT, "TEXT_EMPTY", ["text"]),
    "invisible text": ([config(), text("\u200b\u3000"), flush("x"), text("\ufeff")], *EMPTY),
    "signs alone": ([config(), text("... 👍🏽"), flush("x"), text("***")], *EMPTY),
    "nan": (only(NAN), Code.INVALID_ARGUMENT, "FIELD_INVALID", ["config.sampling.temperature"]),
    "encoding": (only(UNKNOWN_ENCODING), Code.INVALID_ARGUMENT, "FIELD_INVALID", ["config.audio_format.encoding"]),
    "rate": (only(ODD_RATE), Code.INVALID_ARGUMENT, "FIELD_INVALID", ["config.audio_format.sample_rate_hertz"]),
    "mode": (only(UNKNOWN_MODE), Code.INVALID_ARGUMENT, "FIELD_INVALID", ["config.delivery.text_mode"]),
    "first chunk": (only(FIRST_CHUNK), *INVALID, ["config.delivery.first_chunk_frames"]),
    "little audio": (only(LITTLE), *INVALID, ["config.sampling.max_audio"]),
    "frames": (only(ODD_FRAMES), *INVALID, ["config.delivery.frame_duration"]),
    "model": ([config(model="other"), HELLO], Code.INVALID_ARGUMENT, "FIELD_INVALID", ["config.model"]),
    "language": ([config(language="klingon"), HELLO], Code.INVALID_ARGUMENT, "FIELD_INVALID", ["config.language"]),
    "request id": ([config(request_id="a\nb"), HELLO], Code.INVALID_ARGUMENT, "FIELD_INVALID", ["config.request_id"]),
    "voice": ([config(voice="nobody"), HELLO], Code.NOT_FOUND, "VOICE_NOT_FOUND", []),
    "clone": (only(NOT_AUDIO), Code.FAILED_PRECONDITION, "MODEL_CAPABILITY", []),  # whatever its bytes are
    "long piece": ([config(), text("x" * 4_097)], Code.OUT_OF_RANGE, "TEXT_TOO_LONG", ["text"]),
    "long text": ([config(), *[text("x" * 500)] * 5], Code.OUT_OF_RANGE, "TEXT_TOO_LONG", ["text"]),
    "long mark": ([config(), flush("x" * 300)], Code.INVALID_ARGUMENT, "FIELD_INVALID", ["flush.mark"]),
}


@pytest.mark.parametrize("message", [text(""), flush("")], ids=["pieces", "flushes"])
async def test_messages_are_counted_too(message: pb.SynthesizeRequest) -> None:
    reader = RequestReader(Incoming(send([message] * 3)), Limits(appends=2, flushes=2), 0.0)
    with pytest.raises(TextTooLong):
        await reader.feed(SimpleNamespace(feed=lambda *_: None, flush=lambda *_: None, over=False))


@pytest.mark.parametrize("case", TABLE)
async def test_a_bad_turn_is_refused(tts: Running, case: str) -> None:
    requests, code, reason, fields = TABLE[case]
    refused = await failure(tts.stub.Synthesize(send(requests), timeout=20))
    assert (refused.code, refused.reason, refused.fields) == (code, reason, fields)


async def test_text_in_one_message_is_refused_alike(tts: Running) -> None:
    for words, code, reason in (
        *((blank, Code.INVALID_ARGUMENT, "TEXT_EMPTY") for blank in ("", " ", "\u2028\u180e", "…", "🙂")),
        ("x" * 2_001, Code.OUT_OF_RANGE, "TEXT_TOO_LONG"),
    ):
        request = pb.SynthesizeTextRequest(config=config().config, text=words)
        refused = await failure(tts.stub.SynthesizeText(request))
        assert (refused.code, refused.reason, refused.fields) == (code, reason, ["text"])


async def test_a_clone_of_a_checkpoint_that_cannot_is_a_failed_precondition(tts: Running) -> None:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as recording:
            recording.setparams((1, 2, 24_000, 0, "NONE", ""))
            recording.writeframes(bytes(2 * 48_000))
        audio = file.getvalue()
    asked = pb.SynthesisConfig(reference=pb.ReferenceVoice(audio=audio, speaker_embedding_only=True))
    refused = await failure(tts.stub.Synthesize(send(only(asked))))
    assert (refused.code, refused.reason) == (Code.FAILED_PRECONDITION, "MODEL_CAPABILITY")


async def test_a_deadline_that_has_almost_passed_is_refused(tts: Running) -> None:
    refused = await failure(tts.stub.Synthesize(send([config(), HELLO]), timeout=0.005))
    assert refused.code is Code.DEADLINE_EXCEEDED


async def test_a_long_message_and_garbage_do_not_harm_the_server(tts: Running) -> None:
    raw: Any = tts.channel.stream_stream("/qwentts.v1.TTSService/Synthesize")
    assert (await failure(raw(iter([bytes(12 * 2**20)])))).code is Code.RESOURCE_EXHAUSTED
    assert (await failure(raw(iter([b"\xff\xff\xff"])))).code is not Code.OK
    assert (await turn(tts, config(), HELLO))[-1].HasField("summary")


async def test_a_silent_caller_is_let_go(tts: Running) -> None:
    asked = config()
    asked.config.delivery.input_idle_timeout.FromMilliseconds(300)
    refused = await failure(tts.stub.Synthesize(send([asked, 30.0]), timeout=10))
    assert (refused.code, refused.reason) == (Code.ABORTED, "INPUT_IDLE")


async def test_a_status_arrives_even_while_its_caller_still_writes(tts: Running) -> None:
    """grpcio's asyncio client says INTERNAL where a status meets one of its writes; one in four did."""
    requests = [config(voice="nobody"), *[text("Hi.")] * 6]
    refused = await asyncio.gather(*(failure(tts.stub.Synthesize(send(requests))) for _ in range(50)))
    assert {refusal.code for refusal in refused} == {Code.NOT_FOUND}
