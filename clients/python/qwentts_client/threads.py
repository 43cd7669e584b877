"""Blocking calls on daemon threads, which never delay an exit."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

AHEAD = 16  # items of an iterable read in advance

_T = TypeVar("_T")
_END = object()


async def in_thread(work: Callable[..., _T], *arguments: Any) -> _T:
    """Result of `work` on a thread of its own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def run() -> None:
        try:
            result = work(*arguments)
        except BaseException as error:
            _later(loop, _settle, future, None, error)
        else:
            _later(loop, _settle, future, result, None)

    threading.Thread(target=run, daemon=True).start()
    return await future


async def from_thread(items: Iterable[_T]) -> AsyncIterator[_T]:
    """Items of a blocking iterable, read on its own thread.

    Raises what it raises.
    """
    iterator = iter(items)
    ahead = threading.Semaphore(AHEAD)
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Any] = asyncio.Queue()
    over = threading.Event()

    def pump() -> None:
        try:
            for item in iterator:
                _later(loop, queue.put_nowait, (item, None))
                ahead.acquire()
                if over.is_set():
                    return
            _later(loop, queue.put_nowait, (_END, None))
        except BaseException as error:
            _later(loop, queue.put_nowait, (_END, error))

    threading.Thread(target=pump, daemon=True).start()
    try:
        while (got := await queue.get())[0] is not _END:
            ahead.release()
            yield got[0]
        if got[1] is not None:
            raise got[1]
    finally:
        over.set()
        ahead.release()


def _later(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(call, *arguments)


def _settle(future: "asyncio.Future[Any]", result: Any, error: "BaseException | None") -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
