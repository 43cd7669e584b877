"""OpenTelemetry: a span for each turn, and its moments as events of the span; only where it is asked for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from qwentts_grpc.rpc.call import Call

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

Value = str | float


class Tracing(Protocol):
    """What a turn tells of itself."""

    def turn(self, call: Call) -> AbstractContextManager[None]:
        """The time of one turn, within that of its caller where the call's metadata names one."""

    def event(self, name: str, **attributes: Value) -> None:
        """A moment of the turn that runs now."""

    def close(self) -> None:
        """Send what is still held back."""


class Untraced:
    """Tells nobody."""

    def turn(self, call: Call) -> AbstractContextManager[None]:
        """No span."""
        return nullcontext()

    def event(self, name: str, **attributes: Value) -> None: ...
    def close(self) -> None: ...


class OpenTelemetry:
    """Spans for an OTLP collector; where it is, and much else, comes from the usual OTEL_ variables.

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
        """A server's span, named as the RPC conventions want; an outcome of `failed` is its error."""
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
        """Added to the current span."""
        self._trace.get_current_span().add_event(name, attributes)

    def close(self) -> None:
        """Waits for the collector, within the exporter's own limit."""
        self._provider.shutdown()
