"""Calls that reach a server in the moment of its end go to another one."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc

from qwentts_client.channels import SERVICE_CONFIG

METHOD = "/qwentts.v1.TTSService/Synthesize"
ROUNDS, CALLERS = 6, 8


async def answer(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
    async for _ in requests:
        break
    yield b"audio"


async def serve(port: int = 0) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handlers: Any = {"Synthesize": grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("qwentts.v1.TTSService", handlers),))
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, port


async def words() -> AsyncIterator[bytes]:
    yield b"text"


async def call(channel: grpc.aio.Channel) -> str:
    speak: Any = channel.stream_stream(METHOD)
    try:
        return f"{len([response async for response in speak(words())])} responses"
    except grpc.aio.AioRpcError as error:
        return f"{error.code()}: {error.details()}"


async def test_servers_that_end_and_begin_in_turn_lose_no_call() -> None:
    servers = [await serve() for _ in range(2)]
    addresses = ",".join(f"127.0.0.1:{port}" for _, port in servers)
    options = (
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
    )
    ends, over = Counter[str](), asyncio.Event()

    async def caller(channel: grpc.aio.Channel) -> None:
        while not over.is_set():
            ends[await call(channel)] += 1

    async with grpc.aio.insecure_channel(f"ipv4:{addresses}", options) as channel:
        callers = [asyncio.create_task(caller(channel)) for _ in range(CALLERS)]
        for turn in range(ROUNDS):
            await asyncio.sleep(0.6)
            server, port = servers[turn % 2]
            await server.stop(0.2)
            servers[turn % 2] = await serve(port)
        over.set()
        await asyncio.gather(*callers)
    for server, _ in servers:
        await server.stop(0)
    assert set(ends) == {"1 responses"}
