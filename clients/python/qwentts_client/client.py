"""The asyncio client: text in, audio out.

One channel an event loop.

async with AsyncClient("localhost:50051") as client:
    async for frame in client.synthesize(["Hello ", "world."], voice="joe"):
        play(frame.data)
    await client.save("out.wav", "Hello again.", voice="joe")
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf import wrappers_pb2

from qwentts_client.audio import KINDS, File, checked_kind, kind_of, write_audio
from qwentts_client.audio import SAMPLE_RATE as SAMPLE_RATE
from qwentts_client.audio import open_wav as open_wav
from qwentts_client.audio import write_wav as write_wav
from qwentts_client.channels import LARGEST_MESSAGE as LARGEST_MESSAGE
from qwentts_client.channels import RETRIES as RETRIES
from qwentts_client.channels import Channels, Options
from qwentts_client.errors import Code, TTSError
from qwentts_client.options import checked_recording, synthesis_config
from qwentts_client.outbox import Outbox
from qwentts_client.retries import Contact, Retries
from qwentts_client.status import FinalStatus
from qwentts_client.targets import target
from qwentts_client.text import Text as Text
from qwentts_client.text import checked
from qwentts_client.turn import Turn as Turn
from qwentts_client.turn import WritableTurn
from qwentts_client.v1 import tts_pb2, tts_pb2_grpc

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from qwentts_client.options import SpeechOptions

LARGEST_UPLOAD = 2**18  # bytes of a recording in one message
RESTART = 60.0  # seconds that a server takes to load a checkpoint, with some slack
HEALTH = "/grpc.health.v1.Health/Check"
SERVING = 1  # of HealthCheckResponse
CHECK = 5.0  # seconds for one health check
ANSWER = 60.0  # seconds for a unary call, restarts of the server included
UPLOAD = 120.0  # seconds to upload and process a recording
KEEPALIVE = 20.0  # seconds
LEAST_KEEPALIVE = 5.0  # seconds; servers end calls of clients that ping more often

_T = TypeVar("_T", bound=Turn)


class AsyncClient:
    """A client of one server, or of several equal ones.

    Many turns may run on it at once. One instance may be made anywhere and used in any number of event loops: each gets
    a channel on first use. Calls raise `TTSError` where they fail.
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
        """`server`: HOST:PORT, or several, in a list or comma-separated.

        Several, also addresses of one name, are used round robin.
        token: sent as bearer token with each call.
        credentials: of TLS (`tls.client_credentials`). options: of gRPC channels, which override the defaults.
        keepalive: seconds without traffic before an open call pings the server, at least 5; None for no pings.
        retry_for: seconds for which a call without audio so far waits for a restarting server: one that refuses for
        now, or has answered before and cannot be reached. Without any answer before, a call fails at once, and
        `wait_ready` waits.
        Raises ValueError for an invalid address, and for a keepalive under 5 s.
        """
        if keepalive is not None and keepalive < LEAST_KEEPALIVE:
            raise ValueError(f"keepalive of {keepalive:g} s: servers end calls of clients that ping within 5 s")
        where = dataclasses.replace(target(server), tls=credentials is not None)
        self._metadata = _authorization(token)
        self._channels = Channels(where, credentials, options, keepalive)
        self._contact = Contact(where, retry_for)

    def with_token(self, token: str) -> Self:
        """This client for another caller, on the same channels.

        Closing either closes both.
        """
        other = copy.copy(self)
        other._metadata = _authorization(token)
        return other

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel of the running event loop, for other RPCs."""
        return self._channels.current()

    @property
    def _speech(self) -> Any:
        return tts_pb2_grpc.TTSServiceStub(self.channel)

    @property
    def _voices(self) -> Any:
        return tts_pb2_grpc.VoiceServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the channels.

        Open calls end, and further ones raise RuntimeError.
        """
        await self._channels.close()

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the server serves, `timeout` seconds at most.

        Raises TimeoutError with the obstacle.
        """
        retries, failure = Retries(self._contact, timeout), None
        while (left := retries.remaining()) is None or left > 0:
            try:
                if await self.health(timeout=min(CHECK, left or CHECK)) == "SERVING":
                    self._contact.reached = True
                    return
                failure = None
            except TTSError as error:
                if error.code() is Code.UNIMPLEMENTED:  # a server without health checks, which has answered
                    return
                if error.code() not in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise
                failure = error
            await asyncio.sleep(0.1)
        raise TimeoutError(f"not ready within {timeout:g} s: {failure or 'the server loads or drains'}") from failure

    async def health(self, service: str = "", *, timeout: float | None = CHECK) -> str:
        """The health check's status.

        "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN" or "UNKNOWN".
        """
        # The bytes on the wire are the same, so that no package with the real messages is needed.
        check = self.channel.unary_unary(
            HEALTH,
            request_serializer=wrappers_pb2.StringValue.SerializeToString,
            response_deserializer=wrappers_pb2.Int32Value.FromString,
        )
        answer = await self._ask(lambda: check, wrappers_pb2.StringValue(value=service), timeout, attempts=False)
        return ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")[answer.value]

    def synthesize(self, text: Text, *, timeout: float | None = None, **options: Unpack[SpeechOptions]) -> Turn:
        """Speak `text`: a string, or an iterable of pieces.

        Pieces, also of an async iterable, are joined verbatim. Among them a `Flush` has the text before it spoken to
        its end. An iterable is read in the event loop, so one that blocks belongs into a thread, or to the synchronous
        `Client`.
        timeout: seconds for the whole turn; it takes as long as its audio, unless `paced` is False. The other keywords
        are those of `synthesis_config`. The call begins at once, in the running event loop.
        Raises TypeError for another type of text, and ValueError as `synthesis_config` does.
        """
        text = checked(text)
        turn = self._turn(Turn, synthesis_config(**options), timeout)
        turn.feed(text)
        return turn

    def open_turn(self, *, timeout: float | None = None, **options: Unpack[SpeechOptions]) -> WritableTurn:
        """A turn with written text: `write`, `flush`, `end`.

        Keywords as those of `synthesize`.
        """
        return self._turn(WritableTurn, synthesis_config(**options), timeout)

    async def save(
        self,
        file: File,
        text: Text,
        *,
        kind: str = "",
        timeout: float | None = None,
        **options: Unpack[SpeechOptions],
    ) -> tts_pb2.Summary:
        """Speak `text` into a file as fast as it goes.

        kind: such as "wav", "flac", "ogg", "pcm" (`audio.KINDS`; default: what the file's name ends in).
        The other keywords are those of `synthesize`. Raises ValueError for a kind that cannot be written, and OSError.
        """
        kind = checked_kind(kind) if kind else kind_of(file)
        options.setdefault("encoding", KINDS[kind])
        options.setdefault("paced", False)
        async with self.synthesize(text, timeout=timeout, **options) as turn:
            await write_audio(file, turn, kind)
        return turn.summary

    async def voices(self, language: str = "") -> list[tts_pb2.Voice]:
        """Voices for `language`, by default all."""
        found: list[tts_pb2.Voice] = []
        request = tts_pb2.ListVoicesRequest(language=language)
        while True:
            page = await self._ask(lambda: self._voices.ListVoices, request)
            found += page.voices
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def create_voice(
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
        """Create a voice from a recording, for use by name.

        audio: as `reference` of a turn. Without a `transcript` only the recording's speaker is used. `shared` lets
        every tenant use the voice, if the caller is an admin; `replace` takes the place of one of this name.
        `on_notice` is called with each quality problem of the recording. Raises ValueError for an empty recording, or
        one over 10 MiB.
        """
        audio = checked_recording(audio)
        spec = tts_pb2.VoiceSpec(
            name=name,
            transcript=transcript,
            speaker_embedding_only=not transcript,
            description=description,
            consent_reference=consent_reference,
            audio_sha256=sha256(audio).digest(),
            shared=shared,
            replace=replace,
        )
        response = await self._ask(lambda: self._voices.CreateVoice, _uploads(spec, audio), timeout, attempts=False)
        for notice in response.notices:
            if on_notice is not None:
                on_notice(notice)
        made: tts_pb2.Voice = response.voice
        return made

    async def delete_voice(self, name: str) -> None:
        """Delete a created voice; open turns with it finish."""
        await self._ask(lambda: self._voices.DeleteVoice, tts_pb2.DeleteVoiceRequest(name=name))

    async def server_info(self) -> tts_pb2.GetServerInfoResponse:
        """Models, formats, limits of the server."""
        info: tts_pb2.GetServerInfoResponse = await self._ask(
            lambda: self._speech.GetServerInfo, tts_pb2.GetServerInfoRequest()
        )
        return info

    def _turn(self, kind: type[_T], config: tts_pb2.SynthesisConfig, timeout: float | None) -> _T:
        outbox = Outbox()
        outbox.put(tts_pb2.SynthesizeRequest(config=config))
        return kind(self._open_call, outbox, Retries(self._contact, timeout))

    def _open_call(self, requests: AsyncIterator[tts_pb2.SynthesizeRequest], timeout: float | None) -> Any:
        return self._speech.Synthesize(requests, timeout=timeout, metadata=self._metadata)

    async def _ask(
        self, method: Callable[[], Any], request: Any, timeout: float | None = ANSWER, attempts: bool = True
    ) -> Any:
        """The response of a unary call, after retries.

        Raises `TTSError` where they fail.
        """
        retries = Retries(self._contact, timeout)
        while True:
            call = method()(request, timeout=retries.remaining(), metadata=self._metadata)
            status = FinalStatus(call)
            try:
                answer = await call
            except grpc.aio.AioRpcError as error:
                failure = await retries.decoded(error, status)
                if not attempts or not await retries.wait(failure):
                    raise failure from None
            else:
                retries.reached()
                return answer


def _authorization(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


async def _uploads(spec: tts_pb2.VoiceSpec, audio: bytes) -> AsyncIterator[tts_pb2.CreateVoiceRequest]:
    yield tts_pb2.CreateVoiceRequest(spec=spec)
    for start in range(0, len(audio), LARGEST_UPLOAD):
        yield tts_pb2.CreateVoiceRequest(audio=audio[start : start + LARGEST_UPLOAD])
