"""Flags of speech, parsed into options of a turn."""

import argparse
from pathlib import Path
from typing import Any

from qwentts_client.audio import KINDS, kind_of
from qwentts_client.cli.command import UsageError, whole
from qwentts_client.cli.connection import read_recording
from qwentts_client.client import AsyncClient

FORMATS = ("wav", "flac", "ogg", "opus", "pcm", "f32", "mulaw", "alaw")


def add_speech_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of voice, model, seed."""
    add = parser.add_argument_group("speech").add_argument
    add("--model", default="", help="a checkpoint of the server (default: one that can)")
    add("--voice", default="", help="a name that the voices command lists (default: the first)")
    add("--language", default="", help="such as english or en (default: as the text suggests)")
    add("--instructions", default="", help="how to speak, or which voice to design")
    add("--reference", type=Path, metavar="FILE", help="a recording whose voice to clone (any common file)")
    add("--transcript", default="", help="the recording's words; without them only its speaker is used")
    add("--consent", default="", help="where the speaker's consent to the recording's use is on record")
    add(
        "--seed",
        type=whole(0, 2**64 - 1),
        help="the same seed gives the same speech, for text that comes in the same way",
    )


def add_format_flags(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the flags of file kind, sample rate."""
    add = parser.add_argument_group("audio").add_argument
    add("--format", choices=FORMATS, metavar="KIND", help=f"{', '.join(FORMATS)} (default: {default})")
    add("--rate", type=whole(8_000, 48_000), metavar="HZ", help="samples a second, 8000 to 48000 (default 24000)")


def kind(options: argparse.Namespace, path: Path | None) -> str:
    """The kind of file to write.

    Raises `UsageError` where the name of `path` ends in none.
    """
    if options.format:
        return str(options.format)
    try:
        return kind_of(path) if path else "wav"
    except ValueError as error:
        raise UsageError(f"--out: {error} (--format chooses)") from error


async def speech_options(client: AsyncClient, options: argparse.Namespace, kind: str) -> dict[str, Any]:
    """Keywords for `synthesize`.

    Raises `UsageError` for flags that exclude each other, or a bad recording.
    """
    if options.reference and options.voice:
        raise UsageError("--voice and --reference exclude each other")
    for flag in ("transcript", "consent"):
        if getattr(options, flag) and not options.reference:
            raise UsageError(f"--{flag} is of a --reference")
    reference = read_recording("--reference", options.reference) if options.reference else None
    return {
        "voice": options.voice or ("" if options.reference else await _first_voice(client, options.model)),
        "reference": reference,
        "transcript": options.transcript,
        "consent_reference": options.consent,
        "language": options.language,
        "instructions": options.instructions,
        "model": options.model,
        "seed": options.seed,
        "encoding": KINDS[kind],
        "sample_rate": options.rate or 0,
    }


async def _first_voice(client: AsyncClient, model: str) -> str:
    found = [voice for voice in await client.voices() if model in ("", voice.model)]
    return found[0].name if found else ""
