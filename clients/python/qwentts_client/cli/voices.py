"""The voices command, with its create and delete."""

import argparse
import sys
from pathlib import Path

from qwentts_client.cli.command import Command
from qwentts_client.cli.connection import add_connection_flags, calling, read_file
from qwentts_client.client import AsyncClient
from qwentts_client.v1 import tts_pb2


def _add_voices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--language", default="", help="only those that speak it")
    add_connection_flags(parser)
    parser.set_defaults(run=calling(_list))
    commands = parser.add_subparsers(metavar="{create,delete}")
    _add_create(commands.add_parser("create", help="make a voice of a recording", argument_default=argparse.SUPPRESS))
    delete = commands.add_parser("delete", help="forget a created voice", argument_default=argparse.SUPPRESS)
    delete.add_argument("name")
    add_connection_flags(delete)
    delete.set_defaults(run=calling(_delete))


def _add_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", help="letters, digits, '-' and '_'")
    add("--audio", type=Path, required=True, metavar="WAV", help="the recording (WAV, FLAC or OGG)")
    add("--transcript", default="", help="its words; without them only its speaker is kept")
    add("--description", default="", help="for people")
    add("--consent", default="", help="where the speaker's consent is on record")
    add("--shared", action="store_true", default=False, help="let every tenant use it (admins alone)")
    add("--replace", action="store_true", default=False, help="take the place of a voice of this name")
    add_connection_flags(parser)
    parser.set_defaults(run=calling(_create))


async def _list(client: AsyncClient, options: argparse.Namespace) -> None:
    found = await client.voices(options.language)
    width = max((len(voice.name) for voice in found), default=0)
    for voice in found:
        print(f"{voice.name:<{width}}  {', '.join(voice.languages)}{_owner(voice)}")
    if not found:
        print("no such voice on this server", file=sys.stderr)


def _owner(voice: tts_pb2.Voice) -> str:
    """Whose a created voice is."""
    return "" if voice.kind != tts_pb2.VOICE_KIND_CLONED else f"  ({voice.owner or 'shared'})"


async def _create(client: AsyncClient, options: argparse.Namespace) -> None:
    audio = read_file("--audio", options.audio)
    await client.create_voice(
        options.name,
        audio,
        transcript=options.transcript,
        description=options.description,
        consent_reference=options.consent,
        shared=options.shared,
        replace=options.replace,
    )


async def _delete(client: AsyncClient, options: argparse.Namespace) -> None:
    await client.delete_voice(options.name)


VOICES = Command("list a server's voices, create and delete some", _add_voices)
