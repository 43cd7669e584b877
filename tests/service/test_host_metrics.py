"""What the server stands on is measured where it is there: process, GPUs, certificates."""

import datetime
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from qwentts_grpc.rpc.tls import TlsFiles
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server
from qwentts_grpc.telemetry.host_metrics import HostMetrics

from .certificates import Authority

DAY = 86_400.0
EXPIRY = "tts_certificate_expiry_timestamp_seconds"


def days_left(server: Server, file: str) -> float:
    value = server.metrics.registry.get_sample_value(EXPIRY, {"file": file})
    assert value is not None
    return (value - time.time()) / DAY


async def test_certificates_say_when_they_end(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.sign("server", datetime.timedelta(days=10))
    intermediate = authority.sign("intermediate", datetime.timedelta(days=3))
    server = Server(ServerConfig("unused", tls=TlsFiles(own.cert, own.key, authority.cert)))
    assert days_left(server, "server") == pytest.approx(10, abs=0.01)
    assert days_left(server, "client_ca") == pytest.approx(1 / 24, abs=0.01)
    authority.sign("server", datetime.timedelta(days=20))
    server.files.reload()
    assert days_left(server, "server") == pytest.approx(20, abs=0.01)
    own.cert.write_bytes(own.cert.read_bytes() + intermediate.cert.read_bytes())
    server.files.reload()
    assert days_left(server, "server") == pytest.approx(3, abs=0.01)
    authority.sign("server", datetime.timedelta(days=30))
    own.key.write_text("half a file")
    server.files.reload()  # the old certificates stay
    assert days_left(server, "server") == pytest.approx(3, abs=0.01)


async def test_a_server_without_certificates_and_gpus_has_no_series_of_them() -> None:
    server = Server(ServerConfig("unused"))
    server.metrics.host.measure_gpus(["cpu"])
    names = {sample.name for family in server.metrics.registry.collect() for sample in family.samples}
    assert not names & {EXPIRY, "tts_gpu_memory_bytes"}
    assert {"process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"} <= names


def test_memory_of_each_gpu_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def allocated(device: str) -> int:
        asked.append(device)
        return 5

    monkeypatch.setattr("torch.cuda.memory_allocated", allocated)
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 7)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: SimpleNamespace(total_memory=9))
    registry = CollectorRegistry()
    HostMetrics(registry).measure_gpus(["cuda:0", "cpu", "cuda:1", "cuda:0"])
    assert sorted(asked) == ["cuda:0", "cuda:1"]
    found = [
        registry.get_sample_value("tts_gpu_memory_bytes", {"device": "cuda:1", "kind": kind})
        for kind in ("allocated", "reserved", "total")
    ]
    assert found == [5, 7, 9]
