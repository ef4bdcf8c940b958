"""Turns and costs of a call as its spans say them: whole numbers of `costs.ATTO`, no dollars."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from livekit_exporter.agent.spans.costs import SpanCost
from livekit_exporter.calls.turns import Conversation, Reply, plausible
from livekit_exporter.record import MessageAdded, TurnCommitted

_REPLIES_AT_HAND: Final = 64


@dataclass(kw_only=True)
class Turn(Reply):
    """A reply with what it cost.

    Args:
        number: Which answer of the call it is, from 1; 0 for a reply that answers nobody.
        units: Cost in `ATTO`.
    """

    number: int = 0
    units: int = 0


class Totals:
    """Adds up one call.

    Whoever uses it says what is priced, and in which order; `turns` says what a turn is.
    """

    def __init__(self) -> None:
        self.units = 0
        """Cost so far, in `ATTO`."""
        self.unpriced = 0
        """Requests with usage that has no price."""
        self.turns = 0
        self.interrupted = 0
        self._conversation = Conversation()
        self._replies: OrderedDict[str, Turn] = OrderedDict()
        self._unassigned = 0

    def use(self, cost: SpanCost, speech: str | None) -> None:
        """Something was used, for a reply or for none."""
        self.units += cost.atto
        self.unpriced += not cost.priced
        if speech is None:
            self._unassigned += cost.atto
        else:
            self._reply(speech).units += cost.atto

    def commit(self, record: TurnCommitted) -> None:
        """The caller's turn was decided to be over."""
        if record.speech is not None:
            self._reply(record.speech).commit(record)

    def hear(self, record: MessageAdded) -> Turn | None:
        """Take a message in; the reply that it is part of, `None` for the caller's."""
        answers = self._conversation.hear(record)
        if record.role != "assistant":
            return None
        turn = self._reply(record.speech or "")
        if answers:
            self.turns += 1
            turn.number = self.turns
            turn.answer(record)
            turn.units += self._unassigned
            self._unassigned = 0
            turn.first_token_seconds = plausible(record.first_token_seconds)
            turn.first_byte_seconds = plausible(record.first_byte_seconds)
        self.interrupted += turn.say(record)
        return turn

    def spoken(self, speech: str) -> Turn | None:
        """A reply of which something was said."""
        turn = self._replies.get(speech)
        return turn if turn is not None and turn.spoken else None

    def _reply(self, speech: str) -> Turn:
        turn = self._replies.get(speech)
        if turn is None:
            turn = self._replies[speech] = Turn(speech=speech, at=0.0)
            if len(self._replies) > _REPLIES_AT_HAND:
                self._replies.popitem(last=False)
        return turn
