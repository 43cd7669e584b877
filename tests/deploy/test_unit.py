"""The systemd unit: what it may do is little, and what it asks of the server exists."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qwentts_grpc.cli import flags
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.process import SLACK
from qwentts_grpc.server.waits import CLOSE_LIMIT

UNIT = Path("deploy/qwentts-grpc.service")
MOST_EXPOSED = 3.0
LONGEST_CLOSE = 2 * (CLOSE_LIMIT + SLACK)  # seconds beyond the drain, of the supervisor


def settings() -> dict[str, list[str]]:
    """Of its [Service], each as often as it is there."""
    lines = UNIT.read_text().replace("\\\n", " ").partition("[Service]")[2].partition("[Install]")[0].splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def command() -> list[str]:
    (line,) = settings()["ExecStart"]
    return line.split()


def test_it_is_little_exposed() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    analyze = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(UNIT)]
    done = subprocess.run(analyze, capture_output=True, text=True, timeout=60)
    (score,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert done.returncode == 0 and float(score) < MOST_EXPOSED
    print(f"systemd-analyze security: {score}")


def test_its_flags_are_the_servers() -> None:
    parser = argparse.ArgumentParser()
    flags.SERVE.add(parser)
    options = parser.parse_args(command()[2:])
    assert command()[1] == "serve" and options.token_file and options.tls_key and options.voice_dir
    (stop,) = settings()["TimeoutStopSec"]
    assert float(stop) > ServerConfig("unused").drain_seconds + LONGEST_CLOSE


def test_every_secret_is_a_credential_and_every_folder_its_own() -> None:
    credentials = {value.partition(":")[0] for value in settings()["LoadCredential"]}
    used = {word.removeprefix("%d/") for word in command() if word.startswith("%d/")}
    assert used == credentials == {"server.pem", "server.key", "tokens"}
    assert "/etc/" not in " ".join(command())
    places = {word[:2] for word in command() if re.match(r"%[A-Z]/", word)}
    assert places == {"%S", "%L"} and {"StateDirectory", "LogsDirectory", "CacheDirectory"} <= settings().keys()
    environment = dict(pair.split("=") for line in settings()["Environment"] for pair in line.split())
    assert {"HF_HOME", "TRITON_CACHE_DIR"} <= environment.keys()
    assert all(value.startswith("%C/qwentts") for name, value in environment.items() if name != "GRPC_VERBOSITY")


def test_no_core_is_left() -> None:
    assert settings()["LimitCORE"] == ["0"] and settings()["UMask"] == ["0077"]


def test_a_gpu_can_be_reached() -> None:
    assert "PrivateDevices" not in settings()
    assert {value.split()[0] for value in settings()["DeviceAllow"]} >= {"char-nvidia", "char-nvidia-uvm"}
    assert settings()["ExecStartPre"][0].startswith("-+/usr/bin/nvidia-modprobe")
    assert "ProcSubset" not in settings() and "MemoryDenyWriteExecute" not in settings()
