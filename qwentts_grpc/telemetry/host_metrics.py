"""Metrics of the host: process, GPUs, certificates."""

import logging
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector

from qwentts_grpc.host.pauses import CAUSES, Cause

log = logging.getLogger(__name__)


class HostMetrics:
    """Series exist where applicable: GPU memory, expiry of certificates."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ProcessCollector(registry=registry)
        self._gpu = Gauge(
            "tts_gpu_memory_bytes",
            "Memory of a GPU: allocated to tensors, reserved by PyTorch, total of the device.",
            ("device", "kind"),
            registry=registry,
        )
        self._expiry = Gauge(
            "tts_certificate_expiry_timestamp_seconds",
            "Expiry of the first certificate of a file, as Unix time.",
            ("file",),
            registry=registry,
        )

        self._pauses = Histogram(
            "tts_pause_seconds",
            "Pauses of the process: for how long no thread of Python's ran when it was due, by the likely cause.",
            ("cause",),
            registry=registry,
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
        )
        for cause in CAUSES:
            self._pauses.labels(cause)

    def paused(self, seconds: float, cause: Cause) -> None:
        """Count a pause; safe on any thread."""
        self._pauses.labels(cause).observe(seconds)

    def measure_gpus(self, devices: Iterable[str]) -> None:
        """Read the memory of those `devices` that are GPUs ("cuda:0")."""
        import torch  # a process without an engine does without

        for device in {device for device in devices if device.startswith("cuda")}:
            figures = {
                "allocated": torch.cuda.memory_allocated(device),
                "reserved": torch.cuda.memory_reserved(device),
                "total": torch.cuda.get_device_properties(device).total_memory,
            }
            for kind, size in figures.items():
                self._gpu.labels(device, kind).set(size)

    def read_certificates(self, **files: Path | None) -> None:
        """Read the expiry of the PEM `files`."""
        for name, path in files.items():
            if path is not None:
                try:
                    self._expiry.labels(name).set(expiry(path))
                except (OSError, ValueError) as error:
                    log.warning("the expiry of %s is unreadable: %s", path, error)


def expiry(path: Path) -> float:
    """Expiry of a PEM file's first certificate, as Unix time.

    Raises OSError and ValueError.
    """
    certificates = x509.load_pem_x509_certificates(path.read_bytes())
    return min(certificate.not_valid_after_utc.timestamp() for certificate in certificates)
