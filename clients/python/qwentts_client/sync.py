"""The synchronous client: the asyncio client on its own thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from qwentts_client.audio import File, write_audio
from qwentts_client.channels import Options
from qwentts_client.client import KEEPALIVE, RESTART, UPLOAD, AsyncClient
from qwentts_client.text import Text, checked
from qwentts_client.threads import from_thread
from qwentts_client.turn import Event, Turn, WritableTurn
from qwentts_client.v1 import tts_pb2

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from qwentts_client.options import SpeechOptions

_T = TypeVar("_T")
_END = object()


class Client:
    """`AsyncClient` for code without an event loop.

    The same arguments, methods and errors, each of which waits. Usable in several threads. An iterable of text is read
    on a thread of its own, so it may block.
    """

    def __init__(
        self,
        server: str | Sequence[str] = "localhost:50051",
        *,
        token: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        options: Options = (),
        keepalive: float | None = KEEPALIVE,
        retry_for: float = RESTART,
    ) -> None:
        self._client = AsyncClient(
            server, token=token, credentials=credentials, options=options, keepalive=keepalive, retry_for=retry_for
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qwentts-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel, then the thread; open turns end."""
        if self._loop.is_closed():
            return
        self._wait(self._client.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def synthesize(self, text: Text, *, timeout: float | None = None, **options: Unpack[SpeechOptions]) -> SyncTurn:
        """Speak `text`; see `AsyncClient.synthesize`."""
        return SyncTurn(self, self._call(self._client.synthesize, _readable(text), timeout=timeout, **options))

    def open_turn(self, *, timeout: float | None = None, **options: Unpack[SpeechOptions]) -> SyncWritableTurn:
        """A turn with written text; see `AsyncClient.open_turn`."""
        return SyncWritableTurn(self, self._call(self._client.open_turn, timeout=timeout, **options))

    def save(
        self, file: File, text: Text, *, kind: str = "", timeout: float | None = None, **options: Unpack[SpeechOptions]
    ) -> tts_pb2.Summary:
        """Speak `text` into a file; see `AsyncClient.save`."""
        return self._wait(self._client.save(file, _readable(text), kind=kind, timeout=timeout, **options))

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the server serves; raises TimeoutError after `timeout` seconds."""
        self._wait(self._client.wait_ready(timeout))

    def health(self, service: str = "") -> str:
        """The health check's status, such as "SERVING"."""
        return self._wait(self._client.health(service))

    def voices(self, language: str = "") -> list[tts_pb2.Voice]:
        """Voices for `language`, by default all."""
        return self._wait(self._client.voices(language))

    def create_voice(
        self,
        name: str,
        audio: bytes,
        *,
        transcript: str = "",
        description: str = "",
        consent_reference: str = "",
        shared: bool = False,
        replace: bool = False,
        on_notice: Callable[[tts_pb2.Notice], object] | None = None,
        timeout: float = UPLOAD,
    ) -> tts_pb2.Voice:
        """Create a voice from a recording; see `AsyncClient.create_voice`."""
        return self._wait(
            self._client.create_voice(
                name,
                audio,
                transcript=transcript,
                description=description,
                consent_reference=consent_reference,
                shared=shared,
                replace=replace,
                on_notice=on_notice,
                timeout=timeout,
            )
        )

    def delete_voice(self, name: str) -> None:
        """Delete a created voice."""
        self._wait(self._client.delete_voice(name))

    def server_info(self) -> tts_pb2.GetServerInfoResponse:
        """Models, formats, limits of the server."""
        return self._wait(self._client.server_info())

    def _call(self, function: Callable[..., _T], *arguments: Any, **options: Any) -> _T:
        """Result of `function`, run in the client's event loop."""

        async def call() -> _T:
            return function(*arguments, **options)

        return self._wait(call())

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._loop.is_closed() or threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the client is closed" if self._loop.is_closed() else "a call from within the client")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C among them
            future.cancel()
            raise


class SyncTurn:
    """`Turn` without an event loop.

    Iterate over its audio frames, or over all its `events`, once.
    """

    def __init__(self, client: Client, turn: Turn) -> None:
        self._client = client
        self._turn = turn

    @property
    def started(self) -> tts_pb2.Started:
        """The turn's effective settings; empty before `Started`."""
        return self._turn.started

    @property
    def summary(self) -> tts_pb2.Summary:
        """The turn's summary; empty before the end."""
        return self._turn.summary

    @property
    def notices(self) -> list[tts_pb2.Notice]:
        """Notices so far."""
        return self._turn.notices

    @property
    def cancelled(self) -> bool:
        """Whether the turn was ended from here before its summary."""
        return self._turn.cancelled

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tts_pb2.AudioFrame]:
        return self._each(aiter(self._turn))

    def events(self) -> Iterator[Event]:
        """All events of the server, in order."""
        return self._each(self._turn.events())

    def wait_started(self) -> tts_pb2.Started:
        """The turn's effective settings, once it is admitted."""
        return self._client._wait(self._turn.wait_started())

    def write_audio(self, file: File, kind: str = "") -> float:
        """Write the audio into a file; return its seconds.

        See `write_audio`.
        """
        return self._client._wait(write_audio(file, self._turn, kind))

    def cancel(self) -> None:
        """Stop at once, without a summary."""
        self._client._call(self._turn.cancel)

    def stop(self, reason: str = "", limit: float = 5.0) -> tts_pb2.Summary:
        """Stop the turn with its summary; see `Turn.stop`."""
        return self._client._wait(self._turn.stop(reason, limit))

    def close(self) -> None:
        """Stop at once; give the text source time to end."""
        self._client._wait(self._turn.aclose())

    def _each(self, items: AsyncIterator[_T]) -> Iterator[_T]:
        async def following() -> _T | object:
            return await anext(items, _END)

        try:
            while (item := self._client._wait(following())) is not _END:
                yield item  # type: ignore[misc]
        finally:
            self.cancel()


class SyncWritableTurn(SyncTurn):
    """`WritableTurn` for code without an event loop."""

    _turn: WritableTurn

    def write(self, text: str) -> None:
        """Send a piece of text; see `WritableTurn.write`."""
        self._client._call(self._turn.write, text)

    def flush(self, mark: str = "") -> None:
        """Have all text so far spoken to its end."""
        self._client._call(self._turn.flush, mark)

    def end(self) -> None:
        """End the text."""
        self._client._call(self._turn.end)


def _readable(text: Text) -> Text:
    """`text`; a blocking iterable moves to a thread."""
    text = checked(text)
    return text if isinstance(text, (str, list, tuple, AsyncIterable)) else from_thread(text)
