"""The contract: its style, its promise to those who hold an older copy, and one text of it wherever it is told."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection_pb2

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.server.grpc_server import SERVICES

from .conftest import Running

PROTO = Path(__file__).parents[2] / "proto"
RELEASED = PROTO / "released.binpb"


def buf(*arguments: object) -> subprocess.CompletedProcess[str]:
    path = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
    if path is None:
        pytest.skip("buf is not installed (pip install buf-bin)")
    return subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def ours(files: FileDescriptorSet) -> FileDescriptorProto:
    """The contract among `files`, without what compilers may add: JSON names, and notes of their own."""
    (file,) = (file for file in files.file if file.package == "qwentts.v1")
    file.DiscardUnknownFields()
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return file


def described() -> FileDescriptorProto:
    """The contract as the stubs hold it."""
    file = FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    return file


@pytest.mark.parametrize("check", [("lint", PROTO), ("breaking", PROTO, "--against", RELEASED)], ids=lambda x: x[0])
def test_buf_finds_nothing_to_say(check: tuple[object, ...]) -> None:
    done = buf(*check)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("string voice = 3;", "string voice = 13;"),
        ("int32 sequence = 2;", "int64 sequence = 2;"),
        ("FINISH_REASON_GUARD = 4;", "FINISH_REASON_RUNAWAY = 4;"),
        ("rpc GetVoice(GetVoiceRequest) returns (GetVoiceResponse);", ""),
    ],
    ids=["number", "type", "name", "method"],
)
def test_what_would_break_a_client_is_found(tmp_path: Path, before: str, after: str) -> None:
    shutil.copytree(PROTO, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "qwentts/v1/tts.proto"
    words = file.read_text()
    assert before in words
    file.write_text(words.replace(before, after))
    done = buf("breaking", tmp_path, "--against", RELEASED)
    assert done.returncode == 100 and "tts.proto:" in done.stdout


def test_the_stubs_say_what_the_file_says(tmp_path: Path) -> None:
    image = tmp_path / "now.binpb"
    assert buf("build", PROTO, "--exclude-source-info", "-o", image).returncode == 0
    assert ours(FileDescriptorSet.FromString(image.read_bytes())) == described()


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_says_what_the_stubs_say_under_both_names(tts: Running, version: str) -> None:
    ask = tts.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="qwentts.v1.TTSService"),
    ]
    listed, answer = [response async for response in ask(iter(requests))]
    names = {service.name for service in listed.list_services_response.service}
    assert names == {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    files = map(FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
    assert ours(FileDescriptorSet(file=files)) == described()
