"""The voices command: list, create, delete."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from qwentts_client.cli.command import Command
from qwentts_client.cli.connection import add_connection_flags, calling, read_recording
from qwentts_client.cli.table import print_table, short_enum
from qwentts_client.client import AsyncClient
from qwentts_client.v1 import tts_pb2


def _add_voices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--language", default="", help="only those that speak it")
    parser.add_argument("--json", action="store_true", help="as a JSON list")
    add_connection_flags(parser)
    parser.set_defaults(run=calling(_list))
    commands = parser.add_subparsers(metavar="{create,delete}")
    _add_create(
        commands.add_parser("create", help="create a voice from a recording", argument_default=argparse.SUPPRESS)
    )
    delete = commands.add_parser("delete", help="delete a created voice", argument_default=argparse.SUPPRESS)
    delete.add_argument("name")
    add_connection_flags(delete)
    delete.set_defaults(run=calling(_delete))


def _add_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", help="letters, digits, '-' and '_'")
    add("--audio", type=Path, required=True, metavar="FILE", help="the recording (any common file)")
    add("--transcript", default="", help="its words; without them only its speaker is used")
    add("--description", default="", help="for people")
    add("--consent", default="", help="where the speaker's consent is on record")
    add("--shared", action="store_true", default=False, help="let every tenant use it (admins alone)")
    add("--replace", action="store_true", default=False, help="take the place of a voice of this name")
    add_connection_flags(parser)
    parser.set_defaults(run=calling(_create))


async def _list(client: AsyncClient, options: argparse.Namespace) -> None:
    found = await client.voices(options.language)
    if options.json:
        print(json.dumps([_facts(voice) for voice in found], ensure_ascii=False, indent=2))
    elif found:
        print_table([[v.name, _kind(v), v.model, v.description, ", ".join(v.languages), _owner(v)] for v in found])
    else:
        print("no such voice on this server", file=sys.stderr)


async def _create(client: AsyncClient, options: argparse.Namespace) -> None:
    audio = read_recording("--audio", options.audio)
    await client.create_voice(
        options.name,
        audio,
        transcript=options.transcript,
        description=options.description,
        consent_reference=options.consent,
        shared=options.shared,
        replace=options.replace,
        on_notice=lambda notice: print(notice.message, file=sys.stderr),
    )


async def _delete(client: AsyncClient, options: argparse.Namespace) -> None:
    await client.delete_voice(options.name)


def _owner(voice: tts_pb2.Voice) -> str:
    """The owner column of a created voice."""
    return f"({voice.owner or 'shared'})" if voice.kind == tts_pb2.VOICE_KIND_CLONED else ""


def _kind(voice: tts_pb2.Voice) -> str:
    return short_enum(tts_pb2.VoiceKind, voice.kind)


def _facts(voice: tts_pb2.Voice) -> dict[str, Any]:
    return {
        "name": voice.name,
        "kind": _kind(voice),
        "model": voice.model,
        "owner": voice.owner,
        "languages": list(voice.languages),
        "description": voice.description,
        "created": voice.create_time.ToJsonString() if voice.HasField("create_time") else None,
    }


VOICES = Command("list a server's voices, create and delete some", _add_voices)
