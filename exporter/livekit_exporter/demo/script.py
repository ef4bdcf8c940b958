"""Script of a call: pure, and the same for the same seed and number."""

import random
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

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

Tool: TypeAlias = Literal["answers", "fails", "transfers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedTurn:
    """The caller says something and the agent answers."""

    says: tuple[str, ...]
    """Parts that speech-to-text settles one by one; after the first one an agent that
    answers ahead of time answers too early."""
    reply: str
    tool: Tool | None = None
    """Outcome of the agent's tool; `None` for a reply that needs no tool."""
    failures: int = 0
    """Requests that the first language model lets fail before it works again."""
    interrupted_after: float | None = None
    """Seconds of the reply that the caller listens to before saying the next thing."""
    pause: float = 0.5
    """Seconds of silence before the caller speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallScript:
    """One call from hello to goodbye."""

    seed: int
    number: int
    agent: str
    user: str
    tenant: str
    greeting: ScriptedTurn
    """The agent speaks first; nobody has said anything."""
    turns: tuple[ScriptedTurn, ...]
    stt: Product | None
    """`None` for a call with a speech-to-speech model."""
    llms: tuple[Product, ...]
    """The language model and the one to fall back to, or the speech-to-speech model."""
    tts: Product | None
    """`None` for a call with a speech-to-speech model."""


@dataclass(frozen=True, slots=True)
class _Cast:
    agent: str
    stt: Product | None
    llms: tuple[Product, ...]
    tts: Product | None


# Calls take turns, so that a handful of them has met every model.
_CASTS: Final = (
    _Cast("support", NOVA_3, (GPT_MINI, LLAMA), SONIC),
    _Cast("sales", None, (GPT_REALTIME,), None),
    _Cast("booking", WHISPER, (LLAMA,), ELEVEN_TURBO),
    _Cast("support", NOVA_3, (GPT_MINI,), SONIC),
    _Cast("booking", NOVA_3, (GPT_MINI, LLAMA), ELEVEN_TURBO),
)

_TENANTS: Final = ("acme", "globex", "initech")

_GREETINGS: Final = (
    "Hello, how can I help you today?",
    "Good morning, what can I do for you?",
    "Thanks for calling. How may I help?",
)

_QUESTIONS: Final = (
    "I wanted to ask about my last order",
    "can you tell me when it will arrive",
    "is there anything available on Friday afternoon",
    "how much would that be for two people",
    "I think there is a mistake on my invoice",
    "could you check that for me please",
    "what would you recommend",
    "do you also have that in another size",
)

_AFTERTHOUGHTS: Final = (
    "and it should not cost more than last time",
    "or maybe on Saturday if that is easier",
    "I mean the one from the second of May",
)

_SENTENCES: Final = (
    "Of course, I can help you with that.",
    "Your order left our warehouse yesterday and should reach you on Thursday.",
    "There are two appointments left on Friday, one at three and one at half past four.",
    "The price includes everything, there is nothing to add later.",
    "I have noted that down for you.",
    "You will receive a confirmation by mail in a few minutes.",
    "That is a popular choice, and we have it in stock right now.",
    "Let me know if you would like me to change anything about it.",
)


def call_script(seed: int, number: int) -> CallScript:
    """The script of one call.

    Args:
        seed: The demo's seed.
        number: Number of the call, counted from 0.
    """
    rng = random.Random(f"{seed}/{number}")
    cast = _CASTS[number % len(_CASTS)]
    return CallScript(
        seed=seed,
        number=number,
        agent=cast.agent,
        user=f"u-{rng.randint(1, 500)}",
        tenant=rng.choice(_TENANTS),
        greeting=ScriptedTurn(says=(), reply=rng.choice(_GREETINGS)),
        turns=_turns(rng, cast),
        stt=cast.stt,
        llms=cast.llms,
        tts=cast.tts,
    )


def _turns(rng: random.Random, cast: _Cast) -> tuple[ScriptedTurn, ...]:
    count = rng.randint(3, 4)
    transfers = cast.agent == "support" and rng.random() < 0.5
    return tuple(
        _turn(
            rng,
            cast,
            # Somebody has to speak next, so the last reply is always heard to its end.
            may_be_interrupted=index < count - 1,
            transfers=transfers and index == 1,
            # A model that fails early has turns left in which it can come back.
            failures=_failures(rng, cast) if index == 0 else 0,
        )
        for index in range(count)
    )


def _failures(rng: random.Random, cast: _Cast) -> int:
    if cast.stt is None:
        return 0
    if len(cast.llms) > 1:
        return rng.choice((0, 1, 2))
    return rng.choice((0, 0, 1))


def _turn(
    rng: random.Random, cast: _Cast, *, may_be_interrupted: bool, transfers: bool, failures: int
) -> ScriptedTurn:
    says = [rng.choice(_QUESTIONS)]
    tool: Tool | None = None
    if cast.stt is not None:
        if rng.random() < 0.2:
            says.append(rng.choice(_AFTERTHOUGHTS))
        tool = "transfers" if transfers else rng.choices(("answers", "fails", None), (25, 5, 70))[0]
    interrupted = may_be_interrupted and tool is None and rng.random() < 0.4
    sentences = rng.sample(_SENTENCES, 6 if interrupted else rng.choice((1, 1, 2)))
    return ScriptedTurn(
        says=tuple(says),
        reply=" ".join(sentences),
        tool=tool,
        failures=failures,
        interrupted_after=rng.uniform(0.3, 1.5) if interrupted else None,
        pause=rng.uniform(0.3, 1.0),
    )
