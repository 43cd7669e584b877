"""Interface of an engine to its callers.

`engine.engine` has it within the process, `engine.remote` across processes.
"""

from types import TracebackType
from typing import Protocol, Self

from engine.api.config import ModelCard
from engine.api.events import Event, Notice
from engine.api.request import Reference, Sampling, SpeechRequest
from engine.api.voice import Voice


class SpeechClient(Protocol):
    """Caller's handle of one speech: text in, events out.

    An asynchronous iterator: `Started` first, `Finished` last. An iteration raises the `EngineError` that ended the
    speech. Used as a context manager it cancels on exit whatever is unfinished.
    """

    @property
    def request_id(self) -> str:
        """Id of the request, as given."""

    @property
    def seed(self) -> int:
        """Seed in use, which repeats the audio."""

    @property
    def over(self) -> bool:
        """Whether the last event is queued, or an error set."""

    @property
    def speakable(self) -> bool:
        """Whether any text so far is speakable."""

    @property
    def limited(self) -> bool:
        """Whether the request limits the length of the audio."""

    @property
    def text_came(self) -> float:
        """When the text allowed the first audio; `time.monotonic()`."""

    def feed(self, text: str, came: float | None = None) -> None:
        """Append text verbatim; raises `TextTooLong`, `InvalidRequest`."""

    def flush(self, mark: str, came: float | None = None) -> None:
        """End a segment; raises `InvalidRequest`."""

    def end(self, came: float | None = None) -> None:
        """End the text; raises `InvalidRequest` if none is speakable."""

    def cancel(self) -> None:
        """Stop now; `Finished` follows the audio already queued."""

    def notify(self, notice: Notice) -> None:
        """Queue a notice, once per code."""

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> Event: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class EngineClient(Protocol):
    """One checkpoint, ready to speak."""

    @property
    def card(self) -> ModelCard:
        """Capabilities of the checkpoint."""

    @property
    def defaults(self) -> Sampling:
        """Sampling where a request sets nothing."""

    def open(self, request: SpeechRequest, arrived: float | None = None) -> SpeechClient:
        """Queue a speech; return its handle at once.

        `arrived`: `time.monotonic()` when the request came, now where it is None. A refusal (`InvalidRequest`,
        `VoiceNotFound`, `Unsupported`, `RequestTooLarge`, `Busy`, `EngineFailed`) is raised here or by the first
        iteration.
        """

    async def check(self, request: SpeechRequest) -> None:
        """Raise the present refusal of `request`, if any."""

    async def clone(self, reference: Reference) -> Voice:
        """Voice of a recording; raises `InvalidRequest`, `Unsupported`."""

    async def prime(self, kept: Voice) -> None:
        """Prime the codec with a kept voice; raises `Unsupported`."""

    async def queue_wait(self, tenant: str = "") -> float:
        """Expected wait in seconds for a speech of `tenant`.

        0 where unknown.
        """
