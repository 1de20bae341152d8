"""OpenTelemetry: one span per request, sent by a thread of the SDK. Imported only where traces are on.

The SDK's sampler decides at the begin of a request whether it has a span. All else is known when it ends; a
read-only span is made then, because the SDK's own spans copy and check each attribute under a lock.

The queue of spans is bounded. While the collector does not answer, spans are dropped and no request waits.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NoOpTracer,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from frontend.observability.traces import Described, Moment, Value
from ipc.installed import version_of

_EXPORT_SECONDS = 5.0  # of one attempt to reach the collector
_CLOSE_SECONDS = 2.0  # to send what is left when the server stops
_MAX_SPANS = 2048  # that wait to be sent
_MAX_VALUE_CHARACTERS = 64 * 1024  # of an attribute
_NANO = 1e9
_UNSET = Status()
_SCOPE = InstrumentationScope("nacelle")
_NO_CONTEXT = Context()
_SAMPLED, _NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)

log = logging.getLogger("nacelle.traces")


class _Processor(NamedTuple):
    """Where spans go when they end."""

    batches: BatchSpanProcessor
    resource: Resource
    keeps_text: bool


class RequestSpan:
    """Implements `traces.Trace`."""

    def __init__(
        self,
        own: SpanContext,
        parent: SpanContext | None,
        sampled: SamplingResult,
        began: float,
        began_ns: int,
        processor: _Processor,
    ) -> None:
        """`began` and `began_ns` are the same moment: in seconds on the monotonic clock, and since 1970."""
        self.trace_id = f"{own.trace_id:032x}"
        self.parent = f"00-{self.trace_id}-{own.span_id:016x}-{own.trace_flags:02x}"
        self.keeps_text = processor.keeps_text and sampled.decision is not Decision.DROP
        self._own = own
        self._parent = parent
        self._sampled = sampled
        self._began = began
        self._began_ns = began_ns
        self._processor = processor

    def end(self, described: Described, seconds: float) -> None:
        if self._sampled.decision is Decision.DROP:
            return
        attributes: dict[str, Any] = dict(self._sampled.attributes or {})
        attributes.update(_bounded(described.attributes))
        self._processor.batches.on_end(
            ReadableSpan(
                described.name,
                self._own,
                self._parent,
                self._processor.resource,
                attributes,
                [
                    Event(moment.name, dict(moment.attributes), self._ns(moment))
                    for moment in described.moments
                ],
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR, described.failed) if described.failed else _UNSET,
                start_time=self._began_ns,
                end_time=self._began_ns + round(seconds * _NANO),
                instrumentation_scope=_SCOPE,
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
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        is_off = isinstance(provider.get_tracer(_SCOPE.name), NoOpTracer)  # by OTEL_SDK_DISABLED
        self._sampler: Sampler = ALWAYS_OFF if is_off else provider.sampler
        self._ids = provider.id_generator
        batches = BatchSpanProcessor(exporter, max_queue_size=_MAX_SPANS)
        self._processor = _Processor(batches, resource, keeps_text)
        self._propagator = TraceContextTextMapPropagator()
        self._now_ns = now_ns

    def begin(self, name: str, carrier: Mapping[str, str], began: float) -> RequestSpan:
        now = self._now_ns()
        context = self._propagator.extract(carrier) if carrier else _NO_CONTEXT
        given = get_current_span(context).get_span_context()
        parent = given if given.is_valid else None
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        sampled = self._sampler.should_sample(context, trace_id, name, SpanKind.SERVER)
        flags = _SAMPLED if sampled.decision is Decision.RECORD_AND_SAMPLE else _NOT_SAMPLED
        own = SpanContext(
            trace_id, self._ids.generate_span_id(), False, trace_flags=flags, trace_state=sampled.trace_state
        )
        return RequestSpan(own, parent, sampled, began, now, self._processor)

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Blocks for at most this time, in which what is left is sent."""
        closing = threading.Thread(target=self._processor.batches.shutdown, daemon=True)
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
