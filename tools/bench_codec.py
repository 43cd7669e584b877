"""Measure the codec decoder on a GPU: `check` against fp32 on the CPU, `time` graphs, `profile` kernels, `tune` tiles.

Random weights of the real size. Usage: `python -m tools.bench_codec check time profile`; `tune` prints the tables of
`engine/ops/triton/codec_tiles.py`.
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton import OutOfResources
from triton.runtime.jit import JITFunction

from engine.dummy.configs import codec_config
from engine.dummy.weights import codec_weights
from engine.model import codec_fused
from engine.model.codec import CodecDecoder, CodecState
from engine.model.codec_config import CodecDecoderConfig
from engine.model.codec_fused import FusedCodecDecoder
from engine.model.tensors import under
from engine.ops.triton import codec_tiles
from engine.ops.triton.codec_tiles import Tile

ROWS = (1, 8, 32, 64)
FRAMES = (1, 2, 4, 8, 12)
SLOTS = 64
BYTES_PER_SECOND = 3.0e12  # what plain streaming reads reach on this chip
OPERATIONS_PER_SECOND = 8.0e14  # what a large half-precision product reaches
OPERATIONS_PER_FRAME = 4.96e9
CHECKED = (
    ([0, 1, 2, 3], 1),
    ([0, 2], 4),
    ([1, 3, 4], 2),
    ([4, 2, 0, 1, 3], 1),
    ([3, 0], 12),
    ([2, 1], 1),
)  # slots, frames
TUNED = ((1, 1), (8, 1), (32, 1), (32, 4), (32, 12))
COLD_BYTES = 100 << 20  # weights cycle through more than the L2 cache, as they do in a whole decode
LAUNCHES = 24
Shapes = list[tuple[int, int]]
DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
KINDS = tuple(os.environ.get("TUNE", "CONV UNIT LINEAR").split())


def sizes() -> CodecDecoderConfig:
    """The decoder of real size."""
    return CodecDecoderConfig.from_json(codec_config("real")["decoder_config"])


def weights(device: str) -> dict[str, Tensor]:
    """Its random weights."""
    return under(codec_weights(codec_config("real"), seed=0, device=torch.device(device)), "decoder")


def fused(on: dict[str, Tensor] | None = None) -> FusedCodecDecoder:
    """The fused decoder, on the device."""
    return FusedCodecDecoder(sizes(), on or weights("cuda"))


def random_codes(rows: int, frames: int, device: str = "cuda") -> Tensor:
    """Codes (rows, frames, 16)."""
    return torch.randint(0, 2048, (rows, frames, 16), device=device)


def shapes_of(steps: list[str]) -> Shapes:
    """Streams and frames of the calls that the steps make."""
    shapes = [(len(rows) + 2, frames) for rows, frames in CHECKED] + [(1, 1), (32, 1), (32, 4)]
    return shapes if set(steps) <= {"compile", "check"} else shapes + [(r, n) for r in ROWS for n in FRAMES]


class Captured(NamedTuple):
    """A call of the decoder as a graph, its inputs and its output."""

    graph: torch.cuda.CUDAGraph
    codes: Tensor
    slots: Tensor
    pcm: Tensor


# ---- check


def check() -> None:
    """Signal to noise against fp32 on the CPU, over splits and phases, of the fused decoder and of the plain one beside
    it in several precisions; then repeatability."""
    w = weights("cpu")
    on_device = {name: tensor.cuda() for name, tensor in w.items()}
    torch.manual_seed(0)
    codes = [random_codes(len(rows), n, "cpu") for rows, n in CHECKED]
    wanted = decoded(CodecDecoder(sizes(), w), codes, torch.float32, "cpu")
    print(f"rms of the last call {wanted[-1].square().mean().sqrt():.3f}; signal to noise in dB:")
    print(f"{'streams x frames':>16}" + "".join(f"{f'{len(rows)}x{n}':>7}" for rows, n in CHECKED))
    for name in ("float32", "float16", "bfloat16"):
        dtype: torch.dtype = getattr(torch, name)
        plain = CodecDecoder(sizes(), {key: tensor.to(dtype) for key, tensor in on_device.items()})
        show_noise(f"plain {name}", decoded(plain, codes, dtype, "cuda"), wanted)
    for dtype in (torch.float16, torch.bfloat16):
        decoder = FusedCodecDecoder(sizes(), on_device, dtype)
        show_noise(f"fused {str(dtype)[6:]}", decoded(decoder, codes, dtype, "cuda"), wanted)
    decoder = fused(on_device)
    state = decoder.new_state(SLOTS, "cuda", torch.float16)
    for count, frames in ((1, 1), (32, 1), (32, 4)):
        check_repeats(decoder, state, count, frames)


def decoded(
    decoder: CodecDecoder | FusedCodecDecoder, codes: list[Tensor], dtype: torch.dtype, device: str
) -> list[Tensor]:
    """What the calls of CHECKED give, on the CPU; two more rows of each call are padding."""
    state = decoder.new_state(SLOTS, device, dtype)
    out = []
    for part, (rows, _) in zip(codes, CHECKED, strict=True):
        padded = torch.tensor([*rows, SLOTS, SLOTS], device=device)
        given = torch.cat((part, part[:1], part[:1])).to(device)
        out.append(decoder.forward(given, state, padded)[: len(rows)].float().cpu())
    return out


def show_noise(name: str, got: list[Tensor], wanted: list[Tensor]) -> None:
    """One line of the table."""
    ratios = [signal_to_noise(one, exact) for one, exact in zip(got, wanted, strict=True)]
    print(f"{name:>16}" + "".join(f"{ratio:7.1f}" for ratio in ratios), flush=True)


def check_repeats(decoder: FusedCodecDecoder, state: CodecState, rows: int, frames: int) -> None:
    """The same call from the same state, eagerly and as a graph, gives the same bits, or kernels race."""
    start = copied(state)
    call = captured(decoder, state, rows, frames)
    outcomes = []
    for run in range(20):
        restore(state, start)
        if run < 4:
            outcomes.append((decoder.pcm(call.codes, state, call.slots), copied(state)))
        else:
            call.graph.replay()
            outcomes.append((call.pcm.clone(), copied(state)))
    pcm, after = outcomes[0]
    different = [
        i
        for i, (p, s) in enumerate(outcomes)
        if not (torch.equal(p, pcm) and torch.equal(s.tails, after.tails) and torch.equal(s.rings, after.rings))
    ]
    loudness = pcm.float().square().mean().sqrt()
    print(f"{rows} x {frames}: 20 runs, different from the first: {different}, rms {loudness:.0f}", flush=True)
    restore(state, start)


def copied(state: CodecState) -> CodecState:
    """The state as it is now."""
    return CodecState(state.tails.clone(), state.rings.clone(), state.frames.clone())


def restore(state: CodecState, start: CodecState) -> None:
    """Make the state what it was."""
    state.tails.copy_(start.tails)
    state.rings.copy_(start.rings)
    state.frames.copy_(start.frames)


def signal_to_noise(got: Tensor, want: Tensor) -> float:
    """In dB; NaN stays NaN."""
    return 10 * math.log10(want.square().sum() / (got - want).square().sum())


# ---- time


def captured(decoder: FusedCodecDecoder, state: CodecState, rows: int, frames: int) -> Captured:
    """One call as a graph."""
    codes, slots = random_codes(rows, frames), torch.arange(rows, device="cuda")
    decoder.pcm(codes, state, slots)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        pcm = decoder.pcm(codes, state, slots)
    return Captured(graph, codes, slots, pcm)


def microseconds(replay: Callable[[], None], repeats: int = 20) -> float:
    """Median over `repeats` of one call's device time."""
    for _ in range(3):
        replay()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for start, end in events:
        start.record()
        replay()
        end.record()
    torch.cuda.synchronize()
    return float(statistics.median(start.elapsed_time(end) for start, end in events)) * 1e3


