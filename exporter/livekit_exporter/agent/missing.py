"""Notices usage that nobody reports: something was done that a provider bills, and no event came.

An agent may use a component that the session does not know, such as a model of its own inside
of `llm_node`.  Its costs would be missing without a word.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.record import (
    MessageAdded,
    Model,
    ModelsDeclared,
    Record,
    SessionClosed,
    SessionStarted,
    Stage,
    TurnCommitted,
    UsageEstimated,
    UsageMissing,
    UsageReported,
)

_REPLIES_AT_HAND: Final = 64


@dataclass(slots=True)
class _Reply:
    """A reply that was spoken.

    Args:
        message: Its last message.
        expected: What its message says was done.
    """

    message: MessageAdded
    expected: set[Stage] = field(default_factory=set)


class MissingUsage:
    """Watches the records of one call, as a `journal.Deriver`."""

    def __init__(self) -> None:
        self._models: dict[Stage, Model] = {}
        self._used: dict[str, set[Stage]] = {}
        self._stages: set[Stage] = set()
        self._unnamed: set[Stage] = set()
        self._unchecked: _Reply | None = None
        self._committed = 0
        self._said: set[Stage] = set()

    def derive(self, record: Record) -> Sequence[Record]:
        """Take the next record; return what is missing of the reply before it."""
        match record:
            case SessionStarted() | ModelsDeclared():
                self._models |= {model.stage: model for model in record.models}
            case UsageReported() | UsageEstimated():
                self._use(record)
            case TurnCommitted():
                self._committed += 1
            case MessageAdded(role="assistant"):
                return self._speak(record)
            case SessionClosed():
                return [*self._check(), *self._check_transcription(record)]
        return ()

    def flush(self) -> Sequence[Record]:
        """Return what is missing of the last reply."""
        return self._check()

    def _use(self, record: UsageReported | UsageEstimated) -> None:
        if isinstance(record, UsageReported) and record.connection:
            return
        self._stages.add(record.stage)
        if record.speech is not None:
            self._used.setdefault(record.speech, set()).add(record.stage)
            if len(self._used) > _REPLIES_AT_HAND:
                del self._used[next(iter(self._used))]
        else:
            # It may have been for the reply under way: nobody says that it was not.
            self._unnamed.add(record.stage)

    def _speak(self, message: MessageAdded) -> list[UsageMissing]:
        before = self._unchecked
        if before is not None and before.message.speech == message.speech:
            missing = []
        else:
            # Its requests ended before it was spoken to its end.
            missing, before = self._check(), None
        # Of one that was cut off, providers report nothing as a rule; estimates say what is due.
        if message.speech is None or message.interrupted:
            self._unchecked = None
            return missing
        reply = before or _Reply(message)
        reply.message = message
        if message.first_token_seconds is not None:
            reply.expected.add("llm")
        if message.first_byte_seconds is not None:
            reply.expected.add("tts")
        self._unchecked = reply
        return missing

    def _check(self) -> list[UsageMissing]:
        reply, self._unchecked = self._unchecked, None
        if reply is None or reply.message.speech is None:
            return []
        unnamed, self._unnamed = self._unnamed, set()
        used = self._used.get(reply.message.speech, set()) | unnamed
        if "realtime" in used:
            return []
        return [self._missing(stage, reply.message) for stage in sorted(reply.expected - used)]

    def _check_transcription(self, closed: SessionClosed) -> list[UsageMissing]:
        """Say that speech was heard and nobody transcribed it, as far as anyone reports."""
        committed, self._committed = self._committed, 0
        if not committed or "stt" not in self._models or self._stages & {"stt", "realtime"}:
            return []
        return [self._missing("stt", closed, committed)]

    def _missing(
        self, stage: Stage, record: MessageAdded | SessionClosed, turns: int = 1
    ) -> UsageMissing:
        model = self._models.get(stage)
        if stage not in self._said:
            self._said.add(stage)
            problems.warning(
                f"a call used {stage} (%s) and nobody reported how much, so its cost is missing;"
                " name the component with call.meter(component), or the usage with"
                " call.record(...)",
                "unknown" if model is None else model.model or model.label,
            )
        return UsageMissing(
            session=record.session,
            at=record.at,
            stage=stage,
            provider="" if model is None else model.provider,
            model="" if model is None else model.model,
            label="" if model is None else model.label,
            persona=getattr(record, "persona", None),
            turns=turns,
        )
