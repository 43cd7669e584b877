"""The table: figures, floors, best rival, aims."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.parts.frames import FrameTimes, Times
from benchmarks.parts.inside import Inside
from benchmarks.parts.single import Single

# Milliseconds to read the bf16 weights of one frame once, at the 3.04 TB/s that plain reads reach on an H100:
# (talker, predictor: fifteen steps).
FLOORS = {"0.6B": (0.30, 0.81), "1.7B": (0.94, 0.81)}

# nari-qwen3-tts, its own graphs replayed alone on the same kind of GPU: (talker, predictor) by rows, ms.
RIVAL_FRAMES = {1: (1.85, 3.72), 8: (2.05, 3.96), 32: (2.62, 4.15), 64: (3.52, 4.48)}
RIVAL_CODEC = {(1, 1): 2.77, (8, 1): 4.40, (1, 4): 3.19, (8, 4): 6.61, (32, 4): 19.9, (64, 4): 37.2}
RIVAL_CODEC |= {(1, 12): 3.99, (8, 12): 13.5, (32, 12): 46.5, (64, 12): 90.0}
RIVAL_SINGLE = Single(first_audio=22.0, rtf=0.087)

HEADER = ("figure", "at", "ours", "floor", "share of floor", "best rival")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure in the unit of `figure`; None is blank.

    `value`: the figure as a number, where lower is better and repeatable on one card.
    """

    figure: str
    at: str
    ours: str
    floor: float | None = None
    share: float | None = None
    rival: float | None = None
    value: float | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells as text."""
        return (
            self.figure,
            self.at,
            self.ours,
            "" if self.floor is None else f"{self.floor:.2f}",
            "" if self.share is None else f"{self.share:.0%}",
            "" if self.rival is None else f"{self.rival:g}",
        )


def markdown(rows: Sequence[Row]) -> str:
    """A padded Markdown table, readable in a terminal too."""
    lines = [HEADER, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    lines.insert(1, tuple("-" * width for width in widths))
    padded = (" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"| {line} |" for line in padded)


def inside_rows(name: str, size: str, inside: Inside) -> Iterator[Row]:
    """Rows of an engine in its own process."""
    yield Row(f"{name}: engine built, s", "in process", f"{inside.seconds:.1f}")
    if inside.times is not None:
        yield from _times_rows(name, size, inside.times)
    if inside.single is not None:
        yield from single_rows(name, size, "in process", inside.single)


def single_rows(name: str, size: str, where: str, single: Single) -> Iterator[Row]:
    """Rows of one stream alone."""
    compared = size == "1.7B" and where == "gRPC"
    first, rtf = (RIVAL_SINGLE.first_audio, RIVAL_SINGLE.rtf) if compared else (None, None)
    audio = single.first_audio
    yield Row(f"{name}: first audio, ms", where, f"{audio:.1f}", rival=first, value=audio)
    yield Row(f"{name}: real-time factor", where, f"{single.rtf:.4f}", rival=rtf, value=single.rtf)


def load_rows(name: str, document: Mapping[str, Any]) -> Iterator[Row]:
    """First audio under load, from the load test's JSON."""
    rivals = {entry["rate"]: entry["first_playable_p95"] for entry in document["best_rival"]}
    for rate in document["rates"]:
        p95, late = rate["first_playable"]["p95"], rate["lateness"]["p99"]
        state = "held" if rate["passed"] else f"{rate['failed']} failed, {rate['interrupted']} with underruns"
        first = "-" if p95 is None else f"{p95:.1f} ({state}; generator late by {late:.1f})"
        yield Row(f"{name}: p95 first audio, ms", f"{rate['rate']:g}/s", first, rival=rivals.get(rate["rate"]))
    held = [rate["rate"] for rate in document["rates"] if rate["passed"]]
    yield Row(f"{name}: highest rate without underruns", "requests/s", f"{max(held, default=0):g}")


def _times_rows(name: str, size: str, times: Times) -> Iterator[Row]:
    for frame in times.frames:
        yield from _frame_rows(name, size, frame)
    for prefill in times.prefill:
        used = prefill.milliseconds
        yield Row(f"{name}: prefill, ms", f"{prefill.columns} columns", f"{used:.2f}", value=used)
    for codec in times.codec:
        at, rival = f"{codec.streams} streams x {codec.frames}", RIVAL_CODEC.get((codec.streams, codec.frames))
        used = codec.milliseconds
        yield Row(f"{name}: codec, ms", at, f"{used:.2f}", rival=rival, value=used)


def _frame_rows(name: str, size: str, frame: FrameTimes) -> Iterator[Row]:
    floors = FLOORS.get(size, (None, None))
    rivals = RIVAL_FRAMES.get(frame.rows, (None, None)) if size == "1.7B" else (None, None)
    parts = (
        ("talker", frame.talker, floors[0], rivals[0]),
        ("predictor", frame.predictor, floors[1], rivals[1]),
        ("whole frame", frame.frame, _sum(floors), _sum(rivals)),
        ("step with host", frame.step, _sum(floors), None),
    )
    for part, ours, floor, rival in parts:
        share = floor / ours if floor is not None and ours > 0 else None
        yield Row(f"{name}: {part}, ms", f"{frame.rows} rows", f"{ours:.2f}", floor, share, rival, ours)
    if frame.arrival is not None:
        at, more = f"{frame.rows} rows", frame.arrival - frame.frame
        yield Row(
            f"{name}: 16 prompt columns in a frame, ms", at, f"{frame.arrival:.2f} ({more:+.2f})", value=frame.arrival
        )


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
