"""A tracer provider for LiveKit where nobody traces: it makes the spans that we read.

LiveKit and OpenTelemetry take it for none: a real provider that is set before or later is used
from then on.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import sampling
from opentelemetry.util.types import AttributeValue


class Observer(sdk.SpanProcessor):
    """A processor that reads some spans."""

    def reads(self, name: str) -> bool:
        """Return true if a span of that name, made by the current task, would be read."""
        raise NotImplementedError

    def observe(self, provider: trace.TracerProvider) -> None:
        """Read the spans of a real provider from now on."""
        raise NotImplementedError


# A session's span would be the parent of what a provider makes that is set later, and no sampler
# lets the children of an unsampled span through.
_no_tracer: Final = trace.NoOpTracer()


class SilentProvider(trace.NoOpTracerProvider):
    """Makes spans where nobody else does, for our processor only."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        # Recorded and not sampled: an exporter that is added skips them, and their trace id is
        # not propagated.  Detecting a resource would take longer than a frame of audio.
        self._own = sdk.TracerProvider(
            sampler=sampling.StaticSampler(sampling.Decision.RECORD_ONLY),
            resource=Resource.get_empty(),
            shutdown_on_exit=False,
        )
        self._own.add_span_processor(observer)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,  # noqa: ARG002 - OpenTelemetry's signature
        attributes: Mapping[str, AttributeValue] | None = None,  # noqa: ARG002
    ) -> trace.Tracer:
        """Return a tracer that makes spans for our processor while nobody traces."""
        own = self._own.get_tracer(instrumenting_module_name, instrumenting_library_version)
        return _SilentTracer(instrumenting_module_name, own, self._observer)


class _SilentTracer(trace.Tracer):
    """Uses the real provider, for each span, if one is set by now."""

    def __init__(self, name: str, own: trace.Tracer, observer: Observer) -> None:
        self._name = name
        self._own = own
        self._observer = observer

    def start_span(self, name: str, *args: object, **kwargs: object) -> trace.Span:
        provider = trace.get_tracer_provider()
        tracer = self._own if self._observer.reads(name) else _no_tracer
        if not isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
            self._observer.observe(provider)
            tracer = provider.get_tracer(self._name)
        return tracer.start_span(name, *args, **kwargs)  # type: ignore[arg-type]

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        *args: object,
        end_on_exit: bool = True,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        **kwargs: object,
    ) -> Iterator[trace.Span]:
        span = self.start_span(
            name,
            *args,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
            **kwargs,
        )
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ) as current:
            yield current
