"""The serve command where the server's distribution is not installed."""

import argparse
import json
from importlib import metadata
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlparse
from urllib.request import url2pathname

from qwentts_client.cli.command import Command, UsageError


def _add_refusal(parser: argparse.ArgumentParser) -> None:
    parser.parse_known_args = _refuse  # type: ignore[method-assign, assignment]  # whatever its arguments


def _refuse(*arguments: object) -> NoReturn:
    raise UsageError(f"serve needs the server, which is not installed: {how_to_install()}")


def how_to_install(extra: str = "server") -> str:
    """Shell command that installs the server, or an extra.

    From the repository of this client's installation where that is known.
    """
    repository = _repository()
    if repository is None:
        return f"run pip install ./clients/python '.[{extra}]' in a clone of the qwentts-grpc repository"
    return f"run pip install '{repository / 'clients' / 'python'}' '{repository}[{extra}]'"


def _repository() -> Path | None:
    """The clone that this distribution runs or was installed from.

    As pip records it (PEP 610).
    """
    for folder in (_installed_from(), Path(__file__).resolve().parents[2]):
        if folder and (folder.parents[1] / "qwentts_grpc").is_dir():
            return folder.parents[1]
    return None


def _installed_from() -> Path | None:
    try:
        origin = metadata.distribution("qwentts-client").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlparse(json.loads(origin)["url"]) if origin else None
    return Path(url2pathname(url.path)) if url and url.scheme == "file" else None


MISSING_SERVE = Command("run a server (which is not installed)", _add_refusal)
