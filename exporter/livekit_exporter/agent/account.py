"""What a call used, what it cost and how long it waited, by turn and by model.

Takes the records of one session in their order, and comes to the figures that the
sidecar comes to with the same records: `turns` says for both what a turn is.  Nothing
here grows with the call but eight bytes a turn.
"""

import math
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from livekit_exporter.agent.prices import Prices
from livekit_exporter.calls.turns import Conversation, Reply, speech_of
from livekit_exporter.record import (
    MessageAdded,
    Model,
    Record,
    SessionClosed,
    SessionStarted,
    Stage,
    ToolCalled,
    TurnCommitted,
    UsageEstimated,
    UsageReported,
)

if TYPE_CHECKING:
    from livekit_exporter.prices.units import Bucket

_REPLIES_AT_HAND: Final = 64
"""Replies that may still become the answer to something, or cost more."""


@dataclass(slots=True)
class Spent:
    """Usage and its cost, added up.

    Args:
        requests: Provider requests that ended.
        unpriced: Those among them with usage that has no price.
        tokens: Tokens by (kind, modality), which exclude one another.
        characters: Sent to speech synthesis.
        audio_seconds: Heard by speech-to-text, or made by speech synthesis.
        connection_seconds: Open session time.
        cost: US dollars, of what has a price.
    """

    requests: int = 0
    unpriced: int = 0
    tokens: "Counter[Bucket]" = field(default_factory=Counter)
    characters: int = 0
    audio_seconds: float = 0.0
    connection_seconds: float = 0.0
    cost: Decimal = Decimal(0)

    @property
    def used(self) -> bool:
        """Whether there is anything that somebody bills."""
        quantities = (self.tokens, self.characters, self.audio_seconds, self.connection_seconds)
        return any(quantities) or bool(self.cost or self.unpriced)

    def add(self, other: "Spent") -> None:
        """Add what was spent besides."""
        self.requests += other.requests
        self.unpriced += other.unpriced
        self.tokens.update(other.tokens)
        self.characters += other.characters
        self.audio_seconds += other.audio_seconds
        self.connection_seconds += other.connection_seconds
        self.cost += other.cost


def total(parts: Iterable[Spent]) -> Spent:
    """Everything together."""
    whole = Spent()
    for part in parts:
        whole.add(part)
    return whole


@dataclass(kw_only=True)
class Turn(Reply):
    """A reply with what was spent on it, by stage.

    Args:
        number: Which answer of the call it is, from 1; 0 for a reply that answers nobody.
    """

    number: int = 0
    spent: dict[Stage, Spent] = field(default_factory=dict)

    @property
    def cost(self) -> Decimal:
        """US dollars, of what has a price."""
        return total(self.spent.values()).cost


