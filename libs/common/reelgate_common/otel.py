"""Spans recorded by OpenTelemetry and exported by OTLP over HTTP. Imported only where that is wanted."""

import logging
import socket
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from reelgate_common import metrics
from reelgate_common.logs import redact
from reelgate_common.settings import TraceSettings
from reelgate_common.tracing import Kind, Recorder, Span, Value

log = structlog.get_logger(__name__)

_EXPORT_SECONDS = 5


def open_recorder(service: str, settings: TraceSettings) -> Recorder:
    """Record the spans of a service and send them on in batches, from a thread of their own."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # says each failure with a traceback; we say it once
    provider = TracerProvider(
        resource=Resource.create(
            {
                "service.name": f"reelgate-{service}",
                "service.version": version("reelgate-common"),
                "host.name": socket.gethostname(),
            }
        ),
        sampler=ParentBased(TraceIdRatioBased(settings.otel_traces_sampler_arg)),
        shutdown_on_exit=False,  # stopped by whoever opened it, within a time of its own
    )
    exporter = OTLPSpanExporter(
        endpoint=f"{settings.otel_exporter_otlp_endpoint}/v1/traces",
        headers=_headers(settings),
        timeout=_EXPORT_SECONDS,
    )
    provider.add_span_processor(BatchSpanProcessor(_Told(exporter)))
    return OtelRecorder(provider)


def _headers(settings: TraceSettings) -> dict[str, str]:
    given = settings.otel_exporter_otlp_headers
    pairs = (pair.partition("=") for pair in (given.get_secret_value() if given else "").split(",") if pair.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


class OtelRecorder:
    """Starts spans whose place is given as a traceparent."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("reelgate")

    def start(self, name: str, kind: Kind, *, parent: str | None, link: str | None) -> Span:
        """A span below `parent`, or the first of a trace."""
        around = set_span_in_context(NonRecordingSpan(_parsed(parent)), Context()) if parent else Context()
        links = [Link(_parsed(link))] if link else []
        return _Recorded(self._tracer.start_span(name, around, SpanKind[kind.upper()], links=links))

    def stop(self) -> None:
        """Export what is left."""
        self._provider.shutdown()


def _parsed(traceparent: str) -> SpanContext:
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


class _Recorded(Span):
    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        place = span.get_span_context()
        self.traceparent = f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"

    def set(self, attributes: Mapping[str, Value | None]) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name, redact(value) if isinstance(value, str) else value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        """Without the exception's text, which may hold anything."""
        self._span.set_attribute("error.type", reason)
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        self._span.end()


class _Told(SpanExporter):
    """Counts and logs what could not be exported; no job minds."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        lost = result is not SpanExportResult.SUCCESS
        if lost:
            metrics.spans_lost.inc(len(spans))
        if lost and not self._is_away:
            log.warning("spans_lost", count=len(spans))
        self._is_away = lost
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()