def floor(rows: int, frames: int, weight_bytes: int) -> float:
    """Microseconds that reading the weights once, or the arithmetic, takes at the least."""
    return 1e6 * max(weight_bytes / BYTES_PER_SECOND, OPERATIONS_PER_FRAME * rows * frames / OPERATIONS_PER_SECOND)


def table(title: str) -> None:
    """Replay time of every graph."""
    decoder = fused()
    state = decoder.new_state(SLOTS, "cuda", torch.float16)
    weight_bytes = 2 * 106_000_000
    print(f"\n{title}: microseconds a call (share of the floor)")
    print("rows  " + "".join(f"{n:>8} frames" for n in FRAMES))
    for rows in ROWS:
        cells = []
        for frames in FRAMES:
            used = microseconds(captured(decoder, state, rows, frames).graph.replay)
            cells.append(f"{used:9.0f} ({floor(rows, frames, weight_bytes) / used:3.0%})")
        print(f"{rows:4}  " + "".join(cells), flush=True)


# ---- profile


def profile() -> None:
    """Where the time of one replay goes, by kernel in order: duration, and gap to the one before."""
    decoder = fused()
    state = decoder.new_state(SLOTS, "cuda", torch.float16)
    for rows, frames in ((1, 1), (32, 1), (32, 4)):
        graph = captured(decoder, state, rows, frames).graph
        names = labels(decoder, state, rows, frames)
        graph.replay()
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            for _ in range(5):
                graph.replay()
            torch.cuda.synchronize()
        events = sorted((e for e in profiler.events() if "kernel" in e.name), key=lambda e: e.time_range.start)
        count = len(events) // 5
        if count != len(names):
            print(f"{rows}x{frames}: {count} kernels seen, {len(names)} launched")
            continue
        print(f"\n{rows} x {frames}: {count} kernels; duration (from start to next start), microseconds")
        spent: dict[str, list[float]] = {}
        for i, name in enumerate(names):
            runs = [events[r * count + i] for r in range(1, 5)]
            took = statistics.median(e.time_range.elapsed_us() for e in runs)
            after = [
                events[r * count + i + 1].time_range.start if i + 1 < count else runs[r - 1].time_range.end
                for r in range(1, 5)
            ]
            step = statistics.median(a - e.time_range.start for a, e in zip(after, runs, strict=True))
            entry = spent.setdefault(name, [0, 0.0, 0.0])
            entry[0] += 1
            entry[1] += took
            entry[2] += step
        for name, (times, took, step) in spent.items():
            print(f"  {name:34} x{times:<2} {took:8.1f} ({step:7.1f})")


