"""The examples run as scripts, against one server that the example of a server starts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from clients.demo import free_port
from clients.examples.server import serving
from engine.checkpoint.dummy import write_checkpoint
from tests.service.test_kinds import recording

FOLDER = Path(__file__).parents[2] / "clients" / "examples"
KINDS = ("1.7B-CustomVoice", "1.7B-VoiceDesign", "1.7B-Base")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root, address = tmp_path_factory.mktemp("checkpoints"), f"localhost:{free_port()}"
    models = [write_checkpoint(root / kind, kind, seed=8, eos_scale=1.8) for kind in KINDS]
    with serving(address, "--metrics-port=0", *(f"--model={model}" for model in models)):
        yield address


def run(address: str, name: str, folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """The standard output of an example that runs in `folder`."""
    command, environment = [sys.executable, str(FOLDER / name), *arguments], {**os.environ, "QWENTTS_SERVER": address}
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def durations(folder: Path, pattern: str) -> dict[str, float]:
    return {file.name: soundfile.info(file).duration for file in sorted(folder.glob(pattern))}


def test_custom_voice(address: str, tmp_path: Path) -> None:
    assert b"serena" in run(address, "custom_voice.py", tmp_path)
    assert durations(tmp_path, "*.wav")["custom_voice.wav"] > 0


def test_voice_clone(address: str, tmp_path: Path) -> None:
    (tmp_path / "me.flac").write_bytes(recording())
    run(address, "voice_clone.py", tmp_path, "me.flac", "What I say in it.")
    assert list(durations(tmp_path, "*.wav")) == ["clone_1.wav", "clone_2.wav", "clone_once.wav"]


def test_voice_design(address: str, tmp_path: Path) -> None:
    assert b"seed=" in run(address, "voice_design.py", tmp_path)
    assert durations(tmp_path, "*.wav")["voice_design.wav"] > 0


def test_streaming_client(address: str, tmp_path: Path) -> None:
    pcm = run(address, "streaming_client.py", tmp_path)
    assert pcm and len(pcm) % 2 == 0


def test_batch(address: str, tmp_path: Path) -> None:
    run(address, "batch.py", tmp_path, "out", stdin=b"One line.\nAnother line.\n")
    assert list(durations(tmp_path / "out", "*.wav")) == ["0001.wav", "0002.wav"]


def test_a_server_that_cannot_start_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="exit code 2"), serving("localhost:1", "--model=/nowhere"):
        pass
    assert "/nowhere" in capfd.readouterr().err


def test_offline(noise: Path, tmp_path: Path) -> None:
    assert b"frames" in run("", "offline.py", tmp_path, str(noise))
    made = durations(tmp_path, "offline_*.wav")
    assert list(made) == ["offline_1.wav", "offline_2.wav", "offline_3.wav", "offline_stream.wav"]
    assert all(seconds > 0 for seconds in made.values())
