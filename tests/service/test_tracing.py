"""A traced server: one span a turn within its caller's trace, with its moments, and no word of its text."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from qwentts_grpc.rpc.tracing import OpenTelemetry
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server

from .conftest import Running, config, failure, send, text

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
METADATA = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)


class Spans(InMemorySpanExporter):
    """Keeps what is exported, also after the end."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.kept += spans
        return SpanExportResult.SUCCESS


@pytest_asyncio.fixture(loop_scope="session")
async def traced(checkpoint: Path) -> AsyncIterator[tuple[Running, Spans]]:
    spans = Spans()
    server = Server(ServerConfig(str(checkpoint), port=0, metrics_port=0), OpenTelemetry(spans))
    port, side_port = await server.start()
    await server.load()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(server, port, side_port, channel), spans


async def test_a_turn_is_a_span_with_its_moments(traced: tuple[Running, Spans]) -> None:
    running, spans = traced
    call = running.stub.Synthesize(send([config(request_id="turn-1"), text("Secret words.")]), metadata=METADATA)
    assert [response async for response in call][-1].HasField("summary")
    asked = config(voice="nobody")
    assert (await failure(running.stub.Synthesize(send([asked, text("Hi.")]), metadata=METADATA))).reason
    await running.server.close()  # sends what is held back
    spoken, refused = spans.kept
    for span in (spoken, refused):
        assert span.parent and f"{span.parent.trace_id:032x}" == TRACE and f"{span.parent.span_id:016x}" == PARENT
        assert (span.name, span.kind) == ("qwentts.v1.TTSService/Synthesize", SpanKind.SERVER)
        assert span.resource.attributes["service.name"] == "qwentts-grpc"
        assert "ecret" not in span.to_json()
    assert [event.name for event in spoken.events] == ["admitted", "first audio", "finish"]
    assert spoken.events[2].attributes == {"reason": "length", "audio_seconds": 0.8, "frames": 10}
    told = [dict(span.attributes or {}) for span in (spoken, refused)]
    assert (told[0]["qwentts.request_id"], told[0]["qwentts.outcome"]) == ("turn-1", "length")
    assert (told[1]["qwentts.outcome"], refused.events) == ("rejected", ())
