"""Cost, usage and latency of LiveKit voice agents, in Prometheus, during the call.

`attach` records a session, `meter_job` a job without one.  `serve_in_worker` serves what was
recorded from the worker itself, for people without a second container.  `enriched` puts costs on
LiveKit's own spans.  A `Budget` bounds what a call may spend; `livekit_exporter.actions` has
callbacks for one that is used up.

The names below are imported when they are first used: the sidecar needs no
LiveKit, and an agent needs nothing of the sidecar.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livekit_exporter.agent.attach import attach, meter_job
    from livekit_exporter.agent.budget.limits import Budget, BudgetEvent
    from livekit_exporter.agent.call import Call
    from livekit_exporter.agent.in_worker import serve_in_worker
    from livekit_exporter.agent.spans.attributes import SpanNames
    from livekit_exporter.agent.spans.exported import enriched

__all__ = [
    "Budget",
    "BudgetEvent",
    "Call",
    "SpanNames",
    "__version__",
    "attach",
    "enriched",
    "meter_job",
    "serve_in_worker",
]

__version__ = "0.1.0"

# Hidden from type checkers, to whom it would say that every name exists.
if not TYPE_CHECKING:
    # Older ones name no models in their metrics, and bring no OpenTelemetry.
    _OLDEST_SDK = "1.2.12"
    _HOMES = {
        "Budget": "livekit_exporter.agent.budget.limits",
        "BudgetEvent": "livekit_exporter.agent.budget.limits",
        "Call": "livekit_exporter.agent.call",
        "SpanNames": "livekit_exporter.agent.spans.attributes",
        "attach": "livekit_exporter.agent.attach",
        "enriched": "livekit_exporter.agent.spans.exported",
        "meter_job": "livekit_exporter.agent.attach",
        "serve_in_worker": "livekit_exporter.agent.in_worker",
    }

    def __getattr__(name: str) -> object:
        if name == "enrich_spans":
            raise ImportError(
                "livekit_exporter has no enrich_spans any more; put costs on spans where they are"
                " exported: BatchSpanProcessor(enriched(OTLPSpanExporter())) (docs/tracing.md)"
            )
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        try:
            module = import_module(_HOMES[name])
        except ImportError as error:
            raise ImportError(
                f"livekit_exporter.{name} needs livekit-agents {_OLDEST_SDK} or newer,"
                f" {_installed_sdk()} is installed: pip install 'livekit-agents>={_OLDEST_SDK}'"
            ) from error
        value = getattr(module, name)
        globals()[name] = value
        return value

    def _installed_sdk() -> str:
        from importlib import metadata

        try:
            return f"version {metadata.version('livekit-agents')}"
        except metadata.PackageNotFoundError:
            return "none"