def labels(decoder: FusedCodecDecoder, state: CodecState, rows: int, frames: int) -> list[str]:
    """What each kernel of a call is called in the tables."""
    return [label(call) for call in recorded(decoder, state, rows, frames)]


# ---- tune


@dataclasses.dataclass(frozen=True)
class Call:
    """One operation of a forward, with the arguments it had."""

    method: str
    args: tuple[Any, ...]
    options: dict[str, Any]


METHODS = ("embed", "conv", "unit", "linear", "attention", "depthwise_norm", "wave")


def recorded(decoder: FusedCodecDecoder, state: CodecState, rows: int, frames: int) -> list[Call]:
    """The operations of one decode, in order."""
    codes, slots = random_codes(rows, frames), torch.arange(rows, device="cuda")
    return [call for call, _ in recorded_with_results(decoder, state, codes, slots)]


def recorded_with_results(
    decoder: FusedCodecDecoder, state: CodecState, codes: Tensor, slots: Tensor
) -> list[tuple[Call, Any]]:
    """The operations of one decode, in order, and what each gave."""
    calls: list[tuple[Call, Any]] = []
    ops = decoder.ops

    def recorder(method: str) -> Callable[..., Any]:
        original = getattr(ops, method)

        def run(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            calls.append((Call(method, args, options), result))
            return result

        return run

    for method in METHODS:
        setattr(ops, method, recorder(method))
    decoder.forward(codes, state, slots)
    for method in METHODS:
        delattr(ops, method)
    return calls


def key(call: Call) -> tuple[str, int, int, int] | None:
    """(table, depth, width, positions) of a call that has a tile."""
    if call.method == "conv":
        x, conv, home = call.args[0], call.args[1], call.options.get("home")
        return "CONV", conv.depth, conv.width, x.shape[0] * (x.shape[1] - (home.length if home else 0))
    if call.method == "unit":
        streams, steps, channels = call.args[1].shape
        return "UNIT", channels, channels, streams * steps
    if call.method == "linear":
        depth, width = call.args[1].high.shape
        return "LINEAR", depth, width // (2 if call.options.get("gated") else 1), call.args[0].shape[0]
    return None


def label(call: Call) -> str:
    """The operation and its sizes."""
    named = key(call)
    return call.method if named is None else f"{named[0].lower()} {named[3]}x{named[1]}x{named[2]}"


def candidates(kind: str, depth: int, width: int, positions: int) -> Iterator[Tile]:
    """Tiles worth trying: none in which warps repeat each other (see codec_tiles)."""
    if kind == "LINEAR":
        rows = (16,) if positions <= 16 else (16, 32) if positions <= 32 else (32, 64)
        for r in rows:
            for columns, deep, warps, stages in (
                (32, 128, 4, 3),
                (32, 64, 4, 4),
                (64, 64, 4, 3),
            ):
                yield Tile(r, columns, deep, 1, warps, stages)
        return
    if kind == "UNIT":
        small = ((16, 64, 4, 4), (32, 32, 4, 4), (32, 64, 4, 3), (64, 64, 4, 3), (64, 32, 4, 4))
        large = ((64, 64, 4, 3), (128, 64, 8, 3), (128, 32, 8, 4), (128, 64, 8, 2), (64, 32, 4, 4))
        for r, deep, warps, stages in small if positions < 16000 else large:
            yield Tile(r, width, deep, 1, warps, stages)
        return
    shapes: tuple[tuple[int, int, int, int, int], ...]
    if positions <= 16:
        shapes = ((16, 64, 64, 4, 5), (16, 64, 128, 4, 4), (16, 32, 128, 4, 4), (16, 128, 64, 4, 4))
    elif positions <= 64:
        shapes = (
            (16, 64, 128, 4, 4),
            (32, 64, 64, 4, 5),
            (32, 64, 128, 4, 4),
            (32, 32, 128, 4, 4),
            (64, 64, 64, 4, 4),
            (64, 128, 64, 4, 4),
        )
    elif positions <= 512:
        shapes = (
            (32, 64, 128, 4, 3),
            (64, 64, 64, 4, 5),
            (64, 128, 64, 4, 4),
            (128, 64, 64, 4, 4),
            (128, 128, 64, 8, 3),
        )
    else:
        shapes = (
            (64, 64, 64, 4, 4),
            (64, 128, 64, 4, 4),
            (128, 64, 64, 4, 4),
            (128, 128, 64, 8, 3),
            (128, 128, 64, 4, 3),
            (128, 256, 64, 8, 3),
            (64, 256, 64, 8, 3),
        )
    for r, columns, deep, warps, stages in shapes:
        if (width + 63) // 64 * 64 % columns:
            continue
        tiles = -(-positions // r) * -(-width // columns)
        for split in (1, 2, 4, 8):
            if split == 1 or (tiles * split <= 400 and depth // split >= 256):
                yield Tile(r, columns, deep, split, warps, stages)


def jobs(decoder: FusedCodecDecoder, state: CodecState) -> list[tuple[tuple[str, int, int, int], Call, Tile]]:
    """What to tune: shape, call, tile."""
    found: dict[tuple[str, int, int, int], Call] = {}
    for rows, frames in TUNED:
        for call in recorded(decoder, state, rows, frames):
            if (named := key(call)) and named[0] in KINDS:
                found.setdefault(named, call)
    return [(named, call, tile) for named, call in found.items() for tile in candidates(*named)]


def place_of_weights(call: Call) -> int:
    """Which argument of the call has the weights."""
    return 2 if call.method == "unit" else 1


def weights_of(call: Call) -> Any:
    """The weights of the call."""
    return call.args[place_of_weights(call)]


def run_tile(decoder: FusedCodecDecoder, call: Call, tile: Tile, copies: list[Any]) -> None:
    """Launch the call with `tile`, over copies of its weights in turn."""
    place = place_of_weights(call)
    for i in range(LAUNCHES if len(copies) > 1 else 1):
        args = list(call.args)
        args[place] = copies[i % len(copies)]
        getattr(decoder.ops, call.method)(*args, **call.options, tile=tile)


def compile_share(share: int, shares: int, shapes: Shapes, tuning: bool) -> None:
    """Launch, and so compile into the kernel cache, every kernel of `shapes` whose number falls to this share."""
    launch = JITFunction.run

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        name = f"{self.fn.__name__} {sorted((key, str(value)) for key, value in options.items())}"
        if zlib.crc32(name.encode()) % shares == share:
            return launch(self, *args, grid=grid, warmup=warmup, **options)
        return None

    JITFunction.run = run
    decoder = fused()
    state = decoder.new_state(SLOTS, "cuda", torch.float16)
    with torch.inference_mode():
        for rows, frames in shapes:
            slots = torch.arange(rows, device="cuda").clamp(max=SLOTS)
            decoder.pcm(random_codes(rows, frames), state, slots)
            decoder.forward(random_codes(rows, frames), state, slots)
        for named, call, tile in jobs(decoder, state) if tuning else ():
            attempt(decoder, named, call, tile)
    torch.cuda.synchronize()


def attempt(decoder: FusedCodecDecoder, named: tuple[str, int, int, int], call: Call, tile: Tile) -> None:
    """Compile one tile; sizes that do not fit are reported."""
    try:
        run_tile(decoder, call, tile, [weights_of(call)])
    except OutOfResources as error:
        print(named, tile, error, flush=True)


def compile_all(processes: int, shapes: Shapes, tuning: bool = False) -> None:
    """Compile what calls of `shapes`, streams and frames, will run, in so many processes."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=compile_share, args=(i, processes, shapes, tuning)) for i in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def tune(out: Path | None) -> None:
    """Time every candidate of every product, print the best as tables and use them from here on."""
    decoder = fused()
    results: dict[tuple[str, int, int, int], list[tuple[float, Tile]]] = {}
    for named, call, tile in jobs(decoder, decoder.new_state(SLOTS, "cuda", torch.float16)):
        try:
            results.setdefault(named, []).append((timed(decoder, call, tile), tile))
        except OutOfResources:
            continue  # said when it was compiled
    if out:
        rows = [[*named, *dataclasses.astuple(tile), used] for named, found in results.items() for used, tile in found]
        out.write_text("\n".join(json.dumps(row) for row in rows))
    tables: dict[str, dict[tuple[int, int], list[tuple[int, Tile]]]] = {"CONV": {}, "UNIT": {}, "LINEAR": {}}
    for (kind, depth, width, positions), found in sorted(results.items()):
        used, tile = min(found, key=lambda pair: pair[0])
        tables[kind].setdefault((depth, width), []).append((positions, tile))
        rate = 2e-6 * positions * depth * width * (8 if kind == "UNIT" else 1) / used
        others = " ".join(f"{u:.1f}" for u, _ in sorted(found, key=lambda pair: pair[0])[1:4])
        best = f"{used:7.1f} us {rate:6.0f} TFLOP/s {dataclasses.astuple(tile)}"
        print(f"{kind} {positions:6} x {depth} x {width}: {best} then {others}")
    for kind, entries in tables.items():
        print(f"{kind}: Table = {{")
        for shape, tiles in entries.items():
            entries_of = ", ".join(f"({most}, Tile{dataclasses.astuple(tile)})" for most, tile in tiles)
            print(f"    {shape}: ({entries_of},),")
            last = (1 << 30, tiles[-1][1])
            getattr(codec_tiles, kind)[shape] = (*tiles, last)
        print("}")


def timed(decoder: FusedCodecDecoder, call: Call, tile: Tile) -> float:
    """Microseconds a launch, weights cold."""
    copies = cold_copies(weights_of(call))
    run_tile(decoder, call, tile, copies)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run_tile(decoder, call, tile, copies)
    return microseconds(graph.replay, 5) / LAUNCHES


def cold_copies(layer: Any) -> list[Any]:
    """The layer over copies of its weights; a unit's are small enough to be warm in a decode too."""
    names = [name for name in ("weight", "high", "low") if hasattr(layer, name)]
    size = sum(getattr(layer, name).nbytes for name in names)
    count = min(LAUNCHES, max(2, COLD_BYTES // size)) if names else 2
    return [dataclasses.replace(layer, **{name: getattr(layer, name).clone() for name in names}) for _ in range(count)]


def main() -> None:
    """Run the steps that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", choices=("check", "compile", "tune", "time", "profile"))
    parser.add_argument("--processes", type=int, default=12, help="compilers at a time")
    parser.add_argument("--out", type=Path, help="where tune writes all its measurements")
    parser.add_argument("--in-order", action="store_true", help="launch each kernel after the end of the one before")
    parser.add_argument("--fused-channels", type=int, default=codec_fused.FUSED_CHANNELS)
    arguments = parser.parse_args()
    codec_fused.FUSED_CHANNELS = arguments.fused_channels
    if arguments.in_order:
        from engine.ops.triton import codec_ops

        setattr(codec_ops, "overlap", lambda device: {"OVERLAP": False})  # noqa: B010
    print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    with torch.inference_mode():
        for step in arguments.steps:
            began = time.time()
            match step:
                case "check":
                    check()
                case "time":
                    table(step)
                case "profile":
                    profile()
                case "compile":
                    compile_all(arguments.processes, shapes_of(arguments.steps), "tune" in arguments.steps)
                case "tune":
                    tune(arguments.out)
            print(f"[{step}: {time.time() - began:.0f} s]", flush=True)


if __name__ == "__main__":
    main()
