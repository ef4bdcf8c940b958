"""Listens to a session and its components, and puts what they emit into the call.

The handlers run on the event loop that moves the caller's audio, and LiveKit lets a
handler's `TypeError` end the call.  So each one is guarded, picks fields, puts, and returns.
"""

import asyncio
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from livekit import rtc
from livekit.agents import llm, stt, tts
from opentelemetry import trace

from livekit_exporter.agent.call import Call
from livekit_exporter.agent.estimates import span_observer
from livekit_exporter.agent.estimates.estimator import Estimator
from livekit_exporter.agent.events import EVENTS, RawMessage, declared_model, read_event
from livekit_exporter.agent.fields import Moment, UnreadableError, text
from livekit_exporter.agent.journal import Journal, RawEvent
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.agent.raw_metrics import SILENT, RawMetrics
from livekit_exporter.record import Model, ModelsDeclared, Stage

if TYPE_CHECKING:
    from livekit.agents import AgentSession

    # Any: the session's user data and a component's event names are not read.
    _Session: TypeAlias = AgentSession[Any]
    _Emitter: TypeAlias = rtc.EventEmitter[Any]

_Handler: TypeAlias = Callable[[object], None]

_RECENT: Final = 512
_TAIL_SECONDS: Final = 1.0
"""How long a journal stays open after `close`: a speech-to-text stream reports its last
audio while it shuts down, to listeners on the component only."""


class _Recent:
    """The last few metrics objects, to recognise one that comes a second time.

    LiveKit hands the very same object to listeners of the component and of every session
    that shares it.  Objects are kept alive here, so that no other one gets their id.
    """

    def __init__(self) -> None:
        self._objects: dict[int, object] = {}

    def add(self, item: object) -> bool:
        """Remember an object; false if it was there already."""
        objects, key = self._objects, id(item)
        if key in objects:
            return False
        objects[key] = item
        # One object is emitted on one thread, so there is no lock; another thread may only
        # be quicker in removing the oldest one.
        if len(objects) > _RECENT:
            with suppress(KeyError, RuntimeError, StopIteration):
                del objects[next(iter(objects))]
        return True


_recent = _Recent()


