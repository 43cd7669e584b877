"""Keeps grpcio accepting calls after an invalid `:path`.

One that is not UTF-8.
grpcio 1.74 to 1.85 decodes the path inside its accept loop, where the exception ends the loop and with it the server:
one packet of a caller without a token. The loop is compiled, so the codec's error handler is the one hook there is.
"""

import asyncio
import codecs

ACCEPT_LOOP = "AioServer._server_main_loop"
REPLACEMENT = "\ufffd"

_strict = codecs.lookup_error("strict")


def install() -> None:
    """Replace invalid UTF-8 in grpcio's accept loop alone.

    Idempotent, for the whole process.
    """
    codecs.register_error("strict", _lenient_in_accept_loop)


def _lenient_in_accept_loop(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError) and _in_accept_loop():
        return REPLACEMENT, error.end
    return _strict(error)


def _in_accept_loop() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs on this thread
        return False
    return task is not None and getattr(task.get_coro(), "__qualname__", "") == ACCEPT_LOOP
