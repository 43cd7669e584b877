"""The recordings that callers send: how much of them lies in memory, and how one becomes what the engine clones."""

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

MEMORY = 256 * 2**20  # bytes of recordings, whole or on their way
RETRY = 5.0  # seconds
TRAILING_SILENCE = 0.5  # seconds


Notices = tuple[tts_pb2.Notice, ...]


class Decoded(NamedTuple):
    """A recording for the engine, and what its sender should know about it."""

    reference: Reference
    notices: Notices


class Recordings:
    """`known` gives the tenants that have a share of the memory kept for them.

    `trailing_silence`: seconds of it that the codec hears behind each recording, so that speech does not begin with
    an echo of the recording's last sound.
    """

    def __init__(
        self, limits: RecordingLimits, known: Callable[[], Set[str]], trailing_silence: float = TRAILING_SILENCE
    ) -> None:
        self.limits = limits
        self.decoders = DecoderPool(limits)
        self._memory = Shares(MEMORY, "bytes of recordings", known, reserve=limits.bytes)
        self._trailing_silence = trailing_silence

    def hold(self, caller: Caller, size: int) -> None:
        """Count `size` bytes as the caller's; raises `TenantLimit`, and `Busy` where there is no room for them."""
        if size > self._memory.free:
            raise Busy(retry_after=RETRY)
        self._memory.take(caller, size)

    def release(self, caller: Caller, size: int) -> None:
        """They are gone."""
        self._memory.give(caller, size)

    @contextmanager
    def held(self, caller: Caller, size: int) -> Iterator[None]:
        """Count `size` bytes as the caller's while the body runs."""
        self.hold(caller, size)
        try:
            yield
        finally:
            self.release(caller, size)

    async def decode(
        self, audio: bytes, caller: Caller, transcript: str, speaker_embedding_only: bool, scope: str
    ) -> Decoded:
        """Raises `InvalidRequest` on "reference.audio", `Busy` and `GenerationFailed`."""
        share = caller.tenant or peers.host(caller.peer)  # hosts are told apart where tenants are not
        samples, remarks = await self.decoders.decode(audio, share)
        code = tts_pb2.NOTICE_CODE_REFERENCE_QUALITY
        return Decoded(
            Reference(samples, transcript, speaker_embedding_only, scope, self._trailing_silence),
            tuple(tts_pb2.Notice(code=code, message=f"the recording {remark}") for remark in remarks),
        )
