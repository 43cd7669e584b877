"""Command line of the fleet: up, status, restart, down.

`python -m qwentts_fleet up fleet.toml` on a machine of a Ray cluster (`ray start`).
"""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qwentts_fleet.settings import NAMESPACE, Settings, read

WAIT = 3_600.0  # seconds for a rolling restart or an end


def main() -> None:
    """Run one command; exits with 1 on an error."""
    options = _parser().parse_args()
    try:
        print(json.dumps(_run(options), indent=2))
    except (OSError, ValueError, ConnectionError) as error:
        sys.exit(f"{options.command}: {error}")


def up(settings: Settings) -> Any:
    """Start the fleet's controller, or find it; its actor."""
    import ray

    from qwentts_fleet.controller import NAME, Controller

    kind: Any = ray.remote(Controller).options(
        name=NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_concurrency=100,
        num_cpus=0,
    )
    controller = kind.remote(settings)
    ray.get(controller.start.remote())
    return controller


def _run(options: argparse.Namespace) -> Any:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise OSError(f"needs {error.name}: pip install 'qwentts-grpc[server,ray]'") from error
    ray.init(options.ray, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    if options.command == "up":
        controller = up(read(options.settings))
    else:
        from qwentts_fleet.controller import NAME

        controller = ray.get_actor(NAME, NAMESPACE)
    if options.command in ("restart", "down"):
        ray.get(getattr(controller, {"down": "stop"}.get(options.command, options.command)).remote(), timeout=WAIT)
    if options.command == "down":
        ray.kill(controller)
        return {"servers": {}}
    return asdict(ray.get(controller.state.remote()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m qwentts_fleet", description=__doc__)
    parser.add_argument("--ray", default="auto", help="address of the Ray cluster (default %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the fleet").add_argument("settings", type=Path, help="a TOML file")
    commands.add_parser("status", help="servers, their room, tenants, addresses")
    commands.add_parser("restart", help="restart all servers one after the other, losing no turn")
    commands.add_parser("down", help="drain and end all")
    return parser


if __name__ == "__main__":
    main()
