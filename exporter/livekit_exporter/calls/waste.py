"""Cost that no caller heard, as far as LiveKit's events show it. Pure.

A reply that the caller talked over was written and spoken further than it was heard.
A reply that was made ahead of the user's turn and thrown away was heard by nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

from livekit_exporter.calls.turns import Reply
from livekit_exporter.record import Source

_R = TypeVar("_R", bound=Reply)
Reason: TypeAlias = Literal["interrupted", "speculative", "recovery_probe", "failed"]

_CHARACTERS_PER_SECOND: Final = 15.0
"""Of speech whose length nobody reports, as voices speak English."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What one provider's model cost for one reply.

    Args:
        usd: All of it.
        output_usd: The part that grows with what the model says, 0 for speech synthesis.
        characters: Sent to speech synthesis.
        at: When, Unix seconds.
        stored: Id of its row, once that is in the ledger.
        wasted_usd: What is known already to be for nothing.
        audio_seconds: Made by speech synthesis.
        source: Reported, or estimated beside what is reported.
    """

    stage: str
    provider: str
    model: str
    usd: float
    output_usd: float
    characters: int
    at: float = 0.0
    stored: int | None = None
    wasted_usd: float = 0.0
    audio_seconds: float = 0.0
    source: Source = "reported"

    @property
    def useless(self) -> bool:
        """Whether all of it was for nothing: another request was made for the same."""
        return 0 < self.usd <= self.wasted_usd


def spent(row: Mapping[str, object]) -> Spent:
    """What a usage row of the ledger says of cost."""
    return Spent(
        stage=str(row["stage"]),
        provider=str(row["provider"]),
        model=str(row["model"]),
        usd=_number(row["cost_usd"]),
        output_usd=_number(row["output_usd"]),
        characters=int(_number(row["characters"])),
        at=_number(row["at"]),
        stored=int(_number(row["id"])) if "id" in row else None,
        wasted_usd=_number(row["wasted_usd"]),
        audio_seconds=_number(row["audio_seconds"]),
        source="estimated" if row["source"] == "estimated" else "reported",
    )


def reason(turn: Reply) -> Reason | None:
    """Why a reply's cost, or part of it, was for nothing; `None` where it was not."""
    if turn.spoken:
        return "interrupted" if turn.interrupted else None
    if turn.tool_calls:
        # It acted rather than spoke, such as handing the call to another agent.
        return None
    return "interrupted" if turn.committed else "speculative"


def unfinished(turns: Iterable[_R], *, lost: bool) -> list[_R]:
    """Replies of a call that is over which answered nobody and were not heard to their end.

    Args:
        turns: All of its replies, or all that were not said or were cut off.
        lost: Its process died, and with it perhaps a reply on its lips: the last one was
            not thrown away.
    """
    turns = list(turns)
    unspoken = [turn for turn in turns if not turn.spoken]
    if lost and unspoken:
        unspoken.remove(max(unspoken, key=lambda turn: turn.at))
    return unspoken + [turn for turn in turns if turn.interrupted and not turn.answered]


def unheard(turn: Reply, costs: Sequence[Spent]) -> list[float]:
    """The part of each cost that nobody heard, in US dollars.

    Of a reply that nobody heard at all, everything.  Of one that was cut off, of
    speech synthesis and of the text that it spoke, the share of characters that the
    caller did not hear; the question was needed either way, so input is none of it.
    """
    if not turn.spoken:
        return [cost.usd for cost in costs]
    spoken = [cost for cost in costs if cost.characters and not cost.useless]
    sent = sum(cost.characters for cost in spoken)
    share = max(0.0, 1 - _heard(turn, spoken) / sent) if sent else 0.0
    return [share * (cost.usd if cost.stage == "tts" else cost.output_usd) for cost in costs]


def _heard(turn: Reply, spoken: Sequence[Spent]) -> float:
    """Characters of a reply that the caller heard.

    Of its message, more may be there than was heard, where nobody cuts the text to the
    audio; then the time says it, at the speed at which this reply was spoken.
    """
    if turn.spoken_seconds is None:
        return turn.characters
    timed = [cost for cost in spoken if cost.audio_seconds]
    speed = _CHARACTERS_PER_SECOND
    if timed:
        seconds = sum(cost.audio_seconds for cost in timed)
        speed = sum(cost.characters for cost in timed) / seconds
    return min(turn.characters, turn.spoken_seconds * speed)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
