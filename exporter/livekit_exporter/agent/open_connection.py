"""Estimates speech-to-text that is billed while its connection is open, whatever is said.

LiveKit Inference bills so and reports the audio of what it understood: nothing for a caller
who is silent.  The catalogue says which models are billed so, by a price for session time.
"""

from collections.abc import Callable, Sequence

from livekit_exporter.agent.prices import Prices
from livekit_exporter.record import (
    Model,
    ModelsDeclared,
    Record,
    SessionClosed,
    SessionStarted,
    Usage,
    UsageEstimated,
    UsageReported,
)


class OpenConnection:
    """Follows the transcription of one call, as a `journal.Deriver`.

    Args:
        prices: Prices in force; asked once, when the session has closed.
        hears: Says whether the session has audio to listen to; a typed one opens nothing.
    """

    def __init__(self, prices: Prices, hears: Callable[[], bool]) -> None:
        self._prices = prices
        self._hears = hears
        self._heard = False
        self._of_session: Model | None = None
        self._current: Model | None = None
        self._since = 0.0
        self._open: dict[Model, float] = {}
        self._closed: SessionClosed | None = None

    def derive(self, record: Record) -> Sequence[Record]:
        """Take the next record; make nothing of it yet."""
        self._heard = self._heard or self._hears()
        match record:
            case SessionStarted():
                self._of_session = _transcriber(record.models)
            case ModelsDeclared():
                self._switch(_transcriber(record.models) or self._of_session, record.at)
            case UsageReported(stage="stt", phase="call"):
                model = Model(
                    stage="stt", provider=record.provider, model=record.model, label=record.label
                )
                reported = record.usage.audio_seconds
                self._open[model] = self._open.get(model, 0.0) - reported
            case SessionClosed():
                self._switch(None, record.at)
                self._closed = record
        return ()

    def flush(self) -> Sequence[Record]:
        """Return the estimates, once the last audio has been reported.

        A call whose session did not close has no end to count to.
        """
        closed, self._closed = self._closed, None
        return () if closed is None else self._estimates(closed)

    def _switch(self, model: Model | None, at: float) -> None:
        if self._current is not None and self._heard:
            seconds = max(at - self._since, 0.0)
            self._open[self._current] = self._open.get(self._current, 0.0) + seconds
        self._current, self._since = model, at

    def _estimates(self, closed: SessionClosed) -> list[UsageEstimated]:
        unreported, self._open = self._open, {}
        made = [
            UsageEstimated(
                session=closed.session,
                at=closed.at,
                stage="stt",
                provider=model.provider,
                model=model.model,
                label=model.label,
                trace=closed.trace,
                reason="open_connection",
                basis="call",
                usage=Usage(connection_seconds=seconds),
                requests=0,
            )
            for model, seconds in unreported.items()
            if seconds >= 1
        ]
        return [each for each in made if self._prices.quote(each).status == "priced"]


def _transcriber(models: Sequence[Model]) -> Model | None:
    return next((model for model in models if model.stage == "stt"), None)
