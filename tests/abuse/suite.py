"""Servers under abuse: attacks beside a witness, and what is left of each."""

import asyncio
import io
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from qwentts_client.v1 import tts_pb2 as pb
from qwentts_client.v1 import tts_pb2_grpc
from tests.service.certificates import Authority

from .listening import Heard, StepPacer, listening, page
from .target import EVIL, KEPT, TOKENS, WITNESS, Target, bearer

DRAIN, CLOSING = 1.0, 8.0  # seconds for open turns, and for the rest of a stop
MOST_PAGE, MOST_GROWTH = 200_000, 50.0  # bytes of /metrics; MB more than before
SETTLING = 25.0  # seconds for memory to come back: the allocator is asked to give back every ten
MOST_LINES = 100.0  # of the log in a second: some of each kind, of which there are dozens


@dataclass
class Abused:
    """A server's process."""

    process: asyncio.subprocess.Process
    target: Target
    log: Path

    def megabytes(self) -> float:
        """In memory: the process and those that it has started."""
        return sum(_resident(pid) for pid in (self.process.pid, *_children(self.process.pid)))

    async def stopped(self) -> float:
        """Seconds from SIGTERM to the end; raises AssertionError where that is late, or with another code than 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), 3 * (DRAIN + CLOSING))
        assert code == 0, f"the server ended with {code}"
        return time.monotonic() - began


@dataclass
class Result:
    """What came of an attack; `wrong` is empty where all is well."""

    name: str
    heard: Heard
    page: int = 0
    grown: float = 0.0
    lines: float = 0.0
    ended: float = 0.0
    wrong: list[str] = field(default_factory=list)


@asynccontextmanager
async def abused(folder: Path, models: Sequence[Path], *, tls: bool = False, fronts: int = 0) -> AsyncIterator[Abused]:
    """A server with tokens, a directory of voices, a voice of the witness, and every rule; killed in the end."""
    tokens, voices, log = folder / "tokens", folder / "voices", folder / "log"
    tokens.write_text(TOKENS)
    for private in (voices, folder / "bombs"):
        private.mkdir(mode=0o700)
    tokens.chmod(0o600)
    _write_recordings(folder)
    flags = ["--port", "0", "--metrics-port", "0", "--token-file", tokens, "--voice-dir", voices, "--require-consent"]
    flags += ["--audit-log", folder / "audit", "--drain-seconds", f"{DRAIN:g}"]
    flags += ["--fronts", str(fronts)]
    authority = Authority(folder)
    if tls:
        pair = authority.sign("server")
        pair.key.chmod(0o600)
        flags += ["--tls-cert", pair.cert, "--tls-key", pair.key]
    for model in models:
        flags += ["--model", model]
    command = [sys.executable, "-m", "tests.abuse.served", "serve", *map(str, flags)]
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}  # as a user's
    environment["OMP_NUM_THREADS"] = "1"
    with log.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=errors, env=environment
        )
    try:
        assert process.stdout is not None
        said = [(await asyncio.wait_for(process.stdout.readline(), 120)).decode() for _ in range(2)]
        assert said[1], log.read_text()
        side_port, port = (int(found[1]) for line in said if (found := re.search(r":(\d+)(?:/metrics)?$", line)))
        target = Target(port, side_port, str(folder), str(authority.cert) if tls else "")
        await _create(target)
        yield Abused(process, target, log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _create(target: Target) -> None:
    """Keep a voice of the witness's own."""
    audio = Path(target.folder, "tone.wav").read_bytes()
    spec = pb.VoiceSpec(name=KEPT, transcript="A tone.", consent_reference="form 7")
    requests = [pb.CreateVoiceRequest(spec=spec), pb.CreateVoiceRequest(audio=audio)]
    async with target.channel() as channel:
        voices = tts_pb2_grpc.VoiceServiceStub(channel)
        await voices.CreateVoice(iter(requests), metadata=bearer(WITNESS), timeout=60)


def _write_recordings(folder: Path) -> None:
    rate, channels, seconds = 192_000, 8, 59
    bomb = io.BytesIO()
    with soundfile.SoundFile(bomb, "w", rate, channels, format="FLAC") as file:
        for _ in range(seconds):
            file.write(np.zeros((rate, channels), np.int16))
    (folder / "bombs" / "silence.flac").write_bytes(bomb.getvalue())
    (folder / "bombs" / "cut.flac").write_bytes(bomb.getvalue()[:50_000])
    times = np.arange(36_000) / 24_000
    for path in (folder / "tone.wav", folder / "bombs" / "tone.wav"):
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * 200 * times) * (np.sin(2 * np.pi * 2 * times) > -0.5), 24_000)


@asynccontextmanager
async def attacked(target: Target, names: Sequence[str], wrong: list[str]) -> AsyncIterator[None]:
    """Attack from a process of its own while the body runs; `wrong` gets what it should not have got."""
    command = [sys.executable, "-m", "tests.abuse.attacker", ",".join(names), target.text()]
    pipe = asyncio.subprocess.PIPE
    attacker = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    assert attacker.stdout is not None and attacker.stderr is not None
    errors = asyncio.create_task(attacker.stderr.read())
    try:
        assert await asyncio.wait_for(attacker.stdout.readline(), 60)
        yield
    finally:
        if attacker.returncode is None:
            attacker.kill()
        elif said := (await errors).decode().strip().splitlines():
            wrong.append(f"the attacker ended: {said[-1]}")
        await attacker.wait()


async def tried(server: Abused, name: str, attacks: Sequence[str], pace: StepPacer, seconds: float) -> Result:
    """Attack for `seconds`, at least for a turn of the witness."""
    idle, lines = server.megabytes(), _lines(server.log)
    async with listening(server.target, pace) as heard:
        result = Result(name, heard)
        began, turns = time.monotonic(), heard.turns
        async with attacked(server.target, attacks, result.wrong):
            while time.monotonic() < began + seconds or heard.turns < turns + 2:
                await asyncio.sleep(0.05)
                if time.monotonic() > began + 10 * seconds:
                    result.wrong.append("the witness came to no end")
                    break
    answer = await page(server.target, "/metrics")
    result.page, result.lines = len(answer), (_lines(server.log) - lines) / (time.monotonic() - began)
    until = time.monotonic() + SETTLING
    while (grown := server.megabytes() - idle) > MOST_GROWTH and time.monotonic() < until:
        await asyncio.sleep(0.5)
    result.grown = grown
    result.wrong += [*heard.problems, *_problems(result, answer + server.log.read_text(errors="replace"))]
    return result


async def stopped(server: Abused, attacks: Sequence[str], result: Result) -> None:
    """SIGTERM while the attack goes on."""
    async with attacked(server.target, attacks, []):
        await asyncio.sleep(1.0)
        try:
            result.ended = await server.stopped()
        except (AssertionError, TimeoutError) as error:
            result.wrong.append(str(error) or "the process did not end")
    if result.ended > DRAIN + CLOSING:
        result.wrong.append(f"the process ended after {result.ended:.1f} s")


def _problems(result: Result, said: str) -> list[str]:
    found = []
    if result.heard.underruns:
        found.append(f"{result.heard.underruns} underruns")
    if result.page > MOST_PAGE:
        found.append(f"/metrics has {result.page} bytes")
    if result.grown > MOST_GROWTH:
        found.append(f"memory grew by {result.grown:.0f} MB")
    if result.lines > MOST_LINES:
        found.append(f"{result.lines:.0f} lines of log a second")
    if EVIL in said or EVIL.lower() in said:
        found.append("the log or the metrics repeat the attacker's words")
    return found


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n")


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def _resident(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1_024 if found else 0.0
