"""Settings of a fleet, from a TOML file."""

import sys
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

NAMESPACE = "qwentts"


@dataclass(frozen=True, slots=True)
class Settings:
    """One fleet; times in seconds.

    `serve`: flags of each server. `gpus`, `cpus`: what Ray reserves for one. `least`, `most`: servers. `busy`: share of
    the slots above which there are too few servers; `wait`: mean wait for a slot with the same meaning. Fewer servers
    are kept once they would have done for `down_after`. `ports`: of the balancer, one connection of a caller each.
    `host`: address of servers and balancer, empty for that of the node. `tenant_limit`: open turns of one tenant in the
    whole fleet, 0 for each server's own shares. `drain`: most that open turns get before a stop.
    `ca`: verifies the servers' certificates in health checks; empty where they speak plaintext. `balancers`: each on a
    node that has one of Ray's custom resource `balancer_resource`; empty for any node.
    """

    serve: tuple[str, ...] = ()
    command: tuple[str, ...] = field(default=(sys.executable, "-m", "qwentts_grpc"))
    gpus: float = 1.0
    cpus: float = 1.0
    least: int = 1
    most: int = 8
    busy: float = 0.7
    wait: float = 0.05
    down_after: float = 60.0
    period: float = 1.0
    host: str = ""
    ports: tuple[int, ...] = tuple(range(50_051, 50_055))
    tenant_limit: int = 0
    drain: float = 30.0
    ca: str = ""
    balancers: int = 1
    balancer_resource: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for settings that exclude each other."""
        if not 1 <= self.least <= self.most:
            raise ValueError(f"1 <= least <= most: {self.least}, {self.most}")
        if not self.ports:
            raise ValueError("ports: at least one")
        if not 0 < self.busy <= 1:
            raise ValueError(f"busy is a share of the slots, from 0 to 1: {self.busy}")

    def flags(self) -> list[str]:
        """Flags of one server beyond its addresses."""
        share = ["--tenant-limit", str(max(1, self.tenant_limit // self.most))] if self.tenant_limit else []
        return [*self.serve, *share, "--drain-seconds", f"{self.drain:g}"]


def read(path: Path) -> Settings:
    """Settings of a file; raises OSError, ValueError."""
    values = tomllib.loads(path.read_text())
    known = {each.name for each in fields(Settings)}
    if unknown := values.keys() - known:
        raise ValueError(f"{path}: unknown settings {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    taken: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Settings(**taken)
