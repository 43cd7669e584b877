"""`check`: whole decodes against fp32 on the CPU.

Covers splits and phases, then whether a call repeats exactly.
"""

import torch
from torch import Tensor

from engine.model.codec.decoder import CodecDecoder
from engine.ops.codec import CodecState
from engine.ops.triton.codec.decoder import FusedCodecDecoder
from tools.codec.decoder import DEVICE, SLOTS, Shape, fused, random_codes, sizes, weights
from tools.codec.exact import decibels
from tools.codec.replay import captured

CALLS = (
    ([0, 1, 2, 3], 1),
    ([0, 2], 4),
    ([1, 3, 4], 2),
    ([4, 2, 0, 1, 3], 1),
    ([3, 0], 12),
    ([2, 1], 1),
)  # slots, frames
PADDING = 2  # rows more in each
REPEATED: tuple[Shape, ...] = ((1, 1), (32, 1), (32, 4))
SHAPES: tuple[Shape, ...] = (*((len(rows) + PADDING, frames) for rows, frames in CALLS), *REPEATED)


def run() -> None:
    """Table of the fused decoder's ratios, under the plain one's.

    The plain one runs in three precisions.
    """
    on_cpu = weights("cpu")
    on_device = {name: tensor.to(DEVICE) for name, tensor in on_cpu.items()}
    torch.manual_seed(0)
    codes = [random_codes(len(rows), n, "cpu") for rows, n in CALLS]
    wanted = decoded(CodecDecoder(sizes(), on_cpu), codes, "cpu")
    print(f"rms of the last call {wanted[-1].square().mean().sqrt():.3f}; signal to noise in dB:")
    print(f"{'streams x frames':>16}" + "".join(f"{f'{len(rows)}x{n}':>7}" for rows, n in CALLS))
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        plain = CodecDecoder(sizes(), {name: tensor.to(dtype) for name, tensor in on_device.items()})
        show("plain", decoded(plain, codes, DEVICE), wanted, dtype)
    for dtype in (torch.float16, torch.bfloat16):
        show("fused", decoded(fused(on_device, dtype), codes, DEVICE), wanted, dtype)
    decoder = fused(on_device)
    for shape in REPEATED:
        check_repeats(decoder, decoder.new_state(SLOTS, "cuda", decoder.dtype), shape)


def decoded(decoder: CodecDecoder | FusedCodecDecoder, codes: list[Tensor], device: str) -> list[Tensor]:
    """What CALLS give, on the CPU."""
    state = decoder.new_state(SLOTS, device, decoder.dtype)
    out = []
    for part, (rows, _) in zip(codes, CALLS, strict=True):
        padded = torch.tensor([*rows, *[SLOTS] * PADDING], device=device)
        given = torch.cat((part, part[:1].expand(PADDING, -1, -1))).to(device)
        out.append(decoder.forward(given, state, padded)[: len(rows)].float().cpu())
    return out


def show(name: str, got: list[Tensor], wanted: list[Tensor], dtype: torch.dtype) -> None:
    """One line of the table."""
    ratios = [decibels(one, exact) for one, exact in zip(got, wanted, strict=True)]
    title = f"{name} {str(dtype).removeprefix('torch.')}"
    print(f"{title:>16}" + "".join(f"{ratio:7.1f}" for ratio in ratios), flush=True)


def check_repeats(decoder: FusedCodecDecoder, state: CodecState, shape: Shape) -> None:
    """Repeat one call from one state, eagerly, then by graph.

    Results differ in a bit only where kernels race.
    """
    call = captured(decoder, state, shape)
    start = copied(state)
    outcomes = []
    for run in range(20):
        restore(state, start)
        if run < 4:
            outcomes.append((decoder.forward(call.codes, state, call.slots), copied(state)))
        else:
            call.graph.replay()
            outcomes.append((call.audio.clone(), copied(state)))
    (audio, after), others = outcomes[0], outcomes[1:]
    different = [i for i, (p, s) in enumerate(others, 1) if not (torch.equal(p, audio) and equal(s, after))]
    loudness = 32767 * audio.square().mean().sqrt()
    print(f"{shape[0]} x {shape[1]}: 20 runs, different from the first: {different}, rms {loudness:.0f}", flush=True)


def copied(state: CodecState) -> CodecState:
    """The state as it is now."""
    return CodecState(state.tails.clone(), state.rings.clone(), state.frames.clone())


def restore(state: CodecState, start: CodecState) -> None:
    """Make the state what it was."""
    state.tails.copy_(start.tails)
    state.rings.copy_(start.rings)
    state.frames.copy_(start.frames)


def equal(state: CodecState, other: CodecState) -> bool:
    """Whether both hold the same bits."""
    return torch.equal(state.tails, other.tails) and torch.equal(state.rings, other.rings)
