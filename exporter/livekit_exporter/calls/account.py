"""The account of one call: turns, usage and cost by model, estimates, platform legs, latencies.

It takes the records of a session in their order, each with its quote, and comes to the figures
that the sidecar comes to with the same records: `turns` defines a turn for both.  Priced records
are not kept: an account grows by eight bytes a turn.
"""

import math
from array import array
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Self, TypeAlias

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
    Usage,
    UsageEstimated,
    UsageReported,
    at_least_one,
)

if TYPE_CHECKING:
    from livekit_exporter.prices.pricing import Quote
    from livekit_exporter.prices.units import Bucket

Billed: TypeAlias = UsageReported | UsageEstimated
"""A record that a vendor bills."""

_QUANTITIES: Final = tuple(spec.name for spec in fields(Usage))
_REPLIES_AT_HAND: Final = 64
"""Replies that may still become the answer to something, or cost more."""
_QUARTER_SECONDS: Final = 900
"""Cost is kept by quarters of an hour: midnight falls on one in every time zone."""


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
        atto: The same in whole numbers of 1e-18 US dollars, each record rounded: spans say these.
    """

    requests: int = 0
    unpriced: int = 0
    tokens: "Counter[Bucket]" = field(default_factory=Counter)
    characters: int = 0
    audio_seconds: float = 0.0
    connection_seconds: float = 0.0
    cost: Decimal = Decimal(0)
    atto: int = 0

    @classmethod
    def on(cls, record: Billed, quote: "Quote") -> Self:
        """Read one record."""
        from livekit_exporter.prices import rules

        usage = record.usage
        return cls(
            requests=record.requests,
            unpriced=at_least_one(record.requests) if quote.status == "unpriced" else 0,
            tokens=Counter(rules.token_buckets(usage)),
            characters=usage.characters,
            audio_seconds=usage.audio_seconds,
            connection_seconds=usage.connection_seconds,
            cost=quote.cost,
            atto=atto(quote.cost),
        )

    @property
    def used(self) -> bool:
        """True where there is anything that somebody bills."""
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
        self.atto += other.atto


def atto(usd: Decimal) -> int:
    """Convert US dollars to whole 1e-18 US dollars; a price per hour leaves a rest to round."""
    from livekit_exporter.prices.units import EXACT

    return int(EXACT.scaleb(usd, 18).to_integral_value(context=EXACT))


def total(parts: Iterable[Spent]) -> Spent:
    """Add up."""
    whole = Spent()
    for part in parts:
        whole.add(part)
    return whole


def add(left: Usage, right: Usage) -> Usage:
    """Add two usages, quantity by quantity."""
    return Usage(**{name: getattr(left, name) + getattr(right, name) for name in _QUANTITIES})


def subtract(whole: Usage, part: Usage) -> Usage:
    """Subtract a usage that is part of another, quantity by quantity."""
    return Usage(**{name: getattr(whole, name) - getattr(part, name) for name in _QUANTITIES})


def model_of(record: Billed) -> Model:
    """Name the model of a record as its plugin does."""
    return Model(
        stage=record.stage, provider=record.provider, model=record.model, label=record.label
    )


@dataclass(kw_only=True)
class TurnAccount(Reply):
    """A reply with what was spent on it, by stage.

    Args:
        number: Which answer of the call it is, from 1; 0 for a reply that answers nobody.
        message: The message that answered the user; it knows of waits that no request reported.
        spent: Usage and cost by stage.
    """

    number: int = 0
    message: MessageAdded | None = None
    spent: dict[Stage, Spent] = field(default_factory=dict)

    @property
    def cost(self) -> Decimal:
        """US dollars, of what has a price."""
        return total(self.spent.values()).cost


class Account:
    """Adds up one session."""

    def __init__(self) -> None:
        self.started: SessionStarted | None = None
        self.answer: TurnAccount | None = None
        """The last answer; it may still cost more."""
        self.turns = 0
        self.interrupted = 0
        self.conversation = Conversation()
        self.usage: dict[Model, Usage] = {}
        """As reported, by model as its plugin names it."""
        self.cost = Decimal(0)
        """US dollars of what was reported and has a price, without legs."""
        self.spent: dict[Model, Spent] = {}
        """Reported usage, and the legs once the call is over."""
        self.estimated: dict[Model, Spent] = {}
        """Usage that vendors bill but LiveKit does not report; in no other sum but `spend`."""
        self.unquoted: list[Billed] = []
        """Records that came without a quote, for `charge`."""
        self.reason: str | None = None
        """LiveKit's close reason; `None` while the session is open."""
        self._ended_at = 0.0
        self._quarters: dict[int, Decimal] = {}
        self._replies: OrderedDict[str, TurnAccount] = OrderedDict()
        self._unassigned: dict[Stage, Spent] = {}
        self._latencies = array("d")
        self._turns_over = Decimal(0)

    def take(self, record: Record, quote: "Quote | None" = None) -> None:
        """Take in the next record.

        Args:
            record: The record.
            quote: What it costs, if it has usage and anybody wants costs so far.
        """
        if self.reason is None:
            self._ended_at = max(self._ended_at, record.at)
        match record:
            case SessionStarted():
                # A session that is started again is the same call.
                self.started, self.reason = self.started or record, None
            case UsageReported():
                self._use(record, quote)
            case UsageEstimated():
                if record.speech is not None:
                    self._reply(record.speech, record.at)
                self._charge_or_keep(record, quote)
            case TurnCommitted(speech=str(speech)):
                self._reply(speech, record.at).commit(record)
            case ToolCalled(speech=str(speech)):
                self._reply(speech, record.at).tool_calls += 1
            case MessageAdded():
                self._hear(record)
            case SessionClosed():
                self.reason, self._ended_at = record.reason, record.at

    def charge(self, record: Billed, quote: "Quote") -> Spent:
        """Add the cost of a record that was taken in; of its turn it is no part any more."""
        spent = Spent.on(record, quote)
        estimated = isinstance(record, UsageEstimated)
        models = self.estimated if estimated else self.spent
        models.setdefault(model_of(record), Spent()).add(spent)
        if quote.cost:
            if not estimated:
                self.cost += quote.cost
            quarter = int(record.at // _QUARTER_SECONDS)
            self._quarters[quarter] = self._quarters.get(quarter, Decimal(0)) + quote.cost
        return spent

    def add_leg(self, leg: UsageReported, quote: "Quote") -> None:
        """Add a cost of the length of the call, which is over; it belongs to no turn."""
        self.spent.setdefault(model_of(leg), Spent()).add(Spent.on(leg, quote))

    def reply(self, speech: str) -> TurnAccount | None:
        """Find a recent reply by its speech id."""
        if self.answer is not None and self.answer.speech == speech:
            return self.answer
        return self._replies.get(speech)

    def speech_of(self, number: object) -> str | None:
        """Find a recent reply by the number of its answer; return its speech id."""
        replies = (self.answer, *self._replies.values())
        return next((each.speech for each in replies if each and each.number == number), None)

    @property
    def ended_at(self) -> float:
        """Unix time of the close, or of the last record so far."""
        return self._ended_at

    @property
    def seconds(self) -> float:
        """Length of the call so far."""
        return 0.0 if self.started is None else max(self._ended_at - self.started.at, 0.0)

    @property
    def spend(self) -> Decimal:
        """US dollars, reported and estimated, without legs: a vendor bills both."""
        return sum(self._quarters.values(), Decimal(0))

    def spend_since(self, start: float) -> Decimal:
        """Sum the part of `spend` since a Unix time, which is a whole quarter of an hour."""
        first = start // _QUARTER_SECONDS
        parts = (usd for quarter, usd in self._quarters.items() if quarter >= first)
        return sum(parts, Decimal(0))

    @property
    def unpriced(self) -> int:
        """Requests with usage that has no price, reported and estimated."""
        parts = (*self.spent.values(), *self.estimated.values())
        return sum(part.unpriced for part in parts)

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

    def _use(self, record: UsageReported, quote: "Quote | None") -> None:
        # Usage of no reply, such as speech-to-text, waits for the next answer.
        into = self._unassigned if record.phase == "call" else {}
        if record.speech is not None:
            reply = self._reply(record.speech, record.at)
            reply.use(record)
            into = reply.spent
        model = model_of(record)
        self.usage[model] = add(self.usage.get(model, Usage()), record.usage)
        if not record.connection:
            spent = self._charge_or_keep(record, quote)
            if spent is not None:
                into.setdefault(record.stage, Spent()).add(spent)

    def _charge_or_keep(self, record: Billed, quote: "Quote | None") -> Spent | None:
        if quote is not None:
            return self.charge(record, quote)
        self.unquoted.append(record)
        return None

    def _hear(self, record: MessageAdded) -> None:
        speech = speech_of(record, self.turns)
        answers = self.conversation.hear(record)
        if record.role == "user":
            return
        reply = self._reply(speech, record.at)
        if answers:
            self._begin(reply, record)
        if reply.say(record):
            self.interrupted += 1

    def _begin(self, reply: TurnAccount, message: MessageAdded) -> None:
        """Begin the turn that a reply answers; the turn before is over."""
        self.turns += 1
        reply.number = self.turns
        reply.message = message
        reply.answer(message)
        if reply.latency_seconds is not None:
            self._latencies.append(reply.latency_seconds)
        for stage, spent in self._unassigned.items():
            reply.spent.setdefault(stage, Spent()).add(spent)
        self._unassigned = {}
        if self.answer is not None:
            self._turns_over += self.answer.cost
        self.answer = reply

    def _reply(self, speech: str, at: float) -> TurnAccount:
        reply = self.reply(speech)
        if reply is None:
            reply = self._replies[speech] = TurnAccount(speech=speech, at=at)
            if len(self._replies) > _REPLIES_AT_HAND:
                self._replies.popitem(last=False)
        return reply
