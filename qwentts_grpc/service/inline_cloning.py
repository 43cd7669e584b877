"""Recordings that turns bring along: whether each may be cloned, and what the engine clones of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from hashlib import sha256

import numpy as np

from engine.api.request import SAMPLES_PER_FRAME, Reference
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.recordings.recordings import Decoded, Recordings
from qwentts_grpc.rpc.call import Call
from qwentts_grpc.service.audit import AuditLog, Deed
from qwentts_grpc.voices.consent import Consent
from qwentts_grpc.voices.file import LONGEST


class InlineCloning:
    """The same rules and decoders as `CreateVoice` has."""

    def __init__(self, consent: Consent, audit: AuditLog, recordings: Recordings) -> None:
        self.consent, self.recordings = consent, recordings
        self._audit = audit

    def held(self, call: Call, config: tts_pb2.SynthesisConfig) -> AbstractContextManager[None]:
        """Count the recording's memory as the caller's for as long as its message lives: the whole turn."""
        size = config.reference.ByteSize()
        return self.recordings.held(call.caller, size) if size else nullcontext()

    @asynccontextmanager
    async def entry(self, call: Call, config: tts_pb2.SynthesisConfig) -> AsyncIterator[Deed | None]:
        """Write down how the body ends where it clones a recording, and check that there is consent to it."""
        if config.WhichOneof("voice_source") != "reference":
            yield None
            return
        given = config.reference.consent_reference
        deed = Deed("clone", consent_reference=given[: LONGEST["consent_reference"]])
        async with self._audit.entry(call, deed):
            self.consent.check_reference("reference.consent_reference", given)
            yield deed

    async def decode(self, call: Call, given: tts_pb2.ReferenceVoice, deed: Deed) -> Decoded:
        """Raises `RecordingDenied`, and what `Recordings.decode` raises."""
        audio = given.audio
        digest = await asyncio.to_thread(lambda: sha256(audio).digest())
        deed.audio_sha256 = digest.hex()
        self.consent.check_recording(digest)
        scope = call.caller.tenant
        return await self.recordings.decode(audio, call.caller, given.transcript, given.speaker_embedding_only, scope)


def undecoded(config: tts_pb2.SynthesisConfig) -> Reference | None:
    """The config's recording with a frame of silence in its place, by which all else can be checked first."""
    if config.WhichOneof("voice_source") != "reference":
        return None
    given = config.reference
    return Reference(np.zeros(SAMPLES_PER_FRAME, np.float32), given.transcript, given.speaker_embedding_only)
