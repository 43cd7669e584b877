"""Metrics tell the truth: agreed names and buckets, children from the start, each call in exactly one outcome."""

import asyncio
import io
import shutil
import statistics
import subprocess
import time

import grpc
import numpy as np
import pytest
import soundfile

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_grpc.telemetry.metrics import METHODS, OUTCOMES, Metrics
from qwentts_grpc.wire.status import REJECTIONS

from .conftest import Running, cancel, config, failure, send, text, turn
from .test_lifecycle import page

HISTOGRAMS = {
    "tts_queue_wait_seconds": "0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0",
    "tts_time_to_first_audio_seconds": "0.01 0.02 0.03 0.04 0.05 0.075 0.1 0.15 0.2 0.3 0.5 1.0 2.5 5.0 10.0",
    "tts_server_time_to_first_audio_seconds": "0.01 0.02 0.03 0.04 0.05 0.075 0.1 0.15 0.2 0.3 0.5 1.0 2.5 5.0 10.0",
    "tts_audio_chunk_latency_seconds": "0.001 0.002 0.005 0.01 0.02 0.04 0.08 0.16 0.32 0.64",
    "tts_audio_chunk_interval_seconds": "0.005 0.01 0.02 0.04 0.08 0.12 0.16 0.24 0.32 0.5 1.0 2.5",
    "tts_audio_chunk_lateness_seconds": "0.0 0.01 0.02 0.05 0.1 0.2 0.5 1.0 5.0",
    "tts_engine_step_batch_size": "1.0 2.0 4.0 8.0 12.0 16.0 24.0 32.0 48.0 64.0 96.0 128.0",
    "tts_engine_step_duration_seconds": "0.001 0.002 0.003 0.004 0.006 0.008 0.012 0.016 0.024 0.04 0.08 0.16",
    "tts_slot_release_seconds": "0.001 0.005 0.01 0.02 0.05 0.1 0.25 1.0",
    "tts_real_time_factor": "0.05 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0 1.5 2.0 4.0",
}
OTHERS = {
    "tts_requests_total": {"method", "outcome"},
    "tts_requests_rejected_total": {"reason"},
    "tts_cancellations_total": {"origin"},
    "tts_streams_open": {"method"},
    "tts_queue_depth_requests": set(),
    "tts_underruns_total": {"cause"},
    "tts_underrun_seconds_total": {"cause"},
    "tts_engine_sequences_running": set(),
    "tts_engine_sequences_parked": set(),
    "tts_engine_sequences_paced": set(),
    "tts_text_starved_seconds_total": set(),
    "tts_kv_blocks_used": set(),
    "tts_kv_blocks_capacity": set(),
    "tts_engine_slots": set(),
    "tts_queue_capacity_requests": set(),
    "tts_preemptions_total": {"reason"},
    "tts_send_blocked_seconds_count": set(),
    "tts_audio_seconds_total": {"model"},
    "tts_text_characters_total": {"model"},
    "tts_codec_frames_total": {"used", "model"},
    "tts_graph_replays_total": {"stage"},
    "tts_engine_last_step_timestamp_seconds": set(),
    "tts_ready": set(),
    "process_resident_memory_bytes": set(),
    "process_open_fds": set(),
    "process_start_time_seconds": set(),
    "tts_build_info": {"version", "model", "torch", "cuda"},
}


def described() -> Metrics:
    metrics = Metrics()
    metrics.describe({"version": "1", "torch": "2", "cuda": "none"}, ["tiny"])
    return metrics


def test_every_agreed_metric_has_its_labels_and_children_from_the_start() -> None:
    samples = {sample.name: sample for family in described().registry.collect() for sample in family.samples}
    for name, labels in OTHERS.items():
        assert set(samples[name].labels) == labels, name
    assert not [name for name in samples if name.endswith("_created")]


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_buckets_are_as_agreed(name: str) -> None:
    samples = [sample for family in described().registry.collect() for sample in family.samples]
    bounds = list(dict.fromkeys(sample.labels["le"] for sample in samples if sample.name == f"{name}_bucket"))
    assert bounds == [*HISTOGRAMS[name].split(), "+Inf"]


