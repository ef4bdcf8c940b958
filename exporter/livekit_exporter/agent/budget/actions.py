"""Ready-made callbacks for a budget that is used up.

`log` is a callback as it is; the others are made with what they need, as in
`Budget(session_usd=0.5, on_limit=say_and_close("We have to stop here. Goodbye."))`.
"""

import asyncio
import logging
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from livekit_exporter.agent.budget.limits import BudgetEvent
from livekit_exporter.agent.rate_limited_log import problems

if TYPE_CHECKING:
    from livekit.agents import AgentSession, llm, tts
    from livekit.agents.voice import SpeechHandle

    # Any: a session's user data is none of our business.
    _Session: TypeAlias = AgentSession[Any]

_AGAIN_SECONDS: Final = 0.05
_ATTEMPTS: Final = 3
_EXTRA: Final = "livekit_exporter"
_SPELLED_OUT: Final = {
    "session": "this call",
    "user_day": "the user's day",
    "tenant_day": "the tenant's day",
    "day": "the day",
}

_log = logging.getLogger("livekit_exporter")


def log(event: BudgetEvent) -> None:
    """Log the event, for people and as fields (`docs/logs.md`); every budget does it anyway."""
    limit = event.limit_usd
    fields: dict[str, object] = {
        "kind": "budget",
        "session": event.session_id,
        "scope": event.scope,
        "threshold": event.threshold,
        "limit_usd": None if limit is None else float(limit),
        "spend_usd": float(event.spend_usd),
        "stale": event.stale,
        "unpriced_requests": event.unpriced_requests,
        "model": None if event.model is None else f"{event.model.provider}/{event.model.model}",
    }
    spent = f"spend of {_SPELLED_OUT[event.scope]} is {event.spend_usd:.6f} USD"
    if limit is not None:
        spent += f" of {limit:f}"
    if event.stale:
        spent += ", not counting what others have spent lately: the sidecar does not answer"
    head = {
        "warn": "budget nearly used up",
        "limit": "budget used up",
        "unpriced": "budget does not know all",
    }[event.threshold]
    if event.model is not None:
        spent = f"{event.model.stage} {fields['model']} has no price; {spent}"
    _log.log(logging.WARNING, "%s: %s", head, spent, extra={_EXTRA: fields})


