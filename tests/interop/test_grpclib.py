"""grpclib: another HTTP/2, in Python alone."""

import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpclib.client import Channel, StreamStreamMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from qwentts_client.v1 import tts_pb2 as pb
from tests.service.conftest import Running

from .conftest import CONFIG, SAMPLES, messages

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def turn(server: Running, config: dict[str, object]) -> tuple[list[pb.SynthesizeResponse], dict[str, str]]:
    """Responses and trailers."""
    channel = Channel("127.0.0.1", server.port)
    method = StreamStreamMethod(
        channel, "/qwentts.v1.TTSService/Synthesize", pb.SynthesizeRequest, pb.SynthesizeResponse
    )
    try:
        async with method.open(timeout=30) as stream:
            for message in messages(config):
                await stream.send_message(json_format.ParseDict(message, pb.SynthesizeRequest()))
            await stream.end()
            responses = [response async for response in stream]
            await stream.recv_trailing_metadata()
            assert stream.trailing_metadata is not None
            return responses, {key: str(value) for key, value in stream.trailing_metadata.items()}
    finally:
        channel.close()


async def test_the_same_bytes(server: Running, expected: bytes) -> None:
    responses, trailers = await turn(server, CONFIG)
    assert b"".join(response.audio.data for response in responses) == expected
    kinds = [response.WhichOneof("payload") for response in responses if not response.HasField("notice")]
    assert (kinds[0], kinds[-1]) == ("started", "summary")
    assert (trailers["audio-samples"], trailers["finish-reason"]) == (str(SAMPLES), "length")


async def test_a_failure_is_decoded(server: Running) -> None:
    with pytest.raises(GRPCError) as raised:
        await turn(server, {**CONFIG, "voice": "nobody"})
    assert raised.value.status is Status.NOT_FOUND
    (info,) = [detail for detail in raised.value.details if isinstance(detail, error_details_pb2.ErrorInfo)]
    assert info.reason == "VOICE_NOT_FOUND"
