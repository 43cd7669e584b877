"""Recordings within a turn: permission to clone, then decoding."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from hashlib import sha256

import numpy as np

from engine.api.request import SHORTEST_RECORDING, Reference
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.recordings.recordings import Decoded, Recordings
from qwentts_grpc.rpc.call import Call
from qwentts_grpc.service.audit import AuditEntry, AuditLog
from qwentts_grpc.voices.consent import Consent
from qwentts_grpc.voices.file import LONGEST


class InlineCloning:
    """Clones with the rules of `CreateVoice`, on its decoders."""

    def __init__(self, consent: Consent, audit: AuditLog, recordings: Recordings) -> None:
        self.consent, self.recordings = consent, recordings
        self._audit = audit

    def held(self, call: Call, config: tts_pb2.SynthesisConfig) -> AbstractContextManager[None]:
        """Charge the recording's memory to the caller for the turn.

        The message lives that long.
        """
        size = config.reference.ByteSize()
        return self.recordings.held(call.caller, size) if size else nullcontext()

    @asynccontextmanager
    async def entry(self, call: Call, config: tts_pb2.SynthesisConfig) -> AsyncIterator[AuditEntry | None]:
        """Check consent, then audit the outcome of the body.

        Yields None for a turn without a recording.
        """
        if config.WhichOneof("voice_source") != "reference":
            yield None
            return
        given = config.reference.consent_reference
        entry = AuditEntry("clone", consent_reference=given[: LONGEST["consent_reference"]])
        async with self._audit.entry(call, entry):
            self.consent.check_reference("reference.consent_reference", given)
            yield entry

    async def decode(self, call: Call, given: tts_pb2.ReferenceVoice, entry: AuditEntry) -> Decoded:
        """Raises `RecordingDenied`, or the errors of `Recordings.decode`."""
        audio = given.audio
        digest = await asyncio.to_thread(lambda: sha256(audio).digest())
        entry.audio_sha256 = digest.hex()
        self.consent.check_recording(digest)
        scope = call.caller.tenant
        return await self.recordings.decode(audio, call.caller, given.transcript, given.speaker_embedding_only, scope)


def undecoded(config: tts_pb2.SynthesisConfig) -> Reference | None:
    """A placeholder reference: one frame of silence.

    All else can be checked with it before the recording is decoded.
    """
    if config.WhichOneof("voice_source") != "reference":
        return None
    given = config.reference
    return Reference(np.zeros(SHORTEST_RECORDING, np.float32), given.transcript, given.speaker_embedding_only)
