"""The gRPC server: its options, interceptors, services."""

import grpc
from grpc_health.v1 import health_pb2_grpc

from qwentts_client.channels import LARGEST_MESSAGE
from qwentts_client.v1 import tts_pb2, tts_pb2_grpc
from qwentts_grpc.admission.auth import AuthInterceptor, Tokens
from qwentts_grpc.admission.call_limits import CONNECTIONS, CallLimits
from qwentts_grpc.admission.call_rate import CallRate
from qwentts_grpc.admission.refusals import Refusals
from qwentts_grpc.admission.tenants import Tenants
from qwentts_grpc.recordings.recordings import Recordings
from qwentts_grpc.rpc import connections, health
from qwentts_grpc.rpc.call_metrics import CallMetricsInterceptor
from qwentts_grpc.rpc.decode_errors import DecodeErrorInterceptor
from qwentts_grpc.rpc.reflection import add_reflection
from qwentts_grpc.rpc.tracing import Tracing
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.service.audit import AuditLog
from qwentts_grpc.service.inline_cloning import InlineCloning
from qwentts_grpc.service.lifecycle import ServerState
from qwentts_grpc.service.tts import TTSService
from qwentts_grpc.service.voices import VoiceService
from qwentts_grpc.telemetry.metrics import Metrics
from qwentts_grpc.voices.consent import Consent
from qwentts_grpc.wire.limits import Limits

SERVICES = tuple(service.full_name for service in tts_pb2.DESCRIPTOR.services_by_name.values())

OPTIONS = (
    ("grpc.server_handshake_timeout_ms", 10_000),  # a silent connection is closed
    ("grpc.keepalive_time_ms", 10_000),  # a vanished caller holds a slot for 15 s at most
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),  # without it a network that acknowledges and drops holds a slot for a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_500),  # callers may ping each 5 s, more or less
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.max_metadata_size", 8 * 2**10),
    ("grpc.server.max_pending_requests", 10_000),  # past a thousand gRPC refuses some at random, whatever the caller
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
)


def make_grpc_server(
    config: ServerConfig,
    *,
    calls: int,
    state: ServerState,
    tenants: Tenants,
    rate: CallRate,
    tokens: Tokens | None,
    metrics: Metrics,
    tracing: Tracing,
    consent: Consent,
    audit: AuditLog,
    recordings: Recordings,
    health_service: health.Health,
) -> grpc.aio.Server:
    """A server without ports, not started.

    `calls`: open calls to the contract's services at once.
    """
    limits = Limits(
        text_characters=config.engine.max_text_characters,
        audio_seconds=config.engine.max_audio_seconds,
        write_timeout=config.engine.slow_consumer_timeout,
        call_age=config.max_call_age,
    )
    refusals = Refusals()
    server = grpc.aio.server(
        interceptors=[
            CallMetricsInterceptor(metrics.registry),
            AuthInterceptor(config.access, tokens, refusals, metrics.calls.unauthenticated),
            CallLimits(calls, tenants, rate, limits, refusals, metrics.calls.refused),
            DecodeErrorInterceptor(metrics.calls.refused),
        ],
        options=(
            ("grpc.so_reuseport", int(config.fronts > 0)),  # or a taken port would be a share of another's calls
            *OPTIONS,
            *connections.options(calls // CONNECTIONS, config.max_connection_age, config.max_call_age),
        ),
    )
    cloning = InlineCloning(consent, audit, recordings)
    turns = TTSService(
        state, tenants, cloning, metrics.calls, tracing, limits, config.replicas * config.engine.max_speeches
    )
    voices = VoiceService(state, tenants, consent, audit, recordings, limits)
    tts_pb2_grpc.add_TTSServiceServicer_to_server(turns, server)
    tts_pb2_grpc.add_VoiceServiceServicer_to_server(voices, server)
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    if config.reflection:
        add_reflection((*SERVICES, health.NAME), server)
    return server