pytest_session = pytest.mark.asyncio(loop_scope="session")


def outcomes(tts: Running) -> dict[str, float]:
    return {
        outcome: sum(tts.sample("tts_requests_total", method=method, outcome=outcome) for method in METHODS)
        for outcome in OUTCOMES
    }


def handled(tts: Running) -> dict[str, float]:
    """Calls that ended, by status, of both methods that speak."""
    labels = {"grpc_service": "qwentts.v1.TTSService"}
    return {
        code.name: sum(
            tts.sample("grpc_server_handled_total", grpc_method=method, grpc_code=code.name, **labels)
            for method in METHODS
        )
        for code in grpc.StatusCode
    }


@pytest_session
async def test_each_call_ends_in_exactly_one_outcome(tts: Running) -> None:
    before, codes = outcomes(tts), handled(tts)

    async def expect(outcome: str, code: str = "OK") -> None:
        await tts.idle()
        await asyncio.sleep(0.05)
        after, ended = outcomes(tts), handled(tts)
        changed = {name: after[name] - before[name] for name in OUTCOMES if after[name] != before[name]}
        assert changed == {outcome: 1.0}
        assert {name: ended[name] - codes[name] for name in ended if ended[name] != codes[name]} == {code: 1.0}
        before.update(after)
        codes.update(ended)

    await turn(tts, config(), text("One."))
    await expect("length")
    await turn(tts, config(60.0), text("Two."), 0.1, cancel())
    await expect("cancelled_soft")
    await failure(tts.stub.Synthesize(send([config(voice="nobody"), text("Three.")])))
    await expect("rejected", "NOT_FOUND")
    await failure(tts.stub.SynthesizeText(pb.SynthesizeTextRequest(text="")))
    await expect("rejected", "INVALID_ARGUMENT")
    for pause in (0.0, 0.2):  # before and amid the audio
        call = tts.stub.Synthesize(send([config(60.0), text("Four."), 60.0]))
        await call.read()
        await asyncio.sleep(pause)
        call.cancel()
        await expect("cancelled_rpc", "CANCELLED")
    waiting = tts.stub.Synthesize(send([60.0]))  # not even a config
    await asyncio.sleep(0.05)
    waiting.cancel()
    await expect("cancelled_rpc", "CANCELLED")
    await failure(tts.stub.Synthesize(send([config(60.0), text("Five."), 60.0]), timeout=0.3))
    await expect("deadline", "DEADLINE_EXCEEDED")
    idle = config()
    idle.config.delivery.input_idle_timeout.FromMilliseconds(200)
    await failure(tts.stub.Synthesize(send([idle, 30.0])))
    await expect("input_idle", "ABORTED")
    assert sum(tts.sample("tts_streams_open", method=method) for method in METHODS) == 0


@pytest_session
async def test_figures_agree_with_what_the_caller_saw(tts: Running) -> None:
    labels = {"method": "SynthesizeText", "model": "tiny-custom"}

    def figures() -> dict[str, float]:
        return {
            "audio": tts.sample("tts_audio_seconds_total", model="tiny-custom"),
            "characters": tts.sample("tts_text_characters_total", model="tiny-custom"),
            "frames": tts.sample("tts_codec_frames_total", used="true", model="tiny-custom"),
            "first": tts.sample("tts_time_to_first_audio_seconds_sum", **labels),
            "calls": tts.sample("tts_time_to_first_audio_seconds_count", **labels),
            "chunks": tts.sample("tts_audio_chunk_latency_seconds_count", position="first"),
        }

    apart = []
    for _ in range(5):
        before = figures()
        start = time.monotonic()
        call = tts.stub.SynthesizeText(pb.SynthesizeTextRequest(config=config(0.8).config, text="Twelve chars"))
        while not (await call.read()).HasField("audio"):
            pass
        seen = time.monotonic() - start
        while await call.read() is not grpc.aio.EOF:
            pass
        change = {name: value - before[name] for name, value in figures().items()}
        sums = {"audio": pytest.approx(0.8), "characters": 12, "frames": 10, "calls": 1, "chunks": 1}
        assert change == {**change, **sums}
        assert 0 < change["first"] <= seen
        apart.append(1_000 * (seen - change["first"]))
    print(f"first audio by the caller's clock and by the server's: {statistics.median(apart):.1f} ms apart (median)")


