"""Settings of a server."""

from dataclasses import dataclass, field
from pathlib import Path

from engine.api.config import EngineConfig
from qwentts_grpc.admission.tenants import Access
from qwentts_grpc.recordings.recordings import TRAILING_SILENCE
from qwentts_grpc.rpc.tls import TlsFiles

WATCHDOG = 8.0  # seconds; with the watchdog's period liveness fails within 10 s


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Settings of one server; times in seconds.

    `model`: a folder or hub id, of the default checkpoint; `more_models` are served beside it. Port 0 picks a free
    one. `drain_delay` is the least time for which new calls are refused before the port closes, `drain_seconds` the
    most that open turns get to end.
    After `max_connection_age` (0: never) a connection takes no new calls, and its open ones have `max_call_age` left,
    which is the most for any turn. `max_call_rate`: calls that a tenant may begin in a second, 0 for any number.
    `tls` None serves plaintext; `reflection` serves the contract's descriptors. `watchdog_seconds` without a step end
    the server; None for `WATCHDOG` on a GPU and the engine's own limit on a CPU, whose steps may be long.
    `voice_dir`, a directory or an object store's URL, keeps created voices, and may be shared with other servers; None
    for the process's lifetime.
    `insecure` serves where others could do harm, with a warning in place of a refusal.
    `require_consent` takes no recording without a reference to a consent, and none that `denied_recordings` lists;
    `audit_log` gets a line for each. `reference_silence`: seconds of silence appended to each.
    `fronts` processes do gRPC, and each of `devices`, or several that share a talker, has an engine process; 0 is one
    process with both. `placements`:
    pairs of checkpoint and device; a checkpoint without one is on every device.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 50_051
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9_464
    drain_delay: float = 0.5
    drain_seconds: float = 30.0
    max_connection_age: float = 3_600.0
    max_call_age: float = 24_000.0
    max_call_rate: float = 0.0
    tls: TlsFiles | None = None
    access: Access = field(default_factory=Access)
    reflection: bool = True
    watchdog_seconds: float | None = None
    voice_dir: Path | str | None = None
    insecure: bool = False
    require_consent: bool = False
    denied_recordings: Path | None = None
    audit_log: Path | None = None
    more_models: tuple[str, ...] = ()
    reference_silence: float = TRAILING_SILENCE
    fronts: int = 0
    devices: tuple[str, ...] = ()
    placements: tuple[tuple[str, str], ...] = ()
    engine: EngineConfig = field(default_factory=EngineConfig)

    @property
    def models(self) -> tuple[str, ...]:
        """Checkpoints, the default one first."""
        return (self.model, *self.more_models)

    @property
    def replicas(self) -> int:
        """Engine processes, or one engine in the server's own."""
        return max(1, len(self.devices))

    def patience(self, device: str) -> float:
        """Seconds of silence after which an engine is lost.

        Silence is no step, no sign of life; `device`: the engine's.
        """
        if self.watchdog_seconds is not None:
            return self.watchdog_seconds
        return self.engine.step_timeout if device.startswith("cpu") else WATCHDOG

    def placed_on(self, device: str) -> tuple[str, ...]:
        """Checkpoints of one of `devices`."""
        bound = {model for model, _ in self.placements}
        here = {model for model, place in self.placements if place == device}
        return tuple(model for model in self.models if model in here or model not in bound)
