"""Slow callers on an idle server raise no alert; the same callers on a slow server do.

Real servers are driven, and what their metrics say of it goes to promtool as a trace in which each minute is the same.
"""

import asyncio
import json
import math
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.checkpoint.embedded import embedded_checkpoint
from qwentts_grpc.server.server import Server
from qwentts_grpc.v1 import tts_pb2 as pb
from tests.faults.devices import Steady
from tests.service.conftest import Running, flush, send, serving, text

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

RULES = Path(__file__).parents[2] / "deploy/prometheus/rules.yml"
MINUTES = 20
SENTENCE = "Okay, let me see what I can find."
ALERTS = 'count by (alertname) (ALERTS{alertstate="firing"})'
Turn = list[pb.SynthesizeRequest | float]
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def opening(max_lead: float = 5.0) -> pb.SynthesizeRequest:
    made = pb.SynthesizeRequest(config=pb.SynthesisConfig(sampling=pb.SamplingOptions(seed=1)))
    made.config.delivery.max_lead.FromNanoseconds(round(max_lead * 1e9))
    return made


def words(pause: float) -> Turn:
    return [part for word in SENTENCE.split() for part in (text(f"{word} "), pause)]


TURNS: dict[str, Turn] = {
    "opened early": [opening(), 1.0, text(SENTENCE)],
    "a word each 250 ms": [opening(), 0.4, *words(0.25)],
    "a tool call": [opening(), text(SENTENCE), flush("one"), 3.0, text(SENTENCE)],
    "a short lead": [opening(0.5), text(SENTENCE)],
    "a long lead": [opening(100.0), text(SENTENCE)],
}


async def drive(running: Running) -> pb.Summary:
    """Every caller in turn, each alone; the sum of what they are told in the end."""
    total = pb.Summary()
    for requests in TURNS.values():
        *_, last = [response async for response in running.stub.Synthesize(send(requests), timeout=60)]
        for field in ("underruns", "text_underruns", "engine_underruns"):
            mine, his = getattr(total, field), getattr(last.summary, field)
            if isinstance(mine, int):
                setattr(total, field, mine + his)
            else:
                mine.count += his.count
        await asyncio.sleep(0.1)
    return total


def figures(server: Server) -> Figures:
    """All samples of a scrape."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in server.metrics.registry.collect()
        for sample in family.samples
    }


def trace(server: Server, before: Figures) -> list[dict[str, str]]:
    """Series of promtool: counters rise each minute by what they have risen by since `before`, all else stays."""
    series = []
    rising = ("_total", "_bucket", "_count", "_sum")
    for (name, labels), value in {**figures(server), ("up", frozenset()): 1.0}.items():
        step = value - before.get((name, labels), 0.0) if name.endswith(rising) else 0.0
        if not math.isfinite(value):
            continue
        told = ",".join(f"{label}={json.dumps(word)}" for label, word in {"job": "qwentts", "instance": "i"}.items())
        told += "".join(f",{label}={json.dumps(word)}" for label, word in sorted(labels))
        series.append({"series": f"{name}{{{told}}}", "values": f"{value:.9f}+{step:.9f}x{MINUTES}"})
    return series


def difference(folder: Path, series: list[dict[str, str]], firing: set[str]) -> str:
    """What promtool has against it that exactly these alerts fire in the end; empty where they do."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing]
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [{"expr": ALERTS, "eval_time": f"{MINUTES}m", "exp_samples": samples}],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    (folder / "test.yml").write_text(json.dumps(document))  # JSON is YAML too
    done = subprocess.run([promtool, "test", "rules", folder / "test.yml"], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr if done.returncode else ""


@asynccontextmanager
async def server(step: float) -> AsyncIterator[Running]:
    """Embedded voice on a device whose steps take `step` seconds.

    Whatever else the processor has to do.
    """
    async with serving(embedded_checkpoint()) as running:
        device = Steady(running.eos, step, ends_after=15)
        with running.runner(lambda real: device):
            yield running


async def test_slow_callers_on_an_idle_server_raise_no_alert(tmp_path: Path) -> None:
    async with server(step=0.02) as running:
        for _ in range(3):  # on cores that others use too
            before = figures(running.server)
            told = await drive(running)
            wrong = difference(tmp_path, trace(running.server, before), set())
            if not wrong and not told.engine_underruns.count:
                break
    assert told.text_underruns.count >= 5
    assert (told.engine_underruns.count, wrong) == (0, "")


async def test_the_same_callers_on_a_slow_server_do(tmp_path: Path) -> None:
    async with server(step=0.2) as running:
        before = figures(running.server)
        told = await drive(running)
        series = trace(running.server, before)
    assert told.engine_underruns.count >= 5
    assert difference(tmp_path, series, {"FirstAudioLate", "PlaybackInterrupted", "SlowerThanPlayback"}) == ""