@pytest_session
async def test_gauges_return_to_zero_when_idle(tts: Running) -> None:
    await turn(tts, config(), text("One."))
    await tts.idle()
    status, scraped = await page(tts.side_port, "/metrics")
    values = dict(line.rsplit(" ", 1) for line in scraped.splitlines() if not line.startswith("#"))
    assert status == 200
    for gauge in ("queue_depth_requests", "engine_sequences_running", "engine_sequences_paced", "kv_blocks_used"):
        assert float(values[f"tts_{gauge}"]) == 0, gauge
    assert float(values["tts_kv_blocks_capacity"]) > 0


@pytest_session
async def test_promtool_finds_nothing_to_say(tts: Running) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    _, scraped = await page(tts.side_port, "/metrics")
    check = subprocess.run([promtool, "check", "metrics"], input=scraped, text=True, capture_output=True, timeout=30)
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


@pytest_session
async def test_the_side_port_answers_nothing_else(tts: Running) -> None:
    assert (await page(tts.side_port, "/"))[0] == 404
    assert (await page(tts.side_port, "/metrics", "POST"))[0] == 405
    assert await page(tts.side_port, "/readyz", "HEAD") == (200, "")
    reader, writer = await asyncio.open_connection("127.0.0.1", tts.side_port)
    writer.write(b"GET /" + b"x" * 100_000)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


@pytest_session
async def test_refusals_count_by_what_the_caller_can_do_about_them(tts: Running) -> None:
    async def reason(*requests: pb.SynthesizeRequest) -> str:
        before = {reason: tts.sample("tts_requests_rejected_total", reason=reason) for reason in REJECTIONS}
        await failure(tts.stub.Synthesize(send(requests)))
        await tts.idle()
        (changed,) = (
            reason for reason in REJECTIONS if tts.sample("tts_requests_rejected_total", reason=reason) > before[reason]
        )
        return changed

    clone = config(voice="")
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(1).normal(0, 0.1, 24_000), 24_000, format="WAV")
    clone.config.reference.audio = file.getvalue()
    clone.config.reference.speaker_embedding_only = True
    assert await reason(config(voice="nobody"), text("One.")) == "not_found"
    assert await reason(text("One.")) == "invalid"
    assert await reason(config(language="Klingon"), text("One.")) == "invalid"
    assert await reason(config(), text(" ")) == "invalid"
    assert await reason(config(), text("x" * 5_000)) == "text_too_long"
    assert await reason(clone, text("One.")) == "unsupported"


@pytest_session
async def test_a_turn_that_its_caller_cut_is_no_runaway(tts: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    before = outcomes(tts)
    await turn(tts, config(0.8), text("One."))
    monkeypatch.setattr("engine.scheduler.segment.CAP_SECONDS", 0.64)
    monkeypatch.setattr("engine.scheduler.segment.CAP_SECONDS_PER_TOKEN", 0.0)
    unlimited = config()
    unlimited.config.sampling.ClearField("max_audio")
    responses = await turn(tts, unlimited, text("One."))
    assert responses[-1].summary.finish_reason == pb.FINISH_REASON_LENGTH
    after = outcomes(tts)
    assert {name: after[name] - before[name] for name in ("length", "cap")} == {"length": 1, "cap": 1}


@pytest_session
async def test_audio_counts_when_it_is_sent_whatever_becomes_of_its_turn(tts: Running) -> None:
    before = tts.sample("tts_audio_seconds_total", model="tiny-custom")
    call = tts.stub.Synthesize(send([config(60.0), text("One, two. " * 30), 60.0]))
    heard = 0.0
    while heard < 1.0:
        heard += (await call.read()).audio.duration.ToNanoseconds() / 1e9
    call.cancel()
    await tts.idle()
    assert tts.sample("tts_audio_seconds_total", model="tiny-custom") - before >= heard - 1e-6
