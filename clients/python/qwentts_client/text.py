"""The text of a turn in any shape, as requests."""

import asyncio
import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from qwentts_client.v1 import tts_pb2

LARGEST_PIECE = 1_000  # characters of one message; four bytes each at most, which is the server's limit


@dataclass(frozen=True)
class Flush:
    """A mark in the text: speak all before it.

    `mark` comes back in `FlushDone`.
    """

    mark: str = ""


Piece = str | Flush | tts_pb2.Flush
Text = str | Iterable[Piece] | AsyncIterable[Piece]


def checked(text: Any) -> Text:
    """`text`; raises TypeError unless a string or an iterable."""
    if isinstance(text, str):
        return text
    if isinstance(text, Awaitable):
        if asyncio.iscoroutine(text):
            text.close()  # it will never be awaited
        raise TypeError(f"text is a {type(text).__name__}, not a string or its pieces: await it first")
    if callable(text) and not isinstance(text, (Iterable, AsyncIterable)):
        raise TypeError(f"text is a {type(text).__name__}, not a string or its pieces: call it first")
    unordered = isinstance(text, (bytes, bytearray, memoryview, Mapping, Set))
    if unordered or not isinstance(text, (Iterable, AsyncIterable)):
        raise TypeError(f"text is a {type(text).__name__}, not a string or an iterable of its pieces")
    return text


async def requests(text: Text) -> AsyncIterator[tts_pb2.SynthesizeRequest]:
    """The requests for `text`; closes its generator.

    Raises TypeError or ValueError for an invalid piece, and whatever `text` raises.
    """
    index = 0
    try:
        async for piece in text if isinstance(text, AsyncIterable) else _pieces(text):
            for request in as_requests(piece, index):
                yield request
            index += 1
    finally:
        if inspect.isasyncgen(text):
            await text.aclose()
        elif inspect.isgenerator(text):
            text.close()


def as_requests(piece: Any, index: int) -> Iterator[tts_pb2.SynthesizeRequest]:
    """The requests for one piece.

    `index`: its number in the turn, for the error's message.
    """
    if isinstance(piece, (Flush, tts_pb2.Flush)):
        yield tts_pb2.SynthesizeRequest(flush=tts_pb2.Flush(mark=piece.mark))
    elif isinstance(piece, str):
        _check_encodable(piece, index)
        for start in range(0, len(piece), LARGEST_PIECE):
            yield tts_pb2.SynthesizeRequest(text=tts_pb2.TextChunk(text=piece[start : start + LARGEST_PIECE]))
    else:
        raise TypeError(f"piece {index} of the text is a {type(piece).__name__}, neither a str nor a Flush")


def _check_encodable(piece: str, index: int) -> None:
    try:
        piece.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"piece {index} of the text has half a surrogate pair at character {error.start}: it is no Unicode"
        ) from None


async def _pieces(text: str | Iterable[Piece]) -> AsyncIterator[Piece]:
    for piece in (text,) if isinstance(text, str) else text:
        yield piece