class Subscription:
    """Listens to one session until it closes.

    Args:
        session: The session.
        call: Takes its records and events.
        journal: Takes its spans, and counts events that cannot be read.
        estimator: Reads the spans; `None` if nothing is to be estimated.
    """

    def __init__(
        self, session: "_Session", call: Call, journal: Journal, estimator: Estimator | None
    ) -> None:
        self._session = session
        self._call = call
        self._journal = journal
        self._estimator = estimator
        self._agent: object = None
        # By speech id: true once the user's turn that the reply answers is known to be over.
        self._speeches: OrderedDict[str, bool] = OrderedDict()
        self._listened: list[tuple[_Emitter, str, _Handler]] = []
        self.session_id = call.session_id
        self.persona: str | None = None
        self.trace: str | None = _sampled_trace()
        # Kept up to date by the subscriptions that follow: every metrics event asks for it.
        self.shares_process = False
        _subscriptions.add(self)
        for one in list(_subscriptions):
            one.shares_process = len(_subscriptions) > 1

    def listen(self) -> None:
        """Subscribe to the session and to the components it has so far."""
        for event, read in (
            ("metrics_collected", self._on_metrics),
            ("conversation_item_added", self._on_item),
            ("speech_created", self._on_speech),
            ("function_tools_executed", partial(self._read, "function_tools_executed")),
            ("error", partial(self._read, "error")),
            ("close", self._on_close),
        ):
            self._on(self._session, event, self._guarded(read))
        self._listen_to_components(self._session)

    def owns(self, speech: str) -> bool:
        """Return true if this session made that speech."""
        return speech in self._speeches

    def is_heard(self, speech: str) -> bool:
        """Return true for a reply to the caller; false for one generated speculatively."""
        current = getattr(self._session, "current_speech", None)
        return self._speeches.get(speech, False) or getattr(current, "id", None) == speech

    def put(self, event: RawEvent) -> None:
        """Queue an event that concerns only the journal, to be read on its thread."""
        self._journal.put(event)

    def _guarded(self, read: _Handler) -> _Handler:
        def handler(event: object) -> None:
            try:
                read(event)
            except UnreadableError as error:
                self._journal.unread(error.reason)
            except Exception as error:  # noqa: BLE001  # a handler's TypeError would end the call
                self._journal.unread("internal_error")
                problems.warning("an event could not be read, the call goes on", error=error)

        return handler

    def _moment(self) -> Moment:
        speech = getattr(self._session, "current_speech", None)
        new_trace = None
        # One record carries the trace id: it is the same for the whole call.
        if self.trace is None:
            new_trace = self.trace = _sampled_trace()
        return Moment(
            session=self.session_id,
            now=time.time(),
            persona=self.persona,
            speech=getattr(speech, "id", None),
            trace=new_trace,
        )

    def _on_metrics(self, event: object) -> None:
        # A component emits the bare metrics, a session wraps them in an event.
        metrics = getattr(event, "metrics", event)
        kind = getattr(metrics, "type", None)
        if kind in SILENT:
            return
        # Metrics come twice only where two listen: two sessions, or the session and its
        # speech-to-text.
        if (kind == "stt_metrics" or self.shares_process) and not self._is_ours(metrics):
            return
        speech = None
        if kind == "eou_metrics":
            committed = getattr(metrics, "speech_id", None)
            if isinstance(committed, str) and committed in self._speeches:
                self._speeches[committed] = True
        elif kind == "realtime_model_metrics":
            speech = getattr(getattr(self._session, "current_speech", None), "id", None)
        self._call.put(RawMetrics(metrics, self.session_id, time.time(), self.persona, speech))

    def _is_ours(self, metrics: object) -> bool:
        """Return true if metrics are this session's, and come for the first time.

        Two sessions that share a component both get its metrics; a reply belongs to the
        session that spoke it.
        """
        speech = getattr(metrics, "speech_id", None)
        spoken_elsewhere = (
            isinstance(speech, str)
            and not self.owns(speech)
            and any(other.owns(speech) for other in list(_subscriptions))
        )
        return not spoken_elsewhere and _recent.add(metrics)

    def _on_item(self, event: object) -> None:
        item = getattr(event, "item", None)
        if getattr(item, "type", None) != "agent_handoff":
            self._call.put(RawMessage(item, self._moment()))
            return
        self._follow_agent()
        persona = getattr(item, "new_agent_id", None)
        if isinstance(persona, str):
            self.persona = text(persona)

    def _on_speech(self, event: object) -> None:
        speech = getattr(getattr(event, "speech_handle", None), "id", None)
        if isinstance(speech, str):
            self._speeches[speech] = False
            forgotten = []
            if len(self._speeches) > _RECENT:
                forgotten.append(self._speeches.popitem(last=False)[0])
            if self._estimator is not None:
                span_observer.observe(speech, self, self._estimator)
                span_observer.forget(forgotten)
        # Before 1.3.1 a hand-off adds nothing to the conversation.
        self._follow_agent()

    def _follow_agent(self) -> None:
        """Notice that another agent holds the call, perhaps with components of its own."""
        agent: object = None
        with suppress(RuntimeError):  # no agent holds it
            agent = self._session.current_agent
        if agent is None or agent is self._agent:
            return
        self._agent = agent
        self.persona = text(str(getattr(agent, "id", None) or type(agent).__name__))
        self._listen_to_components(agent)
        moment = self._moment()
        self._call.put(
            ModelsDeclared(
                session=moment.session,
                at=moment.now,
                persona=self.persona,
                trace=moment.trace,
                models=declared_models(agent),
            )
        )

    def _on_close(self, event: object) -> None:
        self._read("close", event)
        asyncio.get_running_loop().call_later(_TAIL_SECONDS, self._leave)

    def _leave(self) -> None:
        _subscriptions.discard(self)
        span_observer.forget(list(self._speeches))
        for emitter, event, handler in self._listened:
            emitter.off(event, handler)
        self._journal.finish()

    def _read(self, name: str, event: object) -> None:
        for record in read_event(name, event, self._moment()):
            self._call.put(record)

    def _listen_to_components(self, owner: object) -> None:
        """Subscribe to metrics of speech-to-text, and to changes of fallback adapters."""
        for component, stage in _components(owner):
            # A realtime model is no emitter: its sessions emit, and LiveKit listens to those.
            if not isinstance(component, rtc.EventEmitter):
                continue
            if any(emitter is component for emitter, _, _ in self._listened):
                continue
            if stage == "stt":
                self._on(component, "metrics_collected", self._guarded(self._on_metrics))
            name = f"{stage}_availability_changed"
            if name in EVENTS:
                self._on(component, name, self._guarded(partial(self._read, name)))

    def _on(self, emitter: "_Emitter", event: str, handler: _Handler) -> None:
        """Subscribe without the deprecation warning of `AgentSession.on`.

        No other event carries usage one request at a time.
        """
        rtc.EventEmitter.on(emitter, event, handler)
        self._listened.append((emitter, event, handler))


_subscriptions: "weakref.WeakSet[Subscription]" = weakref.WeakSet()


def declared_models(owner: object) -> tuple[Model, ...]:
    """List the models that a session or an agent declares."""
    models = (declared_model(component, stage) for component, stage in _components(owner))
    return tuple(model for model in models if model is not None)


def _components(owner: object) -> list[tuple[object, Stage]]:
    """List the speech and language components of a session or an agent, each with its stage."""
    kinds: tuple[tuple[type, Stage], ...] = (
        (llm.RealtimeModel, "realtime"),
        (llm.LLM, "llm"),
        (stt.STT, "stt"),
        (tts.TTS, "tts"),
    )
    return [
        (component, stage)
        for component in (getattr(owner, name, None) for name in ("stt", "llm", "tts"))
        for kind, stage in kinds
        if isinstance(component, kind)
    ]


def _sampled_trace() -> str | None:
    """Read the id of the current trace, 32 hexadecimal digits; `None` if it is not exported."""
    context = trace.get_current_span().get_span_context()
    kept = context.is_valid and context.trace_flags.sampled
    return f"{context.trace_id:032x}" if kept else None
