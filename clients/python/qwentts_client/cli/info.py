"""The commands on a server's state: info, health."""

import argparse
import json
import sys
from collections.abc import Iterator

from google.protobuf.json_format import MessageToDict

from qwentts_client.cli.command import Command, seconds
from qwentts_client.cli.connection import FAILED, add_connection_flags, calling
from qwentts_client.cli.table import print_table, short_enum
from qwentts_client.client import AsyncClient
from qwentts_client.options import encoding_name
from qwentts_client.v1 import tts_pb2


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as a JSON object")
    add_connection_flags(parser)
    parser.set_defaults(run=calling(_info))


def _add_health(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", type=seconds(0), metavar="SECONDS", help="wait as long as that for it to serve")
    parser.add_argument("--service", default="", help="such as qwentts.v1.TTSService (default: all)")
    parser.add_argument("--json", action="store_true", help="as a JSON object")
    add_connection_flags(parser)
    parser.set_defaults(run=calling(_health))


async def _info(client: AsyncClient, options: argparse.Namespace) -> None:
    info = await client.server_info()
    if options.json:
        facts = MessageToDict(info, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        print(json.dumps(facts, ensure_ascii=False, indent=2))
    else:
        print_table([*_rows(info)])


def _rows(info: tts_pb2.GetServerInfoResponse) -> Iterator[tuple[str, str]]:
    yield "server version", info.server_version
    for model in info.models:
        instructions = "instructions, " if model.instructions_supported else ""
        kind = short_enum(tts_pb2.ModelKind, model.kind)
        yield "model", f"{model.name} ({kind}, {instructions}{', '.join(model.languages)})"
    rates: dict[str, list[str]] = {}
    for form in info.audio_formats:
        rates.setdefault(encoding_name(form), []).append(str(form.sample_rate_hertz))
    for encoding, hertz in rates.items():
        yield "audio", f"{encoding} at {', '.join(hertz)} Hz"
    yield "longest text", f"{info.max_text_characters:,} characters"
    yield "longest audio", f"{info.max_audio.ToTimedelta()}"
    yield "turns at once", str(info.max_concurrent_streams)
    size = f"{info.max_recording_bytes / 2**20:g} MiB, {info.max_recording.ToTimedelta().total_seconds():g} s"
    yield "longest recording", size
    yield "creating voices", "open" if info.voice_creation_enabled else "closed"


async def _health(client: AsyncClient, options: argparse.Namespace) -> int:
    if options.wait is not None:
        try:
            await client.wait_ready(options.wait)
        except TimeoutError as error:
            print(f"qwentts-grpc: {error}", file=sys.stderr)
            return FAILED
    status = await client.health(options.service)
    print(json.dumps({"status": status}) if options.json else status)
    return 0 if status == "SERVING" else FAILED


INFO = Command("what a server runs, and what it takes", _add_info)
HEALTH = Command("whether a server serves; leaves with 1 where not", _add_health)
