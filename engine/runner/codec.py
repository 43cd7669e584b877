"""Codec stage: frames of codes to PCM16, by slot."""

from collections.abc import Sequence
from threading import Lock

import torch
from torch import Tensor

from engine.api.types import Codes
from engine.byte_cache import ByteCache
from engine.ops.codec import CodecState, Decoder
from engine.runner.slot_state import upload
from engine.scheduler.chunk_policy import SIZES

CACHE_BYTES = 256 * 2**20  # states after recordings: some 50 voices in fp32, 100 in fp16


class CodecStage:
    """Owner of every slot's decoder state.

    The stateful decoder keeps the whole past of a stream. The reference implementation starts anew every 300 frames
    on 25 frames of context, fewer than its attention spans: up to there both agree, beyond it this output differs and
    keeps full context.
    States after recordings are cached, for each `scope` by itself.
    `prime` and `is_primed` may be called on any thread; all else belongs to the device's.
    """

    def __init__(
        self,
        decoder: Decoder,
        slots: int,
        device: torch.device,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.decoder, self.device = decoder, device
        self.frame_samples = decoder.config.samples_per_frame
        self.state = decoder.new_state(slots, device, decoder.dtype)
        self._primed: ByteCache[bytes, CodecState] = ByteCache(cache_bytes)
        self._lock = Lock()

    @torch.inference_mode()
    def reset(self, rows: Tensor) -> None:
        """Put slots `rows` (R,) int64 on the device at the start of a stream.

        Never waits for the device, so that it can be captured.
        """
        self.state.reset(rows)

    def restore(self, slot: int, reference: Codes | None, decoded: Sequence[tuple[int, ...]], scope: str = "") -> None:
        """Give a stream at its start a past.

        As if it had just decoded `reference` (T, 16) and then `decoded`.
        """
        if reference is not None and len(decoded) < self.decoder.config.reach:
            self.state.restore(slot, self.prime(reference, scope))
        if decoded:
            self._run(self.state, slot, upload(decoded, self.device))

    def is_primed(self, reference: Codes, scope: str = "") -> bool:
        """Whether the state after this recording is cached."""
        with self._lock:
            return self._primed.get(_key(reference, scope)) is not None

    @torch.inference_mode()
    def prime(self, reference: Codes, scope: str = "") -> CodecState:
        """State of one stream after a recording's codes (T, 16).

        Run once, then cached while it fits.
        """
        key = _key(reference, scope)
        with self._lock:
            primed = self._primed.get(key)
        if primed is None:
            state = self.decoder.new_state(1, self.device, self.decoder.dtype)
            self._run(state, 0, upload(reference, self.device).long())
            primed = state.saved(0)
            if self.device.type == "cuda":
                torch.cuda.current_stream(self.device).synchronize()  # other streams read it
            with self._lock:
                self._primed.put(key, primed, primed.bytes)
        return primed

    @torch.inference_mode()
    def _run(self, state: CodecState, slot: int, codes: Tensor) -> None:
        """Decode `codes` (T, 16) int64 without keeping the audio.

        Only frames within the decoder's reach of the end are run.
        """
        rows, kept = self._rows([slot]), codes[-self.decoder.config.reach :][None]
        start = 0
        while left := kept.shape[1] - start:
            size = max(size for size in SIZES if size <= left)  # sizes that kernels have been compiled for
            self.decoder.forward(kept[:, start : start + size], state, rows)
            start += size

    @torch.inference_mode()
    def decode(self, slots: Sequence[int], codes: Tensor) -> Tensor:
        """Next n frames of B different slots, as PCM.

        codes (B, n, 16) int64 -> (B, n * frame_samples) int16 on the device.
        """
        return self.forward(self._rows(slots), codes.to(self.device))

    def forward(self, rows: Tensor, codes: Tensor) -> Tensor:
        """As `decode`, for slots `rows` (B,) int64 on the device.

        Never waits for the device, so that it can be captured.
        """
        return (self.decoder.forward(codes, self.state, rows) * 32767.0).round_().to(torch.int16)

    def _rows(self, slots: Sequence[int]) -> Tensor:
        return upload(slots, self.device)


def _key(reference: Codes, scope: str) -> bytes:
    return scope.encode() + b"\0" + reference.tobytes()
