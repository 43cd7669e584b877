"""The light Python client: text in, PCM out, over one channel; needs no engine and no torch.

async with AsyncClient("localhost:50051") as client:
    turn = client.synthesize(["Hello ", "world."], voice="joe")
    await write_wav("out.wav", turn)
    print(turn.summary.audio_duration.ToTimedelta())
"""

import json
import wave
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from qwentts_client.v1 import tts_pb2, tts_pb2_grpc

SAMPLE_RATE = 24_000
LARGEST_PIECE = 1_000  # characters of one message; four bytes each at most, which is the server's limit
LARGEST_UPLOAD = 2**18  # bytes of a recording in one message
LARGEST_MESSAGE = 4 * 2**20  # bytes

# A refusal comes before any audio, so the channel itself tries again, and waits as long as the server says.
RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "qwentts.v1.TTSService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.02s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}

Text = str | Iterable[str] | AsyncIterable[str]
_Call = grpc.aio.StreamStreamCall[Any, tts_pb2.SynthesizeResponse]


class Turn:
    """One turn: iterate over its audio frames, once. `started`, `notices` and `summary` fill as messages come.

    Raises `grpc.aio.AioRpcError` where the call fails.
    """

    def __init__(self, call: _Call) -> None:
        self.started = tts_pb2.Started()
        self.summary = tts_pb2.Summary()
        self.notices: list[tts_pb2.Notice] = []
        self._call = call

    async def __aiter__(self) -> AsyncIterator[tts_pb2.AudioFrame]:
        try:
            async for response in self._call:
                if response.WhichOneof("payload") == "audio":
                    yield response.audio
                else:
                    self._keep(response)
        except grpc.aio.AioRpcError:
            # grpcio says INTERNAL where the final status meets a write; after the summary nothing was lost by it.
            if not self.summary.finish_reason:
                raise
        finally:
            self._call.cancel()  # of no effect on a call that has ended

    def cancel(self) -> None:
        """Stop at once: nothing more comes, not even a summary."""
        self._call.cancel()

    def _keep(self, response: tts_pb2.SynthesizeResponse) -> None:
        match response.WhichOneof("payload"):
            case "started":
                self.started = response.started
            case "notice":
                self.notices.append(response.notice)
            case "summary":
                self.summary = response.summary


class AsyncClient:
    """A channel to one server; many turns may run on it at once."""

    def __init__(
        self, server: str = "localhost:50051", *, token: str = "", credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        """`token`: sent as bearer token with each call. `credentials` (`tls.client_credentials`) speak TLS."""
        options = (
            ("grpc.service_config", json.dumps(RETRIES)),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
        )
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.channel = (
            grpc.aio.secure_channel(server, credentials, options)
            if credentials
            else grpc.aio.insecure_channel(server, options)
        )
        self._speech = tts_pb2_grpc.TTSServiceStub(self.channel)
        self._voices = tts_pb2_grpc.VoiceServiceStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.channel.close()

    def synthesize(
        self,
        text: Text,
        *,
        voice: str = "",
        reference: bytes = b"",
        transcript: str = "",
        consent_reference: str = "",
        language: str = "",
        instructions: str = "",
        seed: int | None = None,
        config: tts_pb2.SynthesisConfig | None = None,
        timeout: float | None = None,
    ) -> Turn:
        """Speak `text`, a string or its pieces as they come; pieces are joined verbatim.

        `reference`: a recording to clone (a WAV, FLAC or OGG file's bytes) in place of `voice`; without a
        `transcript` only its speaker is taken. `consent_reference` says where the speaker's consent is on record,
        which some servers demand. `config` holds whatever has no argument here. `timeout` in seconds.
        Raises ValueError for a voice beside a reference.
        """
        if voice and reference:
            raise ValueError("give either a voice or a reference")
        merged = tts_pb2.SynthesisConfig(voice=voice, language=language, instructions=instructions)
        if reference:
            merged.reference.audio = reference
            merged.reference.transcript = transcript
            merged.reference.speaker_embedding_only = not transcript
            merged.reference.consent_reference = consent_reference
        if seed is not None:
            merged.sampling.seed = seed
        if config is not None:
            merged.MergeFrom(config)
        return Turn(self._speech.Synthesize(_requests(merged, text), timeout=timeout, metadata=self._metadata))

    async def voices(self, language: str = "") -> list[tts_pb2.Voice]:
        """Every voice that speaks `language`, or every voice."""
        found: list[tts_pb2.Voice] = []
        request = tts_pb2.ListVoicesRequest(language=language)
        while True:
            page = await self._voices.ListVoices(request, metadata=self._metadata)
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
    ) -> tts_pb2.Voice:
        """Make a voice of a recording (a WAV, FLAC or OGG file's bytes) that turns can then ask for by name.

        Without a `transcript` only the recording's speaker is kept. `shared` lets every tenant use it, if an admin
        asks; `replace` takes the place of a voice of this name.
        """
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
        response = await self._voices.CreateVoice(_uploads(spec, audio), metadata=self._metadata)
        made: tts_pb2.Voice = response.voice
        return made

    async def delete_voice(self, name: str) -> None:
        """Forget a created voice; turns that are speaking with it finish."""
        await self._voices.DeleteVoice(tts_pb2.DeleteVoiceRequest(name=name), metadata=self._metadata)

    async def server_info(self) -> tts_pb2.GetServerInfoResponse:
        """What the server runs."""
        request = tts_pb2.GetServerInfoRequest()
        info: tts_pb2.GetServerInfoResponse = await self._speech.GetServerInfo(request, metadata=self._metadata)
        return info


async def write_wav(path: str | Path, frames: AsyncIterable[tts_pb2.AudioFrame]) -> float:
    """Write PCM_S16LE frames at 24 kHz to a WAV file as they come, and return its seconds."""
    with open_wav(path) as file:
        async for frame in frames:
            file.writeframes(frame.data)
        return file.getnframes() / SAMPLE_RATE


def open_wav(path: str | Path) -> wave.Wave_write:
    """A WAV file to write 16-bit mono audio at 24 kHz to; raises OSError."""
    file = wave.open(str(path), "wb")  # noqa: SIM115  # the caller closes it
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(SAMPLE_RATE)
    return file


async def _requests(config: tts_pb2.SynthesisConfig, text: Text) -> AsyncIterator[tts_pb2.SynthesizeRequest]:
    yield tts_pb2.SynthesizeRequest(config=config)
    async for piece in _pieces(text):
        for start in range(0, len(piece), LARGEST_PIECE):
            yield tts_pb2.SynthesizeRequest(text=tts_pb2.TextChunk(text=piece[start : start + LARGEST_PIECE]))


async def _uploads(spec: tts_pb2.VoiceSpec, audio: bytes) -> AsyncIterator[tts_pb2.CreateVoiceRequest]:
    yield tts_pb2.CreateVoiceRequest(spec=spec)
    for start in range(0, len(audio), LARGEST_UPLOAD):
        yield tts_pb2.CreateVoiceRequest(audio=audio[start : start + LARGEST_UPLOAD])


async def _pieces(text: Text) -> AsyncIterator[str]:
    if isinstance(text, str):
        yield text
    elif isinstance(text, AsyncIterable):
        async for piece in text:
            yield piece
    else:
        for piece in text:
            yield piece