def say_and_close(
    text: str, *, timeout_seconds: float = 60.0
) -> Callable[[BudgetEvent], Coroutine[None, None, None]]:
    """Let the agent finish what it is saying, say one sentence more, and close the session.

    The agent does not listen from then on, so nobody interrupts it.  A realtime model
    without a voice of its own for given text is asked to say the sentence, which costs
    one more reply.  A session that cannot speak is closed without a word.

    Args:
        text: The sentence.
        timeout_seconds: When the session is closed however far the agent has come.
    """
    closing: weakref.WeakKeyDictionary[_Session, asyncio.Event] = weakref.WeakKeyDictionary()

    async def close(event: BudgetEvent) -> None:
        session = event.session
        if session in closing:
            # Another limit was first: whoever waits for the end waits for the same one.
            await closing[session].wait()
            return
        over = closing[session] = asyncio.Event()
        closed = asyncio.Event()

        def on_close(_: object) -> None:
            closed.set()

        session.on("close", on_close)
        end = asyncio.create_task(closed.wait())
        goodbye: asyncio.Task[str | None] | None = None
        try:
            # There may be a while from `attach` to `session.start`.
            while not (_has_begun(session) or closed.is_set()):  # noqa: ASYNC110 - LiveKit does not say
                await asyncio.sleep(_AGAIN_SECONDS)
            goodbye = asyncio.create_task(_say_goodbye(session, text))
            await asyncio.wait(
                {goodbye, end}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if not closed.is_set():
                _say_what_went_wrong(goodbye, timeout_seconds)
                # What is queued would be played to its end before the session closes.
                goodbye.cancel()
                await asyncio.wait({goodbye})
                await session.aclose()
        finally:
            over.set()
            for task in (goodbye, end):
                if task is not None:
                    task.cancel()
            session.off("close", on_close)

    return close


def _say_what_went_wrong(goodbye: "asyncio.Task[str | None]", timeout_seconds: float) -> None:
    if not goodbye.done():
        trouble: str | None = f"it was not said within {timeout_seconds:g} s"
    else:
        error = goodbye.exception()
        trouble = goodbye.result() if error is None else repr(error)
    if trouble:
        problems.warning("a session over its budget closes without its last words: %s", trouble)


def _has_begun(session: "_Session") -> bool:
    try:
        return session.current_agent is not None
    except RuntimeError:
        return False


async def _say_goodbye(session: "_Session", text: str) -> str | None:
    """Say it and wait until it is played; why it was not, if it was not."""
    for _ in range(_ATTEMPTS):
        while True:
            # One that is still starting cannot speak yet, one between two agents for a moment.
            handle = None
            with suppress(RuntimeError):
                if _is_mute(session):
                    return "it has no voice"
                handle = _speak(session, text)
            if handle is not None:
                break
            await asyncio.sleep(_AGAIN_SECONDS)
        with suppress(Exception):
            session.input.set_audio_enabled(False)
        try:
            await handle.wait_for_playout()
        except asyncio.CancelledError:
            with suppress(Exception):  # an old version lets nobody force it
                handle.interrupt(force=True)
            raise
        # Before 1.8 a handle does not say why it failed.
        failure = getattr(handle, "exception", lambda: None)()
        if failure is not None:
            return repr(failure)
        if not handle.interrupted:
            return None
        # A realtime model's server had heard the caller begin before it heard nothing more.
    return "it was interrupted"


def _speak(session: "_Session", text: str) -> "SpeechHandle":
    """Queue the sentence behind what is being said.

    Raises:
        RuntimeError: The session cannot speak at present.
    """
    from livekit.agents import NOT_GIVEN, llm

    model = _part(session, "llm")
    realtime = isinstance(model, llm.RealtimeModel)
    # Where the provider decides about turns, LiveKit leaves interruptions to it.
    held = NOT_GIVEN if realtime and model.capabilities.turn_detection else False
    says = _part(session, "tts") is not None or not realtime
    if says or getattr(model.capabilities, "supports_say", False):
        return session.say(text, allow_interruptions=held)
    return session.generate_reply(
        instructions=f"Say exactly this to the user and nothing else: {text}",
        tool_choice="none",
        allow_interruptions=held,
    )


def _is_mute(session: "_Session") -> bool:
    from livekit.agents import llm

    output = session.output
    if not (output.audio and output.audio_enabled):
        return False  # it writes
    return _part(session, "tts") is None and not isinstance(
        _part(session, "llm"), llm.RealtimeModel
    )


def _part(session: "_Session", name: str) -> Any:  # noqa: ANN401 - a model of any kind
    """The component that the session uses now: its agent's own, or else the session's."""
    from livekit.agents import utils

    own = getattr(session.current_agent, name, None)
    return own if utils.is_given(own) else getattr(session, name)


def switch(
    *, llm: "llm.LLM[Any] | str | None" = None, tts: "tts.TTS[Any] | str | None" = None
) -> Callable[[BudgetEvent], None]:
    """Go on with cheaper models, of this agent and of those it hands over to.

    What is being said is finished with the old ones.  Needs `Agent.update_options`
    of livekit-agents; without it, and for realtime models, the log says that it
    cannot be done.

    Args:
        llm: A language model, or its name in LiveKit Inference.
        tts: A voice, or its name in LiveKit Inference.

    Raises:
        ValueError: Neither is given.
    """
    models = {name: model for name, model in (("llm", llm), ("tts", tts)) if model is not None}
    if not models:
        raise ValueError("switch needs an llm or a tts to switch to")
    switched: weakref.WeakSet[_Session] = weakref.WeakSet()

    def change(event: BudgetEvent) -> None:
        session = event.session
        if session in switched:
            return
        switched.add(session)

        def follow(added: object) -> None:
            if getattr(getattr(added, "item", None), "type", None) == "agent_handoff":
                _switch(session, models)

        session.on("conversation_item_added", follow)
        _switch(session, models)

    return change


def _switch(session: "_Session", models: "dict[str, Any]") -> None:
    """Change the models of whoever holds the call.  Never raises."""
    try:
        agent = session.current_agent
    except RuntimeError:
        return  # not started: its first agent comes as a hand-off, too
    try:
        update = getattr(agent, "update_options", None)
        if update is None:
            problems.warning(
                "this version of livekit-agents cannot change the models of a running agent;"
                " the call over its budget keeps those it has"
            )
            return
        update(**models)
    except Exception as error:  # noqa: BLE001 - LiveKit refuses, and the call goes on
        problems.warning(
            "a call over its budget keeps its models, which LiveKit does not change: %s", error
        )
