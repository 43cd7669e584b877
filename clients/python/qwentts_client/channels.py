"""Channels to a server, one an event loop, with settings."""

import asyncio
import json
import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import grpc

from qwentts_client.targets import Target

LARGEST_REFERENCE = 10 * 2**20  # bytes of a recording, the servers' limit
LARGEST_MESSAGE = LARGEST_REFERENCE + 2**20  # bytes: a reference with its transcript and instructions

# A refusal comes before any audio, so the channel itself retries, after the wait that the server states.
RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "qwentts.v1.TTSService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.02s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                # CANCELLED: a call that came too late for a server that ends, which gRPC itself answers so
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"],
            },
        }
    ]
}
SERVICE_CONFIG = {"loadBalancingConfig": [{"round_robin": {}}], **RETRIES}

Options = Sequence[tuple[str, Any]]


class Channels:
    """One client's channels, each made on first use.

    One an event loop.
    Usable in all threads.
    """

    def __init__(
        self, target: Target, credentials: grpc.ChannelCredentials | None, options: Options, keepalive: float | None
    ) -> None:
        """`keepalive`: seconds without traffic before a ping, or None."""
        self._target = target
        self._credentials = credentials
        self._options = _options(target, options, keepalive)
        self._channels: WeakKeyDictionary[asyncio.AbstractEventLoop, grpc.aio.Channel] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._closed = False

    def current(self) -> grpc.aio.Channel:
        """The channel of the running event loop.

        Raises RuntimeError outside a loop or after `close`, and OSError where a server's name cannot be looked up.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "no event loop is running: call from within one, or use the synchronous Client"
            ) from None
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            if loop not in self._channels:
                self._channels[loop] = self._open()
            return self._channels[loop]

    async def close(self) -> None:
        """Close every loop's channel; open calls end as cancelled."""
        here = asyncio.get_running_loop()
        with self._lock:
            self._closed = True
            channels = dict(self._channels)
            self._channels.clear()
        for loop, channel in channels.items():
            if loop is here:
                await channel.close()
            elif not loop.is_closed():
                asyncio.run_coroutine_threadsafe(channel.close(), loop)

    def _open(self) -> grpc.aio.Channel:
        uri = self._target.resolved()
        if self._credentials is None:
            return grpc.aio.insecure_channel(uri, self._options)
        return grpc.aio.secure_channel(uri, self._credentials, self._options)


def _options(target: Target, options: Options, keepalive: float | None) -> Options:
    """Default options, overridden by the caller's `options`."""
    ours: dict[str, Any] = {
        "grpc.service_config": json.dumps(SERVICE_CONFIG),
        "grpc.max_send_message_length": LARGEST_MESSAGE,
        "grpc.max_receive_message_length": LARGEST_MESSAGE,
        "grpc.enable_http_proxy": int(bool(target.proxy)),
        "grpc.use_local_subchannel_pool": 1,  # else a new client inherits the reconnect backoff of an older one
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 1_000,
    }
    if len(target.addresses) > 1:
        ours["grpc.ssl_target_name_override"] = ours["grpc.default_authority"] = target.addresses[0][0]
    if keepalive is not None:
        ours["grpc.keepalive_time_ms"] = round(1_000 * keepalive)
        ours["grpc.keepalive_timeout_ms"] = 5_000
        ours["grpc.http2.max_pings_without_data"] = 0
    return tuple({**ours, **dict(options)}.items())
