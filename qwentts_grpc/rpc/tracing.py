"""OpenTelemetry: a span per turn, with its moments as events.

Used only with `--tracing`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from qwentts_grpc.rpc.call import Call

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

Value = str | float


class Tracing(Protocol):
    """Tracing interface."""

    def turn(self, call: Call) -> AbstractContextManager[None]:
        """Span of one turn, below its caller's if any."""

    def event(self, name: str, **attributes: Value) -> None:
        """Record an event of the current turn."""

    def close(self) -> None:
        """Flush, then shut down."""


class NoTracing:
    """No-op tracing."""

    def turn(self, call: Call) -> AbstractContextManager[None]:
        return nullcontext()

    def event(self, name: str, **attributes: Value) -> None: ...
    def close(self) -> None: ...


class OpenTelemetry:
    """Spans for an OTLP collector, configured by the OTEL_ variables.

    Calls are traced here and not by the gRPC instrumentation, which takes every streaming handler for a generator.
    """

    def __init__(self, exporter: "SpanExporter | None" = None) -> None:
        """Raises ModuleNotFoundError where the extra [tracing] is not installed."""
        from opentelemetry import propagate, trace
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
        self._trace, self._extract = trace, propagate.extract
        resource = Resource.create({"service.name": "qwentts-grpc"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("qwentts_grpc")

    @contextmanager
    def turn(self, call: Call) -> Iterator[None]:
        """A server span named by the RPC conventions.

        An outcome of `failed` sets its error status.
        """
        given = {key: str(value) for key, value in call.context.invocation_metadata() or ()}
        with self._tracer.start_as_current_span(
            f"qwentts.v1.TTSService/{call.method}",
            context=self._extract(given),
            kind=self._trace.SpanKind.SERVER,
            record_exception=False,  # its text may be a user's
            set_status_on_exception=False,
            attributes={"rpc.system": "grpc", "rpc.service": "qwentts.v1.TTSService", "rpc.method": call.method},
        ) as span:
            try:
                yield
            finally:
                outcome = call.ending.outcome if call.ending else "failed"
                span.set_attributes({"qwentts.outcome": outcome, "qwentts.request_id": call.request_id})
                if outcome == "failed":
                    span.set_status(self._trace.StatusCode.ERROR)

    def event(self, name: str, **attributes: Value) -> None:
        """Add to the current span."""
        self._trace.get_current_span().add_event(name, attributes)

    def close(self) -> None:
        """Wait for the collector, within the exporter's own limit."""
        self._provider.shutdown()
