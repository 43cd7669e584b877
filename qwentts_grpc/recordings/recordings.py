"""Recordings of callers: memory accounting, decoding for the engine."""

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import NamedTuple

from engine.api.errors import Busy
from engine.api.request import Reference
from qwentts_client.v1 import tts_pb2
from qwentts_grpc.admission.tenants import Shares
from qwentts_grpc.recordings.decoder_pool import DecoderPool
from qwentts_grpc.wire import peers
from qwentts_grpc.wire.caller import Caller
from qwentts_grpc.wire.limits import RecordingLimits

MEMORY = 256 * 2**20  # bytes of recordings, whole or being received
RETRY = 5.0  # seconds
TRAILING_SILENCE = 0.5  # seconds


Notices = tuple[tts_pb2.Notice, ...]


class Decoded(NamedTuple):
    """A recording for the engine, with notices for its sender."""

    reference: Reference
    notices: Notices


class Recordings:
    """Memory accounting with tenants' shares, then decoding.

    `known` returns the tenants with a reserved share of the memory. `trailing_silence`: seconds appended to each
    recording for the codec, so that speech does not begin with an echo of the recording's last sound.
    """

    def __init__(
        self, limits: RecordingLimits, known: Callable[[], Set[str]], trailing_silence: float = TRAILING_SILENCE
    ) -> None:
        self.limits = limits
        self.decoders = DecoderPool(limits)
        self._memory = Shares(MEMORY, "bytes of recordings", known, reserve=limits.bytes)
        self._trailing_silence = trailing_silence

    def hold(self, caller: Caller, size: int) -> None:
        """Charge `size` bytes to the caller.

        Raises `TenantLimit`, and `Busy` where the memory is full.
        """
        if size > self._memory.free:
            raise Busy(retry_after=RETRY)
        self._memory.take(caller, size)

    def release(self, caller: Caller, size: int) -> None:
        """Return `size` bytes."""
        self._memory.give(caller, size)

    @contextmanager
    def held(self, caller: Caller, size: int) -> Iterator[None]:
        """Charge `size` bytes to the caller during the body."""
        self.hold(caller, size)
        try:
            yield
        finally:
            self.release(caller, size)

    async def decode(
        self, audio: bytes, caller: Caller, transcript: str, speaker_embedding_only: bool, scope: str
    ) -> Decoded:
        """Raises `InvalidRequest` on "reference.audio", `Busy`, `GenerationFailed`."""
        share = caller.tenant or peers.host(caller.peer)  # hosts stand in for tenants where there are none
        samples, remarks = await self.decoders.decode(audio, share)
        code = tts_pb2.NOTICE_CODE_REFERENCE_QUALITY
        return Decoded(
            Reference(samples, transcript, speaker_embedding_only, scope, self._trailing_silence),
            tuple(tts_pb2.Notice(code=code, message=f"the recording {remark}") for remark in remarks),
        )
