"""Clients in other languages, by stubs of their own tools: the same bytes, trailers, and details of a refusal."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from qwentts_client.v1 import tts_pb2 as pb
from tests.service.conftest import Running

from .conftest import CONFIG, ROOT, SAMPLES, found, messages

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400)]

CLIENTS, PROTO = ROOT / "clients", "qwentts/v1/tts.proto"
GOCODE, JARS = Path("/usr/share/gocode"), Path("/usr/share/java")  # where Debian's packages put them
JAVA = (
    "grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub guava protobuf "
    "netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-common netty-handler netty-resolver "
    "netty-transport netty-transport-native-unix-common perfmark-api jctools-core geronimo-annotation-1.3-spec"
)
OLDEST = ROOT / ".venv-proto/bin/python"  # grpcio and protobuf as old as the committed stubs

Command = tuple[list[str], dict[str, str]]  # what runs a client, and its environment beside ours


def sh(*command: str | Path, **environment: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr


def stubs(folder: Path, *outputs: str, plugin: str = "") -> None:
    """Let protoc write into `folder`."""
    flags = [f"--plugin=protoc-gen-grpc={found(plugin)}"] if plugin else []
    sh(found("protoc"), f"-I{ROOT / 'proto'}", *flags, *(f"--{output}_out={folder}" for output in outputs), PROTO)


def oldest_python(folder: Path) -> Command:
    if not OLDEST.exists():
        pytest.skip(f"{OLDEST.parents[1].name} is not there (make proto)")
    return [str(OLDEST), str(CLIENTS / "python/by_stubs.py")], {"PYTHONPATH": str(CLIENTS / "python")}


def go(folder: Path) -> Command:
    package = folder / "src/qwentts/v1"
    for tool in ("go", "protoc-gen-go", "protoc-gen-go-grpc"):
        found(tool)
    if not (GOCODE / "src/google.golang.org/grpc").is_dir():
        pytest.skip("grpc-go is not installed (golang-google-grpc-dev)")
    package.mkdir(parents=True)
    stubs(folder / "src", "go", "go-grpc")
    paths = {"GO111MODULE": "off", "GOPATH": f"{folder}:{GOCODE}", "GOCACHE": str(folder / "cache")}
    sh(found("go"), "build", "-o", folder / "client", CLIENTS / "go/client.go", **paths)
    return [str(folder / "client")], {}


def java(folder: Path) -> Command:
    path = ":".join(str(JARS / f"{name}.jar") for name in JAVA.split())
    if not (JARS / "grpc-api.jar").exists():
        pytest.skip("grpc-java is not installed (libgrpc-java)")
    compiler = found("javac")
    stubs(folder, "java", "grpc", plugin="grpc_java_plugin")
    sh(compiler, "-nowarn", "-cp", path, "-d", folder, CLIENTS / "java/Client.java", *folder.rglob("*.java"))
    return [found("java"), "-cp", f"{folder}:{path}", "Client"], {}


def cpp(folder: Path) -> Command:
    compiler, config = found("g++"), found("pkg-config")
    if subprocess.run([config, "--exists", "grpc++", "protobuf"], timeout=30).returncode:
        pytest.skip("gRPC's C++ is not installed (libgrpc++-dev)")
    stubs(folder, "cpp", "grpc", plugin="grpc_cpp_plugin")
    libraries = subprocess.check_output([config, "--libs", "grpc++", "protobuf"], text=True, timeout=30).split()
    program, sources = folder / "client", [CLIENTS / "cpp/client.cc", *folder.rglob("*.cc")]
    sh(compiler, "-std=c++17", f"-I{folder}", *sources, "-o", program, *libraries)
    return [str(program)], {}


def ruby(folder: Path) -> Command:
    interpreter = found("ruby")
    if subprocess.run([interpreter, "-e", "require 'grpc'"], capture_output=True, timeout=30).returncode:
        pytest.skip("Ruby's gRPC is not installed (ruby-grpc)")
    stubs(folder, "ruby", "grpc", plugin="grpc_ruby_plugin")
    return [interpreter, "-I", str(folder), str(CLIENTS / "ruby/client.rb")], {}


@pytest.fixture(scope="module", params=[oldest_python, go, java, cpp, ruby], ids=lambda build: build.__name__)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Command:
    build: Callable[[Path], Command] = request.param
    return build(tmp_path_factory.mktemp(build.__name__))


async def turn(server: Running, client: Command, config: dict[str, object], pcm: Path) -> dict[str, str]:
    """The facts that a client prints; it writes what it hears to `pcm`."""
    requests = [json_format.ParseDict(message, pb.SynthesizeRequest()) for message in messages(config)]
    command, environment = client
    words = [*command, server.address, str(pcm), *(request.SerializeToString().hex() for request in requests)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=pipe, env={**os.environ, **environment})
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return {key: value for key, _, value in (line.partition(" ") for line in out.decode().splitlines())}


async def test_the_same_bytes(server: Running, expected: bytes, client: Command, tmp_path: Path) -> None:
    facts = await turn(server, client, CONFIG, tmp_path / "pcm")
    assert (facts["code"], facts["audio-samples"], facts["finish-reason"]) == ("0", str(SAMPLES), "length")
    assert (tmp_path / "pcm").read_bytes() == expected


async def test_a_failure_is_decoded(server: Running, client: Command, tmp_path: Path) -> None:
    facts = await turn(server, client, {**CONFIG, "voice": "nobody"}, tmp_path / "pcm")
    assert (facts["code"], (tmp_path / "pcm").read_bytes()) == ("5", b"")
    status = status_pb2.Status.FromString(bytes.fromhex(facts["grpc-status-details-bin"]))
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details) and info.reason == "VOICE_NOT_FOUND"
