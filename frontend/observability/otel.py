"""OpenTelemetry: one span per request, sent by a thread of the SDK. Imported only where traces are on.

The SDK starts each span, for its parent and the sampler's decision. All else is known when the request ends;
a read-only span is made then, because the SDK's own spans would copy and check each attribute under a lock.

The queue of spans is bounded. While the collector does not answer, spans are dropped and no request waits.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from frontend.observability.traces import Described, Moment, Value
from ipc.installed import version_of

_EXPORT_SECONDS = 5.0  # of one attempt to reach the collector
_CLOSE_SECONDS = 2.0  # to send what is left when the server stops
_MAX_SPANS = 2048  # that wait to be sent
_MAX_VALUE_CHARACTERS = 64 * 1024  # of an attribute
_NANO = 1e9
_UNSET = Status()

log = logging.getLogger("nacelle.traces")


class RequestSpan:
    """Implements `traces.Trace`."""

    def __init__(
        self, span: Span, keeps_text: bool, began: float, began_ns: int, ended: Callable[[ReadableSpan], None]
    ) -> None:
        """`began` is the same moment on the monotonic clock, in seconds."""
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.parent = f"00-{self.trace_id}-{context.span_id:016x}-{context.trace_flags:02x}"
        self.keeps_text = keeps_text and span.is_recording()
        self._span = span
        self._began = began
        self._began_ns = began_ns
        self._ended = ended

    def end(self, described: Described, seconds: float) -> None:
        span = self._span
        if not isinstance(span, ReadableSpan):
            return  # the sampler does not want it
        self._ended(
            ReadableSpan(
                described.name,
                span.get_span_context(),
                span.parent,
                span.resource,
                {**(span.attributes or {}), **_bounded(described.attributes)},
                [
                    Event(moment.name, dict(moment.attributes), self._ns(moment))
                    for moment in described.moments
                ],
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR, described.failed) if described.failed else _UNSET,
                start_time=self._began_ns,
                end_time=self._began_ns + round(seconds * _NANO),
                instrumentation_scope=span.instrumentation_scope,
            )
        )

    def _ns(self, moment: Moment) -> int:
        return self._began_ns + round((moment.at - self._began) * _NANO)


def _bounded(attributes: Mapping[str, Value]) -> Mapping[str, Value]:
    """Prompts and answers may be long."""
    long = {
        name: value[:_MAX_VALUE_CHARACTERS]
        for name, value in attributes.items()
        if isinstance(value, str) and len(value) > _MAX_VALUE_CHARACTERS
    }
    return {**attributes, **long} if long else attributes


class OtelTracing:
    """Implements `traces.Tracing`."""

    def __init__(
        self, exporter: SpanExporter, keeps_text: bool, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        resource = Resource.create(
            {SERVICE_NAME: "nacelle", SERVICE_VERSION: version_of("nacelle-server") or ""}
        )
        self._tracer = TracerProvider(resource=resource, shutdown_on_exit=False).get_tracer("nacelle")
        self._processor = BatchSpanProcessor(exporter, max_queue_size=_MAX_SPANS)
        self._propagator = TraceContextTextMapPropagator()
        self._keeps_text = keeps_text
        self._now_ns = now_ns

    def begin(self, name: str, carrier: Mapping[str, str], began: float) -> RequestSpan:
        now = self._now_ns()
        context = self._propagator.extract(carrier)
        span = self._tracer.start_span(name, context, SpanKind.SERVER, start_time=now)
        return RequestSpan(span, self._keeps_text, began, now, self._processor.on_end)

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Blocks for at most this time, in which what is left is sent."""
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(seconds)


class WatchedExporter(SpanExporter):
    """Logs once that the collector does not answer, and once that it does again."""

    def __init__(self, exporter: SpanExporter, where: str) -> None:
        self._exporter = exporter
        self._where = where
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            log.warning("cannot send traces to %s; they are dropped until it answers", self._where)
        elif self._is_away and not is_away:
            log.info("traces are sent to %s again", self._where)
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def open_otel(endpoint: str | None, keeps_text: bool) -> OtelTracing:
    """`endpoint`: the base URL of a collector. None: as OTEL_EXPORTER_OTLP_ENDPOINT and its like state."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it logs a traceback for each batch
    url = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, timeout=_EXPORT_SECONDS)
    where = endpoint or "the collector that OTEL_EXPORTER_OTLP_ENDPOINT names"
    return OtelTracing(WatchedExporter(exporter, where), keeps_text)
