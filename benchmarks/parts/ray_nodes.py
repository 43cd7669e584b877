"""A Ray node with a server for each GPU.

Of this host, behind the fleet's balancer.
"""

import os
import socket
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.parts.machine import pinned
from benchmarks.parts.server import Served
from qwentts_fleet.__main__ import up
from qwentts_fleet.settings import NAMESPACE, Settings

ROOT = Path(__file__).parents[2]
PORTS = 4  # of the balancer
START_LIMIT, STOP_LIMIT = 180.0, 60.0  # seconds
STORE = 80 * 2**20  # bytes of a node's object store, which the fleet does not use


@contextmanager
def nodes(count: int, flags: Sequence[str], cores: Set[int]) -> Iterator[tuple[list[Served], list[str]]]:
    """Servers of `count` nodes, with the balancer's addresses.

    These are joined by commas.
    Raises TimeoutError if they do not come up.
    """
    import ray
    from ray.cluster_utils import Cluster

    let_processes_import()
    with pinned(cores):
        cluster = Cluster(initialize_head=True, head_node_args=_gpu_node(0) | {"resources": {"balancer": 1}})
        for gpu in range(1, count):
            cluster.add_node(**_gpu_node(gpu))
        ray.init(cluster.address, namespace=NAMESPACE, log_to_driver=False)
    ports = free_ports(PORTS)
    controller = up(
        Settings(
            serve=tuple(flags),
            least=count,
            most=count,
            host="127.0.0.1",
            ports=ports,
            balancer_resource="balancer",
        )
    )
    try:
        servers = _serving(controller, count)
        yield servers, [",".join(f"127.0.0.1:{port}" for port in ports)]
        ray.get(controller.stop.remote(), timeout=STOP_LIMIT)
    finally:
        ray.kill(controller)
        ray.shutdown()
        cluster.shutdown()


def let_processes_import() -> None:
    """Let processes of Ray import the project, and what this one may."""
    paths = [*map(str, (ROOT, ROOT / "clients/python", ROOT / "deploy/ray")), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def node(cpus: int) -> dict[str, Any]:
    """Arguments of a lean node.

    Ports are given, or the start fails where agents do not write theirs within 15 s.
    """
    names = ("metrics_agent_port", "runtime_env_agent_port", "dashboard_agent_listen_port", "metrics_export_port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    lean = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    return {"num_cpus": cpus, "object_store_memory": STORE, **lean, **ports}


def free_ports(number: int) -> tuple[int, ...]:
    """Ports of the loopback interface that nothing uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = tuple(each.getsockname()[1] for each in sockets)
    for each in sockets:
        each.close()
    return ports


def _gpu_node(gpu: int) -> dict[str, Any]:
    """Room for one server on this GPU alone."""
    return node(4) | {"num_gpus": 1, "env_vars": {"CUDA_VISIBLE_DEVICES": str(gpu)}}


def _serving(controller: Any, count: int) -> list[Served]:
    import ray

    until = time.monotonic() + START_LIMIT
    while time.monotonic() < until:
        state = ray.get(controller.state.remote(), timeout=STOP_LIMIT)
        servers = [each for each in state.servers.values() if each is not None and each.address]
        if len(servers) == count:
            time.sleep(2.0)  # the balancer checks each one before it gives it connections
            return [Served(each.address, "", 0.0, each.pid) for each in servers]
        time.sleep(0.2)
    raise TimeoutError(f"{count} servers did not serve within {START_LIMIT:g} s")
