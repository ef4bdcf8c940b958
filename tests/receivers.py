"""A webhook's receiver on loopback, as good or as bad as a test wants it."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeAlias

SECRET: Final = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

_DOCUMENT: Final = Path(__file__).resolve().parent.parent / "docs" / "webhooks.md"


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """What it says; only if the documented check says that it is ours."""
        event: dict[str, Any] = documented_check()(self.headers, self.body)
        return event

    @property
    def session(self) -> str:
        return str(self.event["data"]["session"])


Behaviour: TypeAlias = Callable[[BaseHTTPRequestHandler, Received], None]
"""What the receiver does with a request that it has read."""


def documented_check(secret: str = SECRET) -> Callable[[Mapping[str, str], bytes], dict[str, Any]]:
    """The check of a signature that `docs/webhooks.md` gives to whoever writes a receiver."""
    found = re.search(
        r"^```python\n(.*?)^```", _DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], _DOCUMENT.name, "exec"), names)  # noqa: S102 - our own document
    check: Callable[[Mapping[str, str], bytes, str], dict[str, Any]] = names["event_of"]
    return lambda headers, body: check(headers, body, secret)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answering(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answers the same to everything."""

    def answer(handler: BaseHTTPRequestHandler, _: Received) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@dataclass
class Receiver:
    """Takes what comes, while it is up.

    Args:
        behaviour: What it does with requests; takes them unless told otherwise.
        port: Where it listens, on loopback.
    """

    behaviour: Behaviour = field(default_factory=lambda: answering(204))
    port: int = field(default_factory=free_port)
    received: list[Received] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/token-in-the-path"

    @property
    def sessions(self) -> list[str]:
        """Calls that came, in their order."""
        return [request.session for request in self.received]

    @contextmanager
    def up(self) -> Iterator[None]:
        """Really there for the length of the block; before and after nobody listens."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                request = Received(self.path, _lower(self.headers), body)
                receiver.received.append(request)
                # Whoever hung up, or was killed, wants no answer.
                with suppress(OSError):
                    receiver.behaviour(self, request)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100
            closing = receiver.closing

        self.closing.clear()
        server = Server(("127.0.0.1", self.port), Handler)
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield
        finally:
            self.closing.set()
            server.shutdown()
            serving.join()
            server.server_close()


def _lower(headers: Message) -> Mapping[str, str]:
    return {name.lower(): str(value) for name, value in headers.items()}


def settings(receiver: Receiver, **more: object) -> str:
    """A configuration file that sends calls there, quickly; `None` leaves a setting out."""
    webhook = {"url": receiver.url, "secret": SECRET, "retry_seconds": 0.2, **more}
    webhook = {name: value for name, value in webhook.items() if value is not None}
    return json.dumps({"webhook": webhook})
