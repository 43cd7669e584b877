"""The batch command: many texts into a file each."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from qwentts_client.cli.command import Command, UsageError, whole
from qwentts_client.cli.connection import FAILED, add_connection_flags, calling
from qwentts_client.cli.jobs import Job, Manifest, read_jobs
from qwentts_client.cli.progress import Bar
from qwentts_client.cli.speech import FORMATS, add_format_flags, add_speech_flags, speech_options
from qwentts_client.client import AsyncClient
from qwentts_client.errors import Code, TTSError
from qwentts_client.v1 import tts_pb2

FULL = 60.0  # seconds for which a call to a server with a full queue is retried
FATAL_CODES = (Code.UNAVAILABLE, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED, Code.UNIMPLEMENTED)
FORMAT = FORMATS[0]


def _add_batch(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.description = (
        "Each line is a text; in a .jsonl file it is an object: text, and perhaps out, voice, language, instructions,"
        " model, seed. What an earlier run of the same texts has written stays as it is."
    )
    add("texts", metavar="FILE|-", help="lines of text, or JSON objects; - reads standard input")
    add("--out", type=Path, required=True, metavar="FOLDER", help="for the files, and manifest.jsonl, which lists them")
    add("--jobs", type=whole(1, 256), default=4, help="turns at once (default %(default)s)")
    add("--jsonl", action="store_true", help="lines are JSON objects, whatever the name of FILE")
    add("--quiet", action="store_true", help="print nothing but errors on standard error")
    add_format_flags(parser, FORMAT)
    add_speech_flags(parser)
    add_connection_flags(parser)
    parser.set_defaults(run=calling(_batch))


class _Workers:
    """Concurrent turns, each taking the next job."""

    def __init__(self, client: AsyncClient, manifest: Manifest, bar: Bar, jobs: Iterator[Job]) -> None:
        self._client = client
        self._manifest = manifest
        self._bar = bar
        self._jobs = jobs
        self._failed = 0

    async def run(self, count: int) -> int:
        """Number of failed jobs.

        Raises `TTSError` where no further one can succeed.
        """
        tasks = [asyncio.ensure_future(self._work()) for _ in range(count)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return self._failed

    async def _work(self) -> None:
        for job in self._jobs:
            try:
                summary = await self._patiently(job)
            except TTSError as error:
                if error.code() in FATAL_CODES:
                    self._bar.end()
                    raise
                self._fail(job, str(error))
            except OSError as error:
                self._fail(job, f"cannot write {job.out}: {error.strerror}")
            else:
                self._manifest.add(job, summary)
                self._bar.advance(summary.audio_duration.ToNanoseconds() / 1e9)

    async def _patiently(self, job: Job) -> tts_pb2.Summary:
        """Speak a job; retry while the server's queue is full."""
        until = time.monotonic() + FULL
        while True:
            try:
                return await self._write(job)
            except TTSError as error:
                full = error.code() is Code.RESOURCE_EXHAUSTED and error.retry_after is not None
                if not full or time.monotonic() > until:
                    raise
                await asyncio.sleep(min(error.retry_after or 0.0, FULL))

    async def _write(self, job: Job) -> tts_pb2.Summary:
        path = self._manifest.folder / job.out
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        try:
            summary = await self._client.save(part, job.text, kind=job.kind, **job.options)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return summary

    def _fail(self, job: Job, why: str) -> None:
        self._failed += 1
        self._bar.say(f"qwentts-grpc: line {job.line}: {' '.join(why.split())}")


async def _batch(client: AsyncClient, options: argparse.Namespace) -> int:
    options.format = options.format or FORMAT
    jobs = read_jobs(options.texts, options.jsonl, options.format)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(options.out)
    except OSError as error:
        raise UsageError(f"--out: cannot write {options.out}: {error.strerror}") from error
    speech = await speech_options(client, options, options.format)
    jobs = [job.with_defaults(speech) for job in jobs]
    left = [job for job in jobs if not manifest.has(job)]
    bar = Bar(len(jobs), len(jobs) - len(left), options.quiet)
    bar.show()
    failed = await _Workers(client, manifest, bar, iter(left)).run(options.jobs)
    bar.end()
    if not options.quiet:
        print(f"{len(left) - failed} written, {len(jobs) - len(left)} there before, {failed} failed", file=sys.stderr)
    return FAILED if failed else 0


BATCH = Command("speak many texts into a file each", _add_batch)
