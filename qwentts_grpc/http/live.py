"""A WebSocket of one turn.

Text in as it comes, audio out.
The caller's JSON: first the turn's fields (`voice`, `model`, `language`, `instructions`, `seed`, `ref_text`,
`consent`), with `token` in place of a header, and with `reference` true where one binary message with a recording
follows; then {"text"}, {"flush"}, {"end"}, {"cancel"}. The server's: binary PCM, 16 bits at 24 kHz, and its events by
their names in the contract, as {"started": {...}}; last {"summary"} or {"error"}.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from qwentts_client import AudioFrame, FlushDone, Notice, SegmentDone, Started, Summary, TTSError, WritableTurn
from qwentts_client.channels import LARGEST_REFERENCE
from qwentts_grpc.http.callers import client_of, with_token
from qwentts_grpc.http.calls import Call, Calls
from qwentts_grpc.http.errors import RefusedError, refused, unreachable, unusable
from qwentts_grpc.http.fields import turn_options
from qwentts_grpc.http.settings import Settings

LARGEST_MESSAGE = LARGEST_REFERENCE + 2**16  # bytes
FIRST_TIMEOUT = 60.0  # seconds for the fields with their recording
WRITE_TIMEOUT = 30.0  # seconds in which the caller must take what the socket holds
STOP_TIMEOUT = 1.0  # seconds in which the server tells its summary after a cancel
NAMES: Mapping[type, str] = {
    Started: "started",
    SegmentDone: "segment_done",
    FlushDone: "flush_done",
    Notice: "notice",
    Summary: "summary",
}


async def live(socket: WebSocket) -> None:
    """One turn.

    A failure is told as {"error"}, as over HTTP.
    """
    await socket.accept()
    try:
        last = await _converse(socket)
    except WebSocketDisconnect:
        return
    except RefusedError as error:
        last = error.body()
    except TTSError as error:
        last = refused(error).body()
    except OSError as error:
        last = unreachable(error).body()
    await _close(socket, last)


async def _converse(socket: WebSocket) -> dict[str, Any]:
    """A whole turn; its summary."""
    calls: Calls = socket.app.state.calls
    with calls.open() as call:
        async with await _turn(socket) as turn:
            speaking = asyncio.create_task(_speak(socket, turn, call))
            listening = asyncio.create_task(_listen(socket, turn))
            try:
                await asyncio.wait((speaking, listening), return_when=asyncio.FIRST_COMPLETED)
                if listening.done():
                    listening.result()
                    await turn.stop(limit=STOP_TIMEOUT)
                await speaking
                return _told(turn.summary)
            finally:
                speaking.cancel()
                listening.cancel()
                await asyncio.wait((speaking, listening))


async def _turn(socket: WebSocket) -> WritableTurn:
    """A turn with the caller's fields; raises `RefusedError`."""
    settings: Settings = socket.app.state.settings
    try:
        async with asyncio.timeout(FIRST_TIMEOUT):
            fields = await _object(socket)
            recording = await _recording(socket) if fields.get("reference") is True else None
    except TimeoutError:
        raise RefusedError(408, "the first message did not come in time") from None
    options = turn_options(fields, settings.aliases, recording)
    client = with_token(client_of(socket), str(fields.get("token") or ""))
    try:
        return client.open_turn(timeout=settings.max_call_seconds, **options)
    except (ValueError, TypeError) as error:
        raise unusable(error) from error


async def _listen(socket: WebSocket, turn: WritableTurn) -> None:
    """Write the caller's text; returns at its cancel."""
    while True:
        message = await _object(socket)
        if message.get("cancel"):
            return
        try:
            if "text" in message:
                turn.write(message["text"])
            if "flush" in message:
                turn.flush(str(message["flush"]))
        except (ValueError, TypeError, BufferError) as error:
            raise unusable(error) from error
        if message.get("end"):
            turn.end()


async def _speak(socket: WebSocket, turn: WritableTurn, call: Call) -> None:
    """Send all events but the summary."""
    async for event in turn.events():
        call.started |= isinstance(event, Started)
        if isinstance(event, AudioFrame):
            await _send(socket, event.data)
        elif type(event) in NAMES and not isinstance(event, Summary):
            await _send(socket, _told(event))


async def _object(socket: WebSocket) -> dict[str, Any]:
    """The next message, a JSON object; raises `RefusedError`."""
    try:
        found = json.loads((await _receive(socket)).get("text") or "")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RefusedError(400, "the message is not a JSON object", code="invalid_json")
    return found


async def _recording(socket: WebSocket) -> bytes:
    data = (await _receive(socket)).get("bytes")
    if not isinstance(data, bytes):
        raise RefusedError(400, "the recording is not a binary message", "reference", "invalid_value")
    return data


async def _receive(socket: WebSocket) -> Mapping[str, Any]:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return message


async def _send(socket: WebSocket, data: bytes | dict[str, Any]) -> None:
    try:
        async with asyncio.timeout(WRITE_TIMEOUT):
            await (socket.send_bytes(data) if isinstance(data, bytes) else socket.send_json(data))
    except (TimeoutError, WebSocketDisconnected):
        raise WebSocketDisconnect(1006) from None


async def _close(socket: WebSocket, last: dict[str, Any]) -> None:
    try:
        await _send(socket, last)
        await socket.close()
    except (WebSocketDisconnect, WebSocketDisconnected):
        pass  # the caller has left


def _told(event: Message) -> dict[str, Any]:
    return {NAMES[type(event)]: MessageToDict(event, preserving_proto_field_name=True)}
