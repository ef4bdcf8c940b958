"""Script of a call, and its current step."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Fault: TypeAlias = Literal["none", "refused", "drop_before_text", "drop_after_text", "silent"]
"""What a vendor does to a request: `refused` is an answer with an error, which is free;
a drop closes the connection; `silent` reads the prompt and answers nobody in time."""

Outcome: TypeAlias = Literal["complete", "cut", "unsaid", "dropped", "left"]
"""How a language model's request ends: `unsaid` is cut off before its first token, `left` is cut
off by an agent that leaves the connection open a while, so that the vendor may write to the end."""

Moment: TypeAlias = Literal["asked", "writing", "sent", "played"]


@dataclass(frozen=True, slots=True)
class Cut:
    """Moment at which the caller begins to speak over the agent.

    Args:
        at: `asked`, when the model has read the prompt and written nothing; `writing`, when
            it has written a share of its reply; `sent`, when the voice has the whole text and
            is still making audio of it; `played`, when all audio is made and is being played.
        share: Of the reply's tokens.
    """

    at: Moment
    share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The caller says something, or the agent does by itself, and what comes of it."""

    says: tuple[str, ...] = ()
    """Parts that speech-to-text settles one by one; an agent that answers ahead of time
    answers after each.  Nothing for words that the agent speaks unasked."""
    reply: str
    """What the model writes, or what `say` is given where the caller says nothing."""
    tool: bool = False
    """Whether the model looks something up first."""
    faults: tuple[Fault, ...] = ()
    """What the first model does to its next requests, one by one."""
    cut: Cut | None = None
    """The next step begins then; without one, when the agent has finished."""
    think: float | None = None
    """Simulated seconds to the first token, where they matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One call.

    Args:
        name: As the table has it.
        about: What happens, in a sentence.
        steps: In their order.
        requests: How the requests to language models end, in the order of their coming, where
            everything goes by the script.
        fallback: Whether the model is the first of a fallback adapter's two.
        hang_up: When the caller leaves during the last step; by default when it is over.
    """

    name: str
    about: str
    steps: tuple[Step, ...]
    requests: tuple[Outcome, ...]
    fallback: bool = False
    hang_up: Cut | None = None

    def went(self, outcomes: Sequence[str]) -> bool:
        """True if requests that ended like this follow the script."""
        return len(outcomes) == len(self.requests) and all(
            outcome in _LEFT if wanted == "left" else outcome == wanted
            for wanted, outcome in zip(self.requests, outcomes, strict=True)
        )


_LEFT: Final = ("complete", "cut", "unsaid")


@dataclass(slots=True)
class Script:
    """Current step of the call, by which the vendors' stand-ins answer."""

    step: Step = field(default_factory=lambda: Step(reply="Hello."))
    faults: deque[Fault] = field(default_factory=deque)

    def begin(self, step: Step) -> None:
        """Make this the current step."""
        self.step = step
        self.faults.extend(step.faults)
