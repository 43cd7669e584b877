"""Resets a call's stream whose status is never read.

grpcio has no such call. It releases a stream once its outer task ("rpc_task") is gone, which otherwise waits for the
caller for as long as the connection lives; the handler runs in a task of its own, made by the outer one.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any
from weakref import ref

HANDLER = "_handle_exceptions"  # the coroutine of grpcio that runs a handler

_outer: ContextVar["ref[asyncio.Task[Any]] | None"] = ContextVar("outer", default=None)


class _TaskFactory:
    """Links a handler's task to the outer one."""

    def __init__(self, previous: Callable[..., Any] | None) -> None:
        self._previous = previous

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        if getattr(coro, "__name__", "") == HANDLER and (outer := asyncio.current_task(loop)) is not None:
            options["context"] = options.get("context") or copy_context()
            options["context"].run(_outer.set, ref(outer))
        return self._previous(loop, coro, **options) if self._previous else asyncio.Task(coro, loop=loop, **options)


def install() -> None:
    """Make streams reachable from handlers on the running loop; idempotent."""
    loop = asyncio.get_running_loop()
    previous = loop.get_task_factory()
    if not isinstance(previous, _TaskFactory):
        loop.set_task_factory(_TaskFactory(previous))


def reset_later(seconds: float) -> None:
    """Reset the current call's stream after `seconds`, if still open."""
    outer, handler = _outer.get(), asyncio.current_task()
    if outer is not None and handler is not None:
        asyncio.get_running_loop().call_later(seconds, _reset, outer, ref(handler))


def _reset(*tasks: "ref[asyncio.Task[Any]]") -> None:
    for task in filter(None, (task() for task in tasks)):
        task.cancel()
