"""Bills of the simulated providers, written down by themselves.

The demo checks the exporter against this file, so nothing of the exporter is used
here: quantities come from the providers, prices from a table of its own.

A provider says what it reported (`Truth.reported`); a line is written when LiveKit
hands that report out (`Truth.listen`).  What LiveKit never hands out, such as a
speech-synthesis stream that was cut off, no exporter can see, and it is not in here.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from livekit import rtc

from livekit_exporter.demo.products import (
    ELEVEN_TURBO,
    GPT_MINI,
    GPT_REALTIME,
    LLAMA,
    NOVA_3,
    SONIC,
    WHISPER,
    Product,
)

if TYPE_CHECKING:
    from livekit.agents import AgentSession, MetricsCollectedEvent, metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantities:
    """Usage that a provider counted for one request; parts are contained in their whole."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Part of `input_tokens`."""
    input_audio_tokens: int = 0
    """Part of `input_tokens`."""
    cached_audio_tokens: int = 0
    """Part of `cached_input_tokens` and of `input_audio_tokens`."""
    output_tokens: int = 0
    output_audio_tokens: int = 0
    """Part of `output_tokens`."""
    characters: int = 0
    audio_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    """US dollars, in the units of the vendors' pages: per million tokens or characters."""

    text_input: str = "0"
    cached_text_input: str = "0"
    audio_input: str = "0"
    cached_audio_input: str = "0"
    text_output: str = "0"
    audio_output: str = "0"
    characters: str = "0"
    minute: str = "0"
    hour: str = "0"
    least_seconds: int = 0


_PRICES: Final[Mapping[Product, _Price]] = {
    NOVA_3: _Price(minute="0.0048"),
    WHISPER: _Price(hour="0.04", least_seconds=10),
    GPT_MINI: _Price(text_input="0.40", cached_text_input="0.10", text_output="1.60"),
    LLAMA: _Price(text_input="0.59", text_output="0.79"),
    SONIC: _Price(characters="50"),
    ELEVEN_TURBO: _Price(characters="50"),
    GPT_REALTIME: _Price(
        text_input="4",
        cached_text_input="0.40",
        audio_input="32",
        cached_audio_input="0.40",
        text_output="16",
        audio_output="64",
    ),
}


def cost(product: Product, quantities: Quantities) -> Fraction:
    """US dollars at list price."""
    price = _PRICES[product]
    cached_text = quantities.cached_input_tokens - quantities.cached_audio_tokens
    text = quantities.input_tokens - quantities.input_audio_tokens
    millions = (
        (text - cached_text, price.text_input),
        (cached_text, price.cached_text_input),
        (quantities.input_audio_tokens - quantities.cached_audio_tokens, price.audio_input),
        (quantities.cached_audio_tokens, price.cached_audio_input),
        (quantities.output_tokens - quantities.output_audio_tokens, price.text_output),
        (quantities.output_audio_tokens, price.audio_output),
        (quantities.characters, price.characters),
    )
    seconds = Fraction(quantities.audio_seconds)
    if seconds:
        seconds = max(seconds, Fraction(price.least_seconds))
    return sum(
        (Fraction(unit_price) * count / 1_000_000 for count, unit_price in millions),
        (Fraction(price.minute) / 60 + Fraction(price.hour) / 3600) * seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One line of a truth file: one report of one provider."""

    at: float
    """Unix seconds."""
    call: int
    """Number of the call."""
    session: str
    """The exporter's session id."""
    product: Product
    request: str
    quantities: Quantities
    cost: Fraction
    """US dollars."""


class Truth:
    """The truth file of one call.  Every line is on file when the method returns.

    Args:
        path: File to append to; created with its folder.
        call: Number of the call.
    """

    def __init__(self, path: Path, *, call: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._call = call
        self._session = ""
        self._pending: dict[str, tuple[Product, Quantities]] = {}
        self._write({"event": "opened", "at": time.time(), "call": call, "pid": os.getpid()})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        self._file = -1

    def listen(
        self, session: "AgentSession[Any]", component: "rtc.EventEmitter[Any] | None", name: str
    ) -> None:
        """Write a line for everything that LiveKit hands out.

        Args:
            session: The call's session.
            component: Its speech-to-text, which reports its last audio after the session
                has stopped listening.
            name: The exporter's session id.
        """
        self._session = name
        self._write({"event": "attached", "at": time.time(), "call": self._call, "session": name})
        # Without the deprecation warning of `AgentSession.on`; there is no other such event.
        emitter: rtc.EventEmitter[Any] = session
        rtc.EventEmitter.on(emitter, "metrics_collected", self._on_session_metrics)
        if component is not None:
            component.on("metrics_collected", self._on_metrics)

    def reported(self, product: Product, request: str, quantities: Quantities) -> None:
        """A provider put this on LiveKit's desk; a later report of the request replaces it."""
        self._pending[request] = (product, quantities)

    def _on_session_metrics(self, event: "MetricsCollectedEvent") -> None:
        self._on_metrics(event.metrics)

    def _on_metrics(self, report: "metrics.AgentMetrics") -> None:
        request = getattr(report, "request_id", "")
        if not request and report.type == "tts_metrics":
            request = self._oldest_of_voices()
        known = self._pending.pop(request, None)
        if known is None or self._file < 0:
            return
        product, quantities = known
        self._write(
            {
                "event": "billed",
                "at": time.time(),
                "call": self._call,
                "session": self._session,
                "product": list(product),
                "request": request,
                "quantities": {name: n for name, n in asdict(quantities).items() if n},
                "cost_usd": str(cost(product, quantities)),
            }
        )

    def _oldest_of_voices(self) -> str:
        """The synthesis request that was cut off before its first byte.

        LiveKit takes the request id from the audio, so that such a report has none.
        """
        requests = (key for key, (product, _) in self._pending.items() if product == ELEVEN_TURBO)
        return next(requests, "")

    def _write(self, line: Mapping[str, object]) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of one truth file, in order; none while it does not exist."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def bills(path: Path) -> Iterator[Bill]:
    """The bills in one truth file."""
    for line in lines(path):
        if line["event"] == "billed":
            yield Bill(
                at=line["at"],
                call=line["call"],
                session=line["session"],
                product=Product(*line["product"]),
                request=line["request"],
                quantities=Quantities(**line["quantities"]),
                cost=Fraction(line["cost_usd"]),
            )
