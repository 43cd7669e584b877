"""Unsafe settings: open access is refused, eavesdropping is warned of.

`insecure` turns the refusal into a warning.
"""

import logging
import os
import stat
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

SHORTEST_TOKEN, SHORT_TOKEN = 6, 16  # characters: below the first it is refused, below the second warned of

log = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    """Whether `host` is reachable from this machine alone."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def check_listening(host: str, metrics_host: str, *, tls: bool, known_callers: bool, insecure: bool) -> None:
    """Warn of readable traffic; raise PermissionError for open access.

    `insecure` turns the error into a warning. `known_callers`: calls need a token, or a client's certificate.
    """
    if not is_loopback(metrics_host):
        log.warning("--metrics-host %s: metrics are readable without a token by all who reach it", metrics_host)
    if is_loopback(host):
        return
    if not known_callers:
        refuse(f"--host {host}: open to all who reach it; give --token-file or --tls-client-ca", insecure)
    if not tls:
        log.warning("--host %s without --tls-cert: text, audio and tokens can be read on their way", host)


def check_secret_file(path: Path, insecure: bool) -> None:
    """Raise PermissionError for a secret file open to all users.

    Only warns if `insecure`. Raises OSError where there is no such file.
    """
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        refuse(f"{path} holds secrets, and is open to all users (mode {mode:04o}): chmod o-rw it", insecure)


def check_tokens(secrets: Iterable[str], path: Path, insecure: bool) -> None:
    """Raise PermissionError for a guessable token; warn if `insecure`."""
    shortest = min(map(len, secrets))
    if shortest < SHORTEST_TOKEN:
        refuse(f"{path} has a token of {shortest} characters, which can be guessed: use {SHORT_TOKEN}", insecure)
    elif shortest < SHORT_TOKEN:
        log.warning("%s has a token of %d characters, which may be guessed: use %d", path, shortest, SHORT_TOKEN)


def refuse(problem: str, insecure: bool) -> None:
    """Raise PermissionError, or warn if `insecure`."""
    if not insecure:
        raise PermissionError(f"{problem}, or say --insecure")
    log.warning("%s", problem)
