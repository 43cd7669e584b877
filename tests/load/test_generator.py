"""The generator against a server of its own, both as separate processes: the schedule's requests are all spoken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load.plan import MEASUREMENT
from benchmarks.load.schedule import arrivals
from benchmarks.parts.machine import share_cores
from benchmarks.parts.server import serving
from benchmarks.parts.target import Target
from benchmarks.plot_load import draw
from engine.checkpoint.dummy import write_checkpoint

RATE, SECONDS = 3.0, 1.0


def load(server: str, out: Path, *flags: str) -> str:
    command = [sys.executable, "-m", "benchmarks.load", "--server", server, "--json", str(out), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_every_request_is_sent_and_spoken(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.txt", tmp_path / "load.json"
    prompts.write_text("One.\nTwo, a little longer.\n")
    checkpoint = write_checkpoint(tmp_path / "tiny", "0.6B-CustomVoice", eos_scale=0.0)
    flags = ("--rates", f"{RATE:g}", "--seconds", f"{SECONDS:g}", "--warm-up", "0.5", "--seeds", "0,1", "--keep-going")
    server_cores, _ = share_cores()
    with serving(Target(str(checkpoint), "cpu", max_speeches=4, max_queue=16).flags, server_cores) as served:
        printed = load(served.address, out, "--prompts", str(prompts), *flags)
        assert served.count("tts_requests_total") > 0
        assert served.count("tts_graph_fallbacks_total") == 0
    document = json.loads(out.read_text())
    [figures] = document["rates"]
    planned = sum(len(arrivals(seed, MEASUREMENT, RATE, SECONDS)) for seed in (0, 1))
    assert figures["requests"] == planned
    assert figures["failed"] == 0, figures["errors"]
    assert 0 < figures["first_playable"]["p50"] <= figures["first_playable"]["p95"] < figures["end_to_end"]["p99"]
    assert printed.splitlines()[-1].startswith("| 3 |")
    assert draw(document).count("<circle") == 2 + len(document["best_rival"])


def test_a_server_that_is_full_fails_the_gate(tmp_path: Path) -> None:
    out = tmp_path / "load.json"
    checkpoint = write_checkpoint(tmp_path / "tiny", "0.6B-CustomVoice", eos_scale=0.0)
    with serving(Target(str(checkpoint), "cpu", max_speeches=1, max_queue=0).flags, share_cores()[0]) as served:
        load(served.address, out, "--rates", "20,40", "--seconds", "0.5", "--warm-up", "0", "--seeds", "0")
    document = json.loads(out.read_text())
    assert [(figures["rate"], figures["passed"]) for figures in document["rates"]] == [(20.0, False)]
    assert document["rates"][0]["failed"] > 0
    assert document["rates"][0]["errors"][0].startswith("RESOURCE_EXHAUSTED")


def test_a_server_that_cannot_start_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit, match="ended before it served"),
        serving(Target(str(tmp_path / "nothing"), "cpu", max_speeches=1, max_queue=0).flags, share_cores()[0]),
    ):
        pytest.fail("it served")
