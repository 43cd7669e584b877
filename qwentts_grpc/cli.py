"""The command line: the flags of serve, speak and voices, and what a bad one gets."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from qwentts_grpc import __version__, logs, speaking
from qwentts_grpc.speaking import UsageError

BAD_USE, INTERRUPTED = 2, 130
KINDS = ("0.6B-Base", "0.6B-CustomVoice", "1.7B-Base", "1.7B-CustomVoice", "1.7B-VoiceDesign")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, where argparse would print its usage first."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code: 0, 1 where a call failed, 2 for bad use, 70 for a lost engine."""
    try:
        options = _parser().parse_args(arguments)
        code = options.run(options)
    except UsageError as error:
        if re.search("--log-format[= ]json", " ".join(sys.argv if arguments is None else arguments)):
            logs.configure("info", "json")
        print(f"qwentts-grpc: error: {error}", file=sys.stderr)
        code = BAD_USE
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    top = _Parser(prog="qwentts-grpc", description="Text in, speech out over gRPC.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="{serve,speak,voices}")
    _add_serve(commands.add_parser("serve", help="run a server"))
    _add_speak(commands.add_parser("speak", help="speak a text into a WAV file"))
    _add_voices(commands.add_parser("voices", help="list a server's voices, create and delete some"))
    return top


def _add_serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--model",
        action="append",
        help="checkpoint: a folder or a hub id; several may be given, the default one first"
        " (QWENTTS_MODEL; default: the embedded one, a small English voice for demonstration)",
    )
    add("--dummy-weights", choices=KINDS, metavar="KIND", help=f"random weights of real size: {', '.join(KINDS)}")
    add("--voice-dir", type=Path, metavar="DIR", help="keep created voices here (default: until the server stops)")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=_whole(0, 65_535), default=50_051, help="0 picks a free one (default %(default)s)")
    add("--metrics-port", type=_whole(0, 65_535), default=9_464, help="HTTP: /metrics, /livez, /readyz (%(default)s)")
    add("--device", type=_device, default="auto", help="auto, cpu, cuda or cuda:N (default %(default)s)")
    add("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    add("--max-speeches", type=_whole(1, 1_024), default=16, help="spoken at once (default %(default)s)")
    add("--max-queue", type=_whole(0, 100_000), default=64, help="waiting for a slot (default %(default)s)")
    add("--drain-seconds", type=_seconds(0), default=30.0, help="for open turns after SIGTERM (default %(default)g)")
    _add_security(parser)
    add("--watchdog-seconds", type=_seconds(1), help="without a step end the server (default: 8 on a GPU, 30 on a CPU)")
    add("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    add("--log-format", choices=("text", "json"), default="text")
    add("--tracing", action="store_true", help="send OpenTelemetry spans as the OTEL_ variables say")
    add("--tokenizer-split", choices=("qwen2", "mistral"), default="qwen2", help="how text is cut before BPE")
    add(
        "--attention",
        choices=("auto", "flash-attn", "triton"),
        default="auto",
        help="on a GPU: flash-attn if installed",
    )
    add("--no-cuda-graphs", action="store_true", help="launch kernels one by one (slow; for debugging)")
    add("--reference-ops", action="store_true", help="plain PyTorch in place of kernels (slow; for debugging)")
    parser.set_defaults(run=_serve)


def _add_security(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tls-cert", type=Path, metavar="PEM", help="serve TLS with this certificate chain")
    add("--tls-key", type=Path, metavar="PEM", help="its key, unencrypted")
    add("--tls-client-ca", type=Path, metavar="PEM", help="take only clients with a certificate signed by this one")
    add("--token-file", type=Path, metavar="FILE", help="one bearer token a line, and perhaps its tenant; see SIGHUP")
    add("--tenant-limit", type=_whole(0, 100_000), default=0, help="open turns of one tenant (default: any number)")
    add("--tenant-key", default="", metavar="KEY", help="metadata key that names the tenant where no token does")
    add("--insecure", action="store_true", help="serve where others could do harm: warn in place of a refusal")
    add("--no-reflection", action="store_true", help="do not tell tools the contract")


def _add_speak(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("text", metavar="TEXT|-", help="what to say; - reads standard input and speaks it line by line as it comes")
    add("--model", default="", help="a checkpoint of the server (default: one that can)")
    add("--voice", default="", help="a name that the voices command lists (default: the first)")
    add("--language", default="", help="default: as the text suggests")
    add("--instructions", default="", help="how to speak, or which voice to design")
    add("--reference", type=Path, metavar="WAV", help="a recording whose voice to clone (WAV, FLAC or OGG)")
    add("--transcript", default="", help="the recording's words; without them only its speaker is taken")
    add("--seed", type=_whole(0, 2**64 - 1), help="the same seed gives the same audio")
    add("--out", type=Path, default=Path("out.wav"), help="default %(default)s")
    _add_server(parser)
    parser.set_defaults(run=lambda options: asyncio.run(speaking.speak(options)))


def _add_voices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--language", default="", help="only those that speak it")
    _add_server(parser)
    parser.set_defaults(run=lambda options: asyncio.run(speaking.voices(options)))
    commands = parser.add_subparsers(metavar="{create,delete}")
    _add_create(commands.add_parser("create", help="make a voice of a recording", argument_default=argparse.SUPPRESS))
    delete = commands.add_parser("delete", help="forget a created voice", argument_default=argparse.SUPPRESS)
    delete.add_argument("name")
    _add_server(delete)
    delete.set_defaults(run=lambda options: asyncio.run(speaking.delete_voice(options)))


def _add_create(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", help="letters, digits, '-' and '_'")
    add("--audio", type=Path, required=True, metavar="WAV", help="the recording (WAV, FLAC or OGG)")
    add("--transcript", default="", help="its words; without them only its speaker is kept")
    add("--description", default="", help="for people")
    _add_server(parser)
    parser.set_defaults(run=lambda options: asyncio.run(speaking.create_voice(options)))


def _add_server(parser: argparse.ArgumentParser) -> None:
    """How to reach a server. A command within another leaves what it is not given as the outer one has it."""
    add = parser.add_argument
    if parser.argument_default is not argparse.SUPPRESS:
        token = os.environ.get("QWENTTS_TOKEN", "")
        parser.set_defaults(server="localhost:50051", token=token, tls=False, tls_ca=None, tls_cert=None, tls_key=None)
    add("--server", metavar="HOST:PORT", help="default localhost:50051")
    add("--token", help="bearer token (QWENTTS_TOKEN, which ps hides)")
    add("--tls", action="store_true", help="speak TLS, and trust the roots that gRPC carries")
    add("--tls-ca", type=Path, metavar="PEM", help="speak TLS, and trust this certificate alone")
    add("--tls-cert", type=Path, metavar="PEM", help="this client's certificate, where the server asks for one")
    add("--tls-key", type=Path, metavar="PEM", help="its key")


def _serve(options: argparse.Namespace) -> int:
    try:
        from qwentts_grpc import serving  # the only command that needs the engine and torch
    except ModuleNotFoundError as error:
        raise UsageError(f"serve needs {error.name}: pip install 'qwentts-grpc[server]'") from error
    return serving.run(options)


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def _seconds(least: int) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value <= 86_400:
            raise argparse.ArgumentTypeError(f"{text!r} is not a time from {least} to 86400 s")
        return value

    return parse


def _device(text: str) -> str:
    name, _, number = text.partition(":")
    if text not in ("auto", "cpu", "cuda") and not (name == "cuda" and number.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda or cuda:N")
    return text


if __name__ == "__main__":
    main()
