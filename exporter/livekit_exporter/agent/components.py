"""Finds the components of a session, an agent or any object that uses models: who emits metrics.

An author may wrap a component in a class of their own, or keep one beside the session's, such
as a moderator's model.  So the attributes of an object are looked through, too.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from livekit import rtc
from livekit.agents import AgentSession, llm, stt, tts

from livekit_exporter.agent.events import declared_model
from livekit_exporter.record import Model, Stage

# Any: a component's event names are not read.
Emitter: TypeAlias = rtc.EventEmitter[Any]

_KINDS: Final[tuple[tuple[type, Stage], ...]] = (
    (llm.RealtimeModel, "realtime"),
    (llm.LLM, "llm"),
    (stt.STT, "stt"),
    (tts.TTS, "tts"),
)
_DEPTH: Final = 5
"""Steps from an object to a component in it: a wrapper, an adapter in it, its list, a member of
that, and what the member wraps."""
_MOST_VALUES: Final = 64
"""Values of a collection that are looked at: a list of components is short."""
_COLLECTIONS: Final = (list, tuple, dict)
_LEAVES: Final = (str, bytes, int, float, type, type(None))


class Component(NamedTuple):
    """A speech or language component.

    Args:
        component: LiveKit's object.
        stage: Its stage.
    """

    component: object
    stage: Stage


def stage_of(candidate: object) -> Stage | None:
    """Tell the stage of a component; `None` for any other object."""
    return next((stage for kind, stage in _KINDS if isinstance(candidate, kind)), None)


def is_session(owner: object) -> bool:
    """Return true for a session; its attributes lead to the room and everything else."""
    return isinstance(owner, AgentSession)


def own(owner: object) -> list[Component]:
    """List the components that a session or an agent speaks and listens with."""
    named = (getattr(owner, name, None) for name in ("stt", "llm", "tts"))
    return [Component(each, stage) for each in named if (stage := stage_of(each)) is not None]


def inside(owner: object) -> list[Component]:
    """List the components in an object: in its attributes, and in those of what it wraps."""
    found: dict[int, Component] = {}
    for candidate in _parts(owner, _DEPTH, set()):
        stage = stage_of(candidate)
        if stage is not None:
            found[id(candidate)] = Component(candidate, stage)
    return list(found.values())


def declared_models(owner: object) -> tuple[Model, ...]:
    """List the models that a session or an agent declares."""
    models = (declared_model(component, stage) for component, stage in own(owner))
    return tuple(model for model in models if model is not None)


def _parts(owner: object, depth: int, seen: set[int]) -> Iterator[object]:
    """Yield the values in an object that may be components or hold some, each once."""
    for value in _values(owner):
        if id(value) in seen or isinstance(value, _LEAVES):
            continue
        seen.add(id(value))
        yield value
        # Not into everything: the whole program hangs on a room.
        enters = isinstance(value, _COLLECTIONS) or isinstance(owner, _COLLECTIONS)
        if depth > 1 and (enters or stage_of(value) is not None):
            yield from _parts(value, depth - 1, seen)


def _values(owner: object) -> list[object]:
    if isinstance(owner, dict):
        return list(owner.values())[:_MOST_VALUES]
    if isinstance(owner, (list, tuple)):
        return list(owner[:_MOST_VALUES])
    try:
        return list(vars(owner).values())
    except TypeError:  # it has slots
        return []
