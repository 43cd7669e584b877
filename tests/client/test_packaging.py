"""Two distributions: the light client, and the server that depends on it."""

import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoints
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

import qwentts_client
import qwentts_grpc
from qwentts_client.cli import main as command_line

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "python"


def test_the_client_is_light(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(CLIENT)).build(directory=str(tmp_path))
    assert Path(wheel).stat().st_size < 1_000_000
    files = [str(file.distribution_path) for file in WheelBuilder(str(CLIENT)).recurse_included_files()]
    assert {name.split("/")[0] for name in files} == {"qwentts_client"}
    assert {"qwentts_client/py.typed", "qwentts_client/v1/tts_pb2.pyi", "qwentts_client/cli/speak.py"} <= set(files)


def test_the_server_brings_the_voice_and_nothing_of_the_client() -> None:
    files = [str(file.distribution_path) for file in WheelBuilder(str(ROOT)).recurse_included_files()]
    assert {name.split("/")[0] for name in files} == {"engine", "qwentts_fleet", "qwentts_grpc"}
    assert any(
        name.startswith("engine/checkpoint/embedded_voices/joe_slt/") and name.endswith(".safetensors")
        for name in files
    )
    assert "qwentts_grpc/py.typed" in files


def test_both_have_one_version() -> None:
    client, server = WheelBuilder(str(CLIENT)).metadata, WheelBuilder(str(ROOT)).metadata
    assert client.version == server.version == qwentts_client.__version__ == qwentts_grpc.__version__
    (needed,) = (need for need in map(Requirement, server.core.dependencies) if need.name == "qwentts-client")
    assert client.version in needed.specifier


@pytest.mark.parametrize("name", ["client", "v1.tts_pb2", "v1.tts_pb2_grpc"])
@pytest.mark.parametrize("form", ["import {package}.{name} as found", "from {package} import {name} as found"])
def test_former_names_are_the_same_modules(form: str, name: str) -> None:
    package, _, last = f"qwentts_grpc.{name}".rpartition(".")
    found: dict[str, object] = {}
    exec(form.format(package=package, name=last), found)
    assert found["found"] is import_module(f"qwentts_client.{name}")


@pytest.mark.parametrize("module", ["qwentts_client", "qwentts_grpc", "qwentts_grpc.cli.flags"])
def test_the_command_line_is_a_module_too(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout.strip()) == (0, qwentts_client.__version__)


def test_serve_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command_line, "entry_points", lambda group: EntryPoints())
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["serve", "--port", "1"])
    said = capsys.readouterr().err
    assert f"pip install '{CLIENT}' '{ROOT}[server]'" in said and said.count("\n") == 1
