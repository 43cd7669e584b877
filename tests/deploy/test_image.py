"""The image and the composition: what they name exists, and nothing in them is lax."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwentts_grpc.cli import flags
from qwentts_grpc.server.config import ServerConfig
from tests.deploy.test_supply_chain import LOCK, locked
from tests.deploy.test_unit import LONGEST_CLOSE, settings

DOCKERFILE = Path("Dockerfile")
CPU = Path("deploy/requirements-cpu.txt")
COMPOSE, CUDA = Path("deploy/compose.yaml"), Path("deploy/compose.cuda.yaml")


def stages() -> dict[str, str]:
    """Text of each stage by its name."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    parts = re.split(r"^FROM \S+ AS (\S+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def environment(stage: str) -> dict[str, str]:
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", stages()[stage], flags=re.MULTILINE)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load(COMPOSE.read_text())["services"])


def test_hadolint_is_content() -> None:
    tool = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [tool, "--failure-threshold", "style", DOCKERFILE], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_everything_that_is_installed_has_a_digest() -> None:
    installs = [line for line in DOCKERFILE.read_text().replace("\\\n", " ").splitlines() if "pip install" in line]
    assert len(installs) == 4
    assert all("--require-hashes" in line or "--no-deps --no-index /wheels/*.whl" in line for line in installs)


def test_torch_without_cuda_is_the_version_of_the_lock() -> None:
    (version, digests), *others = re.findall(
        r"^torch==(\S+)\+cpu((?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", CPU.read_text(), re.M
    )
    assert version == locked()["torch"] and digests.count("sha256") == 2 and not others


def test_the_target_cpu_leaves_out_what_only_cuda_needs() -> None:
    (script,) = re.findall(r"sed '(.*)' deploy/requirements.txt", stages()["build-cpu"])
    done = subprocess.run(["sed", script, LOCK], capture_output=True, text=True, timeout=20, check=True)
    kept = set(re.findall(r"^(\S+)==", done.stdout, re.MULTILINE))
    left_out = set(locked()) - {name.lower() for name in kept}
    assert left_out and all(re.match(r"torch$|triton$|cuda-|nvidia-", name) for name in left_out)
    assert not [line for line in done.stdout.splitlines() if line.startswith(" ") and "--hash" not in line]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_a_target_ends_as_a_user_without_rights(target: str) -> None:
    assert stages()[target].strip().endswith("USER 10001:10001")
    assert "--uid 10001" in stages()["runtime"]


def test_what_is_written_goes_to_volumes() -> None:
    variables = environment("runtime")
    (volumes,) = re.findall(r"^VOLUME (.*)$", stages()["runtime"], re.MULTILINE)
    written = [variables[name] for name in ("HF_HOME", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "QWENTTS_VOICE_DIR")]
    assert all(any(path.startswith(f"{volume}/") for volume in json.loads(volumes)) for path in written)
    unit = {pair.split("=")[0] for line in settings()["Environment"] for pair in line.split()}
    assert unit <= variables.keys()


def test_its_variables_are_flags_of_the_server() -> None:
    parser = argparse.ArgumentParser()
    flags.SERVE.add(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    ours = [name for name in environment("runtime") if name.startswith("QWENTTS_")]
    assert ours and {f"--{name.removeprefix('QWENTTS_').lower().replace('_', '-')}" for name in ours} <= known


def test_ports_are_those_of_the_server() -> None:
    (exposed,) = re.findall(r"^EXPOSE (.*)$", stages()["runtime"], re.MULTILINE)
    assert [int(port) for port in exposed.split()] == [ServerConfig("").port, ServerConfig("").metrics_port]


def test_the_context_holds_what_the_wheels_are_made_of() -> None:
    lines = Path(".dockerignore").read_text().splitlines()
    assert "*" in lines
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert all(Path(path).exists() for path in kept)
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    assert {path for line in copied for path in line.split()} - {"."} <= set(kept)
    assert {"engine", "qwentts_grpc", "clients/python", "pyproject.toml"} <= set(kept)


def test_the_composition_opens_ports_on_this_machine_alone() -> None:
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_ours_in_the_composition_are_as_strict_as_the_unit() -> None:
    for name in ("server", "http"):
        service = services()[name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["build"]["target"] in stages()


def test_the_composition_gives_turns_time_to_end() -> None:
    (drain,) = (float(word) for word in services()["server"]["command"] if word.isdigit())
    assert int(services()["server"]["stop_grace_period"].removesuffix("s")) > drain + LONGEST_CLOSE


def test_every_file_and_volume_that_the_composition_names_exists() -> None:
    composition = yaml.safe_load(COMPOSE.read_text())
    for service in services().values():
        for source in (mount.split(":")[0] for mount in service.get("volumes", ())):
            assert (COMPOSE.parent / source).exists() if source.startswith("./") else source in composition["volumes"]
    assert yaml.safe_load(CUDA.read_text())["services"].keys() <= composition["services"].keys()


def test_prometheus_and_grafana_are_provisioned() -> None:
    (scrape,) = yaml.safe_load(Path("deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert scrape["job_name"] == "qwentts"
    assert scrape["static_configs"] == [{"targets": [f"server:{ServerConfig('').metrics_port}"]}]
    provisioning = Path("deploy/grafana/provisioning")
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus" and source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards/qwentts.yml").read_text())["providers"]
    mounted = [mount.split(":")[1] for mount in services()["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/dashboard.json" in mounted
