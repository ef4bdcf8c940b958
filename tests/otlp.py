"""A receiver of OTLP over HTTP, as a tracing backend has one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from types import TracebackType

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

COST: Final = "gen_ai.usage.cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A span as it came over the wire."""

    name: str
    scope: str
    trace: str
    span: str
    parent: str
    ended: float
    """Unix time."""
    attributes: dict[str, object]
    repeated: tuple[str, ...]
    """Names that it has more than once."""

    @property
    def cost(self) -> float | None:
        """US dollars, `None` where it carries none."""
        value = self.attributes.get(COST)
        assert value is None or isinstance(value, float)
        return value


def _plain(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(part) for part in value.array_value.values]
    return None if kind is None else getattr(value, kind)


class Receiver:
    """Listens on a free port of the loopback and keeps what comes."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where exporters send to."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def take(self, body: bytes) -> None:
        """Decode one request."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    names = [attribute.key for attribute in span.attributes]
                    self.spans.append(
                        Received(
                            name=span.name,
                            scope=scope.scope.name,
                            trace=span.trace_id.hex(),
                            span=span.span_id.hex(),
                            parent=span.parent_span_id.hex(),
                            ended=span.end_time_unix_nano / 1e9,
                            attributes={
                                attribute.key: _plain(attribute.value)
                                for attribute in span.attributes
                            },
                            repeated=tuple(name for name in names if names.count(name) > 1),
                        )
                    )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
