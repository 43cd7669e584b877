"""The texts of a batch; a manifest of finished ones."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

from qwentts_client.audio import KINDS, kind_of
from qwentts_client.cli.command import UsageError
from qwentts_client.v1 import tts_pb2

KEYS = ("voice", "language", "instructions", "model", "seed")  # of one JSON object, beside text and out
MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Job:
    """One text with its file, relative to the folder.

    `options`: keywords of `AsyncClient.synthesize`.
    """

    line: int
    text: str
    out: PurePath
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_defaults(self, options: Mapping[str, Any]) -> "Job":
        """A copy with the command's options where it has none."""
        given = dict(options)
        if "voice" in self.options:  # in place of a recording
            given |= {"reference": None, "transcript": "", "consent_reference": ""}
        options = {**given, **self.options, "encoding": KINDS[self.kind]}
        return Job(self.line, self.text, self.out, self.kind, options)

    @property
    def digest(self) -> str:
        """Digest of everything that determines the audio, except the server."""
        facts = {**self.options, "reference": sha256(self.options.get("reference") or b"").hexdigest()}
        return sha256(json.dumps([self.text, self.kind, facts], sort_keys=True).encode()).hexdigest()[:16]


class Manifest:
    """The finished files of a folder, a line each.

    Raises OSError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / MANIFEST
        self._done: dict[str, str] = {}
        if self._path.exists():
            for entry in map(_entry, self._path.read_text(encoding="utf-8").splitlines()):
                self._done[entry.get("out", "")] = entry.get("digest", "")

    def has(self, job: Job) -> bool:
        """Whether the job's file exists, from the same text, options."""
        return self._done.get(str(job.out)) == job.digest and (self.folder / job.out).is_file()

    def add(self, job: Job, summary: tts_pb2.Summary) -> None:
        """Record a finished job."""
        facts = {
            "out": str(job.out),
            "text": job.text,
            "seconds": summary.audio_duration.ToNanoseconds() / 1e9,
            "seed": summary.seed,
            "finish_reason": tts_pb2.FinishReason.Name(summary.finish_reason),
            "digest": job.digest,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts, ensure_ascii=False) + "\n")


def read_jobs(source: str, as_json: bool, kind: str) -> list[Job]:
    """The jobs of a file, or of stdin for "-".

    Raises `UsageError` naming the line.
    """
    lines = _read(source).splitlines()
    as_json = as_json or source.lower().endswith((".jsonl", ".ndjson"))
    width = max(4, len(str(len(lines))))
    jobs: list[Job] = []
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        default = f"{number:0{width}}.{kind}"
        job = _from_json(line, number, default, kind) if as_json else Job(number, line, PurePath(default), kind)
        if str(job.out) in names:
            raise UsageError(f"{source}, line {number}: {job.out} is the file of line {names[str(job.out)]} too")
        names[str(job.out)] = number
        jobs.append(job)
    if not jobs:
        raise UsageError(f"{source}: no text")
    return jobs


def _read(source: str) -> str:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is not UTF-8: byte {error.start}") from error


def _from_json(line: str, number: int, default: str, kind: str) -> Job:
    def wrong(what: str) -> UsageError:
        return UsageError(f"line {number}: {what}")

    try:
        given = json.loads(line)
    except ValueError as error:
        raise wrong(f"not JSON: {error}") from error
    if not isinstance(given, dict) or not isinstance(given.get("text"), str):
        raise wrong("not an object with a text")
    if unknown := sorted(given.keys() - {"text", "out", *KEYS}):
        raise wrong(f"unknown {', '.join(unknown)}; known are text, out, {', '.join(KEYS)}")
    for key in ("out", *KEYS):
        wanted = int if key == "seed" else str
        if not isinstance(given.get(key, wanted()), wanted) or given.get(key) is True:
            raise wrong(f"{key} is not {'a whole number' if wanted is int else 'a string'}")
    if not 0 <= given.get("seed", 0) < 2**64:
        raise wrong("seed is not from 0 to 2^64 - 1")
    try:
        given["text"].encode()
    except UnicodeEncodeError:
        raise wrong("text has half a surrogate pair") from None
    out = PurePath(given.get("out") or default)
    if out.is_absolute() or ".." in out.parts or out == PurePath(MANIFEST):
        raise wrong(f"out {str(out)!r} is not a file within the folder")
    if not out.suffix:
        out = out.with_name(f"{out.name}.{kind}")
    try:
        kind = kind if out.suffix == f".{kind}" else kind_of(str(out))
    except ValueError as error:
        raise wrong(f"out: {error}") from error
    return Job(number, given["text"], out, kind, {key: given[key] for key in KEYS if key in given})


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:  # truncated by the end of an earlier run
        return {}
    return entry if isinstance(entry, dict) else {}
