"""A check's result as table, JSON, HTML."""

import base64
import io
import json
import math
import wave
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from engine.api.types import Pcm
from engine.check.figures import Figure, Verdict, passed

HEADER = ("", "figure", "value", "bound", "verdict", "where, why")


@dataclass(frozen=True, slots=True)
class Voice:
    """Sample of a voice, with its text.

    And with the recogniser's, None without one.
    """

    name: str
    text: str
    heard: str | None
    pcm: Pcm
    sample_rate: int


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a check; `about`: what was checked, on what."""

    about: Mapping[str, str]
    figures: Sequence[Figure]
    voices: Sequence[Voice]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no figure failed."""
        return passed(self.figures)

    @property
    def summary(self) -> str:
        """One line."""
        counts = {verdict: sum(f.verdict is verdict for f in self.figures) for verdict in Verdict}
        told = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
        return f"{'PASSED' if self.passed else 'FAILED'}: {told}, in {self.seconds:.0f} s"


def table(report: Report) -> str:
    """Padded table for a terminal."""
    rows = [HEADER, *(_cells(figure) for figure in report.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    heard = [f"{voice.name}: {voice.heard!r}" for voice in report.voices if voice.heard is not None]
    return "\n".join([*(f"{name}: {value}" for name, value in report.about.items()), "", *lines, "", *heard])


def write(report: Report, folder: Path) -> Path:
    """Write report.json, report.html; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(as_json(report), indent=1, ensure_ascii=False) + "\n", "utf-8")
    page = folder / "report.html"
    page.write_text("\n".join(_page(report)), "utf-8")
    return page


def as_json(report: Report) -> dict[str, Any]:
    """Everything but the audio.

    Numbers that are not finite become null.
    """
    return {
        "passed": report.passed,
        "seconds": round(report.seconds, 1),
        "about": dict(report.about),
        "figures": [_plain(figure) for figure in report.figures],
        "voices": [{"name": v.name, "text": v.text, "heard": v.heard, "seconds": _length(v)} for v in report.voices],
    }


def _plain(figure: Figure) -> dict[str, Any]:
    value = figure.value if figure.value is not None and math.isfinite(figure.value) else None
    return asdict(figure) | {"value": value, "verdict": figure.verdict.value}


def _cells(figure: Figure) -> tuple[str, ...]:
    return figure.section, figure.name, figure.shown, figure.bound, figure.verdict.value, figure.note


STYLE = """:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3em .7em; border-bottom: 1px solid #8886 }
td:last-child { overflow-wrap: anywhere } .figures td:not(:last-child) { white-space: nowrap }
.fail { color: #d32f2f; font-weight: bold } .pass { color: #2e9e44 } .slow { color: #d08700 }
.note, .skipped { color: #888 } audio { width: 100%; max-width: 26em }"""


def _page(report: Report) -> Iterator[str]:
    """Lines of the page, which fetches nothing."""
    name = escape(Path(report.about.get("model", "")).name)
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Check of {name}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><h1>Check of {name}</h1>'
    yield f'<p class="{"pass" if report.passed else "fail"}">{escape(report.summary)}</p><p>'
    yield from (f"{escape(key)}: {escape(value)}<br>" for key, value in report.about.items())
    yield f"</p><table class='figures'><tr>{''.join(f'<th>{cell}</th>' for cell in HEADER)}</tr>"
    yield from map(_row, report.figures)
    yield "</table><h2>Voices</h2><table><tr><th>voice</th><th>audio</th><th>text</th><th>heard</th></tr>"
    yield from map(_player, report.voices)
    yield "</table></html>\n"


def _row(figure: Figure) -> str:
    cells = [f"<td>{escape(cell)}</td>" for cell in _cells(figure)]
    cells[4] = f'<td class="{figure.verdict.value}">{figure.verdict.value}</td>'
    return f"<tr>{''.join(cells)}</tr>"


def _player(voice: Voice) -> str:
    source = f"data:audio/wav;base64,{base64.b64encode(_wav(voice)).decode()}"
    heard = "no recogniser" if voice.heard is None else voice.heard
    player = f'<audio controls preload="none" src="{source}"></audio>'
    return (
        f"<tr><td>{escape(voice.name)}</td><td>{player}</td><td>{escape(voice.text)}</td><td>{escape(heard)}</td></tr>"
    )


def _wav(voice: Voice) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(voice.sample_rate)
        file.writeframes(voice.pcm.astype("<i2").tobytes())
    return buffer.getvalue()


def _length(voice: Voice) -> float:
    return round(len(voice.pcm) / voice.sample_rate, 2)