class Account:
    """Adds up one session.

    Args:
        prices: Prices in force; without them only turns and waits are kept.
    """

    def __init__(self, prices: Prices | None) -> None:
        self.answer: Turn | None = None
        """The last answer; it may still cost more."""
        self.turns = 0
        self.interrupted = 0
        self.spent: dict[Model, Spent] = {}
        """By model; providers have the names that metrics have for them."""
        self.estimated: dict[Model, Spent] = {}
        """What vendors bill and no event reports, by model; in no other sum."""
        self.reason: str | None = None
        """LiveKit's close reason, once the session said goodbye."""
        self._prices = prices
        self._started: SessionStarted | None = None
        self._ended_at = 0.0
        self._conversation = Conversation()
        self._replies: OrderedDict[str, Turn] = OrderedDict()
        self._unassigned: dict[Stage, Spent] = {}
        self._latencies = array("d")
        self._turns_over = Decimal(0)

    def take(self, record: Record) -> None:
        """Take in the next record."""
        if self.reason is None:
            self._ended_at = max(self._ended_at, record.at)
        match record:
            case SessionStarted():
                self._started = record
            case UsageReported():
                self._usage(record)
            case UsageEstimated():
                self._estimate(record)
            case TurnCommitted(speech=str(speech)):
                self._reply(speech, record.at).commit(record)
            case ToolCalled(speech=str(speech)):
                self._reply(speech, record.at).tool_calls += 1
            case MessageAdded():
                self._message(record)
            case SessionClosed():
                self.reason, self._ended_at = record.reason, record.at

    def end(self) -> None:
        """No more records come: add what the call costs by its length."""
        if self._prices is not None and self._started is not None:
            for leg in self._prices.legs(self._started, self._ended_at):
                self._usage(leg)

    @property
    def seconds(self) -> float:
        """Length of the call so far."""
        return 0.0 if self._started is None else max(self._ended_at - self._started.at, 0.0)

    @property
    def outside_turns(self) -> Decimal:
        """US dollars that are in no turn: greetings, replies thrown away, the end."""
        turns = self._turns_over if self.answer is None else self._turns_over + self.answer.cost
        return total(self.spent.values()).cost - turns

    @property
    def latency_count(self) -> int:
        """Turns whose latency is known."""
        return len(self._latencies)

    @property
    def average_latency(self) -> float | None:
        """Seconds; `None` where no latency is known."""
        return math.fsum(self._latencies) / len(self._latencies) if self._latencies else None

    @property
    def p95_latency(self) -> float | None:
        """Seconds within which 95 of 100 turns were answered; `None` where no latency is known."""
        rank = -(-95 * len(self._latencies) // 100)
        return sorted(self._latencies)[rank - 1] if rank else None

    def _usage(self, record: UsageReported) -> None:
        # What belongs to no reply waits for the next answer.
        into = self._unassigned
        if record.speech is not None:
            reply = self._reply(record.speech, record.at)
            reply.use(record)
            into = reply.spent
        if self._prices is not None and not record.connection:
            spent = self._spend(record, self._prices, self.spent)
            into.setdefault(record.stage, Spent()).add(spent)

    def _estimate(self, record: UsageEstimated) -> None:
        if record.speech is not None:
            self._reply(record.speech, record.at)
        if self._prices is not None:
            self._spend(record.as_reported(), self._prices, self.estimated)

    def _spend(self, record: UsageReported, prices: Prices, into: dict[Model, Spent]) -> Spent:
        from livekit_exporter.prices import rules

        quote = prices.quote(record)
        usage = record.usage
        spent = Spent(
            requests=record.requests,
            unpriced=max(record.requests, 1) if quote.status == "unpriced" else 0,
            tokens=Counter(rules.token_buckets(usage)),
            characters=usage.characters,
            audio_seconds=usage.audio_seconds,
            connection_seconds=usage.connection_seconds,
            cost=quote.cost,
        )
        model = Model(
            stage=record.stage, provider=prices.provider(record), model=record.model or "unknown"
        )
        into.setdefault(model, Spent()).add(spent)
        return spent

    def _message(self, record: MessageAdded) -> None:
        speech = speech_of(record, self.turns)
        answers = self._conversation.hear(record)
        if record.role == "user":
            return
        reply = self._reply(speech, record.at)
        if answers:
            self.turns += 1
            reply.number = self.turns
            reply.answer(record)
            if reply.latency_seconds is not None:
                self._latencies.append(reply.latency_seconds)
            for stage, spent in self._unassigned.items():
                reply.spent.setdefault(stage, Spent()).add(spent)
            self._unassigned.clear()
            if self.answer is not None:
                self._turns_over += self.answer.cost
            self.answer = reply
        if reply.say(record):
            self.interrupted += 1

    def _reply(self, speech: str, at: float) -> Turn:
        if self.answer is not None and self.answer.speech == speech:
            return self.answer
        reply = self._replies.get(speech)
        if reply is None:
            reply = self._replies[speech] = Turn(speech=speech, at=at)
            if len(self._replies) > _REPLIES_AT_HAND:
                self._replies.popitem(last=False)
        return reply
