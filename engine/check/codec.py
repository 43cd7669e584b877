"""The device's codec decoder against the plain one in fp32."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.api.types import Codes, Pcm
from engine.check.figures import Figure, at_least, decibels
from engine.check.language import finite_figures
from engine.model.codec.decoder import CodecDecoder
from engine.ops.codec import Decoder

SECTION = "codec"

# fp16 keeps 73 dB of a product. Some sixty follow each other, 18 dB; the Snakes multiply what is rounded away by 13 dB
# more: 42 dB are left on random weights of real size. 30 dB leave room for other weights; a wrong tap has below 10.
# Two splits of one stream each have that noise. In fp32 there are 2^13 times less.
LEAST = {torch.float16: 30.0, torch.bfloat16: 14.0, torch.float32: 80.0}
# What is served has 16 bits: 98 dB below full scale, 20 less for a voice below it, 20 more for a quiet one.
LEAST_SERVED = {torch.float16: 30.0, torch.bfloat16: 14.0, torch.float32: 50.0}
LARGE, SMALL = (12,), (1, 1, 2, 4, 1, 8)  # frames a call: sizes of the server's
PLAIN = (24,)  # the plain decoder takes any
METHODS = ("embed", "conv", "unit", "linear", "attention", "depthwise_norm", "output_conv")  # of the fused decoder
PARTS = ("quantizer", "pre_conv", "transformer", "upsample", "first", "blocks", "snake", "last")  # of the plain one

Peak = tuple[str, Tensor, torch.dtype]


@dataclass(frozen=True, slots=True)
class Speech:
    """Codes (frames, code groups), of which `before` are a recording's.

    `pcm`: audio served for the others, if any.
    """

    codes: Codes
    before: int
    pcm: Pcm | None


def speech(recording: Codes | None, codes: Codes, pcm: Pcm | None) -> Speech:
    """Speech behind its recording."""
    return (
        Speech(codes, 0, pcm) if recording is None else Speech(np.concatenate((recording, codes)), len(recording), pcm)
    )


def compare(
    exact: Decoder, device: Decoder, speeches: Sequence[Speech], places: tuple[torch.device, torch.device]
) -> Iterator[Figure]:
    """Figures of a few speeches.

    `places`: the devices of both decoders.
    """
    large, small, served = ([0.0, 0.0] for _ in range(3))
    with watched(device) as peaks:
        for each in speeches:
            wanted = decode(exact, each.codes, PLAIN, places[0])
            whole = decode(device, each.codes, LARGE, places[1])
            _add(large, wanted, whole)
            _add(small, whole, decode(device, each.codes, SMALL, places[1]))
            if each.pcm is not None:
                heard = torch.from_numpy(each.pcm.copy()).double() / 32767
                _add(served, wanted[each.before * exact.config.samples_per_frame :], heard)
    least = LEAST[device.dtype]
    yield at_least(SECTION, "device against plain, dB", decibels(*large), least, ".1f", str(device.dtype)[6:])
    yield at_least(SECTION, "frame by frame against whole, dB", decibels(*small), least, ".1f")
    if any(each.pcm is not None for each in speeches):
        yield at_least(
            SECTION, "audio as served against plain, dB", decibels(*served), LEAST_SERVED[device.dtype], ".1f"
        )
    values = torch.stack([peak.float() for _, peak, _ in peaks]).tolist()
    yield from finite_figures(
        SECTION, [(name, value, dtype) for (name, _, dtype), value in zip(peaks, values, strict=True)]
    )


@torch.inference_mode()
def decode(decoder: Decoder, codes: Codes, sizes: Iterable[int], device: torch.device) -> Tensor:
    """Audio (samples,) in fp64 on the CPU.

    Decoded in calls of `sizes` frames, over and over.
    """
    state, rows = decoder.new_state(1, device, decoder.dtype), torch.zeros(1, dtype=torch.int64, device=device)
    left, pieces, wanted = torch.from_numpy(codes).to(device, torch.int64), list[Tensor](), cycle(sizes)
    while len(left):
        size = next(wanted)
        while size > len(left):  # half of a size is a size
            size = size // 2 if size != 12 else 8
        pieces.append(decoder.forward(left[None, :size], state, rows)[0].double().cpu())
        left = left[size:]
    return torch.cat(pieces)


@contextmanager
def watched(decoder: Decoder) -> Iterator[list[Peak]]:
    """Largest magnitude of every operation's result meanwhile."""
    peaks: list[Peak] = []
    owner: Any = decoder if isinstance(decoder, CodecDecoder) else getattr(decoder, "ops", None)
    names = PARTS if isinstance(decoder, CodecDecoder) else METHODS
    before = {name: getattr(owner, name) for name in names}
    for name, part in before.items():
        many = isinstance(part, list)
        calls = [_noting(f"{name} {i}", each, peaks) for i, each in enumerate(part)] if many else None
        setattr(owner, name, calls if many else _noting(name, part, peaks))
    try:
        yield peaks
    finally:
        for name, part in before.items():
            if isinstance(decoder, CodecDecoder):
                setattr(owner, name, part)
            else:
                delattr(owner, name)


def _noting(name: str, call: Callable[..., Any], peaks: list[Peak]) -> Callable[..., Any]:
    """The same function, which notes its results' peaks."""

    def run(*args: Any, **options: Any) -> Any:
        result = call(*args, **options)
        for out in result if isinstance(result, tuple) else (result,):
            if out.is_floating_point():
                peaks.append((f"the codec's {name}", out.abs().amax(), out.dtype))
        return result

    return run


def _add(powers: list[float], wanted: Tensor, found: Tensor) -> None:
    """Add signal, noise of one speech."""
    length = min(len(wanted), len(found))
    powers[0] += float(wanted[:length].square().sum())
    powers[1] += float((found[:length] - wanted[:length]).square().sum())
