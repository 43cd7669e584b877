"""One page of several processes: what adds up, what stays, what is never invalid."""

import logging
import shutil
import subprocess
import threading
import time

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from engine.api.metrics import EngineState
from qwentts_grpc.telemetry.engine_metrics import EngineMetrics
from qwentts_grpc.telemetry.merged_page import MergedPages
from qwentts_grpc.telemetry.metrics import Metrics

Labels = dict[str, str]


class Process:
    """Metrics of one process, as the server has them."""

    def __init__(self, born: float = 1.0) -> None:
        self.registry = CollectorRegistry()
        self.turns = Counter("tts_turns", 'Turns; "quoted" \\ text.', ("end", "model"), registry=self.registry)
        self.waits = Histogram("tts_wait_seconds", "Waits.", buckets=(0.1, 1), registry=self.registry)
        self.open = Gauge("tts_open", "Open turns.", ("method",), registry=self.registry)
        self.cpu = Counter("process_cpu_seconds", "CPU time.", registry=self.registry)
        self.born = Gauge("process_start_time_seconds", "Start.", registry=self.registry)
        self.born.set(born)

    @property
    def page(self) -> bytes:
        return generate_latest(self.registry)


def samples(merged: MergedPages) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """All samples by name and labels; each once."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(merged.render().decode()):
        for sample in family.samples:
            series = found.setdefault(sample.name, {})
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in series, sample
            series[labels] = sample.value
    return found


def value(merged: MergedPages, name: str, **labels: str) -> float:
    return samples(merged)[name][tuple(sorted(labels.items()))]


def gauge(name: str, number: float, **labels: str) -> bytes:
    registry = CollectorRegistry()
    made = Gauge(name, "A gauge.", tuple(labels), registry=registry)
    (made.labels(**labels) if labels else made).set(number)
    return generate_latest(registry)


def of(*pages: bytes) -> MergedPages:
    merged = MergedPages()
    for number, page in enumerate(pages):
        merged.update(f"front-{number}", page)
    return merged


# ---- what adds up


def test_counters_of_one_name_with_the_same_labels_add_up() -> None:
    one, two = Process(), Process()
    one.turns.labels("stop", "a").inc(2)
    two.turns.labels("stop", "a").inc(3)
    two.turns.labels('say "a\\b"\n', "b").inc()
    merged = of(one.page, two.page)
    assert value(merged, "tts_turns_total", end="stop", model="a") == 5
    assert value(merged, "tts_turns_total", end='say "a\\b"\n', model="b") == 1


def test_the_order_of_labels_tells_no_series_apart() -> None:
    merged = of(b'# TYPE a gauge\na{x="1",y="2"} 1\n', b'# TYPE a gauge\na{y="2",x="1"} 2\n')
    assert samples(merged)["a"] == {(("x", "1"), ("y", "2")): 3}


def test_histograms_add_up_by_bucket() -> None:
    one, two = Process(), Process()
    one.waits.observe(0.05)
    for seconds in (0.5, 0.5, 5):
        two.waits.observe(seconds)
    found = samples(of(one.page, two.page))
    assert found["tts_wait_seconds_bucket"] == {(("le", "0.1"),): 1, (("le", "1.0"),): 3, (("le", "+Inf"),): 4}
    assert found["tts_wait_seconds_count"][()] == 4
    assert found["tts_wait_seconds_sum"][()] == pytest.approx(6.05)


def test_states_of_engines_add_up() -> None:
    def page(running: int) -> bytes:
        registry = CollectorRegistry()
        EngineMetrics(registry).set_states([EngineState(running=running, slots=16)])
        return generate_latest(registry)

    merged = of(page(3), page(4))
    assert value(merged, "tts_engine_sequences_running") == 7
    assert value(merged, "tts_engine_slots") == 32


def test_a_busy_engine_that_hangs_is_not_hidden() -> None:
    def page(last: float, running: int, parked: int = 0, paced: int = 0) -> bytes:
        registry = CollectorRegistry()
        state = EngineState(running=running, parked=parked, paced=paced, last_step=last)
        EngineMetrics(registry).set_states([state])
        return generate_latest(registry)

    name = "tts_engine_last_step_timestamp_seconds"
    front = page(0, running=0)
    assert value(of(front, page(5, 1), page(9, 1)), name) == 5
    assert value(of(front, page(5, 3, parked=2, paced=1), page(9, 1)), name) == 9
    assert value(of(front, page(5, 0), page(9, 1)), name) == 9
    assert value(of(front, page(5, 0), page(9, 0)), name) == 9
    assert value(of(front, page(0, 1), page(9, 1)), name) == 0  # hangs in its first step


def test_a_busy_engine_that_hangs_is_not_hidden_by_another_of_its_process() -> None:
    def last(*states: EngineState) -> float | None:
        registry = CollectorRegistry()
        EngineMetrics(registry).set_states(states)
        return registry.get_sample_value("tts_engine_last_step_timestamp_seconds")

    busy, other = EngineState(running=1, last_step=5), EngineState(running=2, paced=1, last_step=9)
    assert last(busy, other) == 5
    assert last(EngineState(running=1, parked=1, last_step=5), other) == 9
    assert last(EngineState(last_step=5), EngineState(last_step=9)) == 9
    assert last() == 0


# ---- what does not


@pytest.mark.parametrize(
    "name,labels,expected",
    [
        ("tts_streams_open", {"method": "Synthesize"}, 12.0),
        ("tts_engine_last_step_timestamp_seconds", {}, 7.0),
        ("tts_certificate_expiry_timestamp_seconds", {"file": "certificate"}, 5.0),
        ("tts_gpu_memory_bytes", {"device": "cuda:0", "kind": "total"}, 7.0),
        ("tts_ready", {}, 5.0),
    ],
)
def test_gauges_follow_their_rule(name: str, labels: Labels, expected: float) -> None:
    assert value(of(gauge(name, 5, **labels), gauge(name, 7, **labels)), name, **labels) == expected


def test_a_server_without_fronts_is_not_ready() -> None:
    merged = of(gauge("tts_ready", 1), gauge("tts_ready", 1))
    assert value(merged, "tts_ready") == 1
    merged.ended("front-0")
    assert value(merged, "tts_ready") == 1
    merged.ended("front-1")
    assert value(merged, "tts_ready") == 0


def test_what_runs_here_is_said_once() -> None:
    registry = CollectorRegistry()
    Info("tts_build", "What runs here.", registry=registry).info({"version": "1"})
    merged = of(generate_latest(registry), generate_latest(registry))
    assert samples(merged)["tts_build_info"] == {(("version", "1"),): 1}


def test_metrics_of_a_process_keep_apart() -> None:
    one, two = Process(born=1), Process(born=2)
    found = samples(of(one.page, two.page))
    assert found["process_start_time_seconds"] == {(("process", "front-0"),): 1, (("process", "front-1"),): 2}


def test_times_of_creation_are_left_out() -> None:
    assert samples(of(gauge("tts_turns_created", 1), gauge("tts_open", 1))).keys() == {"tts_open"}


# ---- processes come and go


def test_an_ended_process_leaves_its_counters_alone() -> None:
    one, two = Process(), Process()
    for process in (one, two):
        process.turns.labels("stop", "a").inc(2)
        process.waits.observe(0.5)
        process.open.labels("Synthesize").set(3)
    merged = of(one.page, two.page)
    merged.ended("front-1")
    merged.ended("front-1")
    found = samples(merged)
    assert found["tts_turns_total"] == {(("end", "stop"), ("model", "a")): 4}
    assert found["tts_wait_seconds_count"] == {(): 2}
    assert found["tts_open"] == {(("method", "Synthesize"),): 3}
    assert found["process_start_time_seconds"].keys() == {(("process", "front-0"),)}


@pytest.mark.parametrize("reported", [True, False])
def test_a_process_under_an_old_name_counts_on_top(reported: bool) -> None:
    merged = MergedPages()
    for born in range(3):
        process = Process(born)
        process.turns.labels("stop", "a").inc(5)
        process.cpu.inc(2)
        for _ in range(2):
            merged.update("front-0", process.page)
        if reported:
            merged.ended("front-0")
    assert value(merged, "tts_turns_total", end="stop", model="a") == 15
    assert value(merged, "process_cpu_seconds_total", process="front-0") == 6


def test_a_page_that_is_late_counts_once() -> None:
    process = Process(born=7)
    process.turns.labels("stop", "a").inc()
    merged = of(process.page)
    merged.ended("front-0")
    merged.update("front-0", process.page)
    assert value(merged, "tts_turns_total", end="stop", model="a") == 1
    assert not samples(merged).get("tts_open")


def test_no_counter_falls_by_rounding() -> None:
    merged, last = MergedPages(), 0.0
    for born in range(40):
        for name in ("front-0", "front-1", "front-2"):
            process = Process(born)
            process.turns.labels("stop", "a").inc(0.1 + born / 7)
            merged.update(name, process.page)
        for name in ("front-1", "front-0", "front-2"):
            merged.ended(name)
            now = value(merged, "tts_turns_total", end="stop", model="a")
            assert now >= last
            last = now
    assert last == pytest.approx(3 * sum(0.1 + born / 7 for born in range(40)))


# ---- pages that are not right

MALFORMED = [
    b"",
    b"a 1",  # cut off
    b"a 1\nb\n",
    b"a one\n",
    b"a 1 1700000000\n",
    b"a{x=1} 1\n",
    b'a{x="1" 1\n',
    b'a{x="1",x="2"} 1\n',
    b'a{x="1",y="2"} 1\na{y="2",x="1"} 1\n',
    b"# TYPE a nonsense\na 1\n",
    b"# TYPE tts_open counter\ntts_open 1\n",  # elsewhere a gauge
    b"\xff 1\n",
]


@pytest.mark.parametrize("page", MALFORMED)
def test_a_malformed_page_leaves_the_last_one(page: bytes, caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    process.turns.labels("stop", "a").inc(3)
    process.open.labels("Synthesize").set(1)
    merged = of(process.page, process.page)
    before = merged.render()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            merged.update("front-1", page)
    assert merged.render() == before
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["front-1"]


def test_a_warning_comes_again_after_a_good_page(caplog: pytest.LogCaptureFixture) -> None:
    merged = of(b"a 1\n")
    for page in (b"bad", b"bad", b"a 2\n", b"bad"):
        merged.update("front-0", page)
    assert len(caplog.records) == 2 and value(merged, "a") == 2


# ---- the page as a whole


def server(model: str) -> bytes:
    metrics = Metrics()
    metrics.describe({"version": "1", "torch": "2", "cuda": "none"}, [model, "b", "c"])
    return generate_latest(metrics.registry)


def test_one_process_alone_keeps_its_page() -> None:
    process = Process()
    process.turns.labels("stop", "a").inc(3)
    process.waits.observe(0.2)
    lines = [line for line in process.page.decode().splitlines() if "process_" not in line]
    assert [line for line in of(process.page).render().decode().splitlines() if "process_" not in line] == lines


def test_a_family_is_headed_once() -> None:
    merged = of(server("a"), server("z"), server("a"))
    merged.ended("front-0")
    merged.update("front-0", server("y"))
    lines = merged.render().decode().splitlines()
    heads = [line.split(" ", 3)[:3] for line in lines if line.startswith("#")]
    assert len(heads) == len(set(map(tuple, heads)))
    assert samples(merged)["tts_build_info"].values()


def test_promtool_finds_nothing_to_say_of_a_merged_page() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    page = of(server("a"), server("z")).render()
    check = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=30)
    assert (check.returncode, check.stdout + check.stderr) == (0, b"")


def test_threads_see_whole_sums() -> None:
    merged, stop, seen = MergedPages(), threading.Event(), [0.0]

    def read() -> None:
        while not stop.is_set():
            if page := merged.render():
                seen.append(float(page.rpartition(b" ")[2]))

    reader = threading.Thread(target=read)
    reader.start()
    for born in range(300):
        merged.update("front-0", b"process_start_time_seconds %d\n# TYPE a counter\na 1\n" % born)
        merged.ended("front-0")
    stop.set()
    reader.join(10)
    assert seen == sorted(seen) and max(seen) <= 300


@pytest.mark.timing
def test_six_pages_merge_within_60_ms_of_cpu_time() -> None:
    page = server("a model with a name of some length")
    assert len(page) > 50_000
    began = time.thread_time()
    assert of(*[page] * 6).render()
    assert time.thread_time() - began < 0.06
