"""Listens to a session and its components, and puts what they emit into the call.

The handlers run on the event loop that moves the caller's audio, and LiveKit lets a
handler's `TypeError` end the call.  So each one is guarded, picks fields, puts, and returns.
"""

import asyncio
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from livekit import rtc
from opentelemetry import trace

from livekit_exporter.agent import components
from livekit_exporter.agent.call import Call
from livekit_exporter.agent.components import Emitter
from livekit_exporter.agent.estimates import span_observer
from livekit_exporter.agent.estimates.estimator import Estimator
from livekit_exporter.agent.events import EVENTS, RawMessage, read_event
from livekit_exporter.agent.fields import Moment, UnreadableError, text
from livekit_exporter.agent.followers import RawEvent
from livekit_exporter.agent.heard import heard, heard_errors, is_adapters
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.agent.raw_metrics import SILENT, PlacedMetrics, RawMetrics
from livekit_exporter.record import ModelsDeclared, Phase, SessionStarted, Stage

if TYPE_CHECKING:
    from livekit.agents import AgentSession, JobContext

    # Any: the session's user data is not read.
    _Session: TypeAlias = AgentSession[Any]

_Handler: TypeAlias = Callable[[object], None]

_RECENT: Final = 512
_TAIL_SECONDS: Final = 1.0
"""How long after `close` more is expected: a speech-to-text stream reports its last audio while
it shuts down, to listeners on the component only."""


class Subscription:
    """Listens to one session, and to what else its job uses, until the job ends.

    Args:
        session: The session; `None` for a call without one.
        call: Takes its records and events.
        journal: Takes its spans, and counts events that cannot be read.
        estimator: Reads the spans; `None` if none are to be read.
        ctx: Context of the LiveKit job that ends the call; without one it ends soon after `close`.
    """

    def __init__(
        self,
        session: "_Session | None",
        call: Call,
        journal: Journal,
        estimator: Estimator | None,
        *,
        ctx: "JobContext | None",
    ) -> None:
        self._session = session
        self._call = call
        self._journal = journal
        self._estimator = estimator
        self.ctx = ctx
        self._agent: object = None
        # By speech id: true once the user's turn that the reply answers is known to be over.
        self._speeches: OrderedDict[str, bool] = OrderedDict()
        self._listened: list[tuple[Emitter, str, _Handler]] = []
        self._owners: list[object] = [] if session is None else [session]
        self._started: SessionStarted | None = None
        self._closed = asyncio.Event()
        self._closed_at = 0.0
        self._overhears = False
        self.session_id = call.session_id
        self.persona: str | None = None
        self.trace: str | None = _sampled_trace()
        # Kept up to date by the subscriptions that follow: every metrics event asks for it.
        self.shares_process = False
        self._join()

    def listen(self, started: SessionStarted) -> None:
        """Subscribe to the session and to the components it has so far."""
        self._started = started
        if self._estimator is not None:
            span_observer.watch(self)
        if self._session is None:
            return
        for event, read in (
            ("metrics_collected", self._on_metrics),
            ("conversation_item_added", self._on_item),
            ("speech_created", self._on_speech),
            ("function_tools_executed", partial(self._read, "function_tools_executed")),
            ("error", self._on_error),
            ("close", self._on_close),
        ):
            self._on(self._session, event, read)
        self._listen_to_components(self._session)

    def meter(self, component: object, stage: Stage | None) -> None:
        """Listen to a component that is not the session's, or to those in an object.

        Raises:
            ValueError: Nothing in it emits metrics.
        """
        own = [] if components.stage_of(component) is None else [component]
        emitters = [
            each
            for each in (*own, *(found.component for found in components.inside(component)))
            if isinstance(each, rtc.EventEmitter)
        ]
        if not emitters and isinstance(component, rtc.EventEmitter):
            emitters.append(component)
        if not emitters:
            raise ValueError(
                f"nothing in {type(component).__name__} emits LiveKit's metrics;"
                " say what it used with call.record(...)"
            )
        ours = self._ours()
        for emitter in emitters:
            if id(emitter) not in ours:
                self._listen_beside(emitter, stage)

    async def closed(self, within_seconds: float) -> None:
        """Wait until the session has closed, if it was started, or for that many seconds."""
        if self._agent is not None and self._call.phase == "call":
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._closed.wait(), within_seconds)

    def catch_up(self) -> None:
        """Read what is left when a call ends."""
        span_observer.observer.read_unended(self)

    def leave(self) -> None:
        """Stop listening: the call is over."""
        self.catch_up()
        self._part()
        span_observer.unwatch(self, list(self._speeches))
        self._unsubscribe(self._listened)

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

    @property
    def phase(self) -> Phase:
        """The place of usage at the moment that is no part of a reply."""
        return "beside" if self._call.phase == "call" else self._call.phase

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
        # Metrics come twice only where two listen: another session, the session and its
        # speech-to-text, or we to a component inside of another.  A span is read after them.
        two = kind == "stt_metrics" or self.shares_process or self._overhears
        if two and (not heard.add(metrics) or is_adapters(metrics)):
            return
        speech, phase = None, self._call.phase
        named = getattr(metrics, "speech_id", None)
        if isinstance(named, str) and named not in self._speeches:
            if self.shares_process and any(other.owns(named) for other in list(_subscriptions)):
                heard.discard(metrics)
                return
            if self._speeches or self._agent is not None:
                # Another session of the job spoke it, with a component that both have.
                phase = self.phase
        if kind == "eou_metrics":
            if isinstance(named, str) and named in self._speeches:
                self._speeches[named] = True
        elif kind == "realtime_model_metrics":
            speech = self._current_speech()
        if phase != "call" or self.shares_process:
            self._put(metrics, speech, phase)
            return
        self._call.put(RawMetrics(metrics, self.session_id, time.time(), self.persona, speech))

    def _on_metrics_beside(
        self, event: object, stage: Stage | None = None, *, inner: bool = False
    ) -> None:
        """Take metrics of a component that the session does not hear.

        Args:
            event: The metrics.
            stage: Where their usage belongs, if not where metrics of their kind do.
            inner: It is inside of a component of the session's own, and works for its replies.
        """
        metrics = getattr(event, "metrics", event)
        kind = getattr(metrics, "type", None)
        if kind in SILENT or not heard.add(metrics) or is_adapters(metrics):
            return
        speech, phase = None, self._call.phase
        if kind in _OF_REPLIES:
            # It may be inside of a node of the agent: then it is a part of the reply.
            speech = getattr(metrics, "speech_id", None) or span_observer.current_speech()
            if speech is None and inner and phase == "call":
                speech = next(reversed(self._speeches), None)
            if speech not in self._speeches:
                speech, phase = None, self.phase
        self._put(metrics, speech, phase, stage)

    def _put(
        self, metrics: object, speech: str | None, phase: Phase, stage: Stage | None = None
    ) -> None:
        now = time.time()
        if phase == "after" and self._is_tail(metrics, now):
            phase = "call"
        raw = RawMetrics(metrics, self.session_id, now, self.persona, speech)
        if phase != "call" or stage is not None:
            raw = PlacedMetrics(raw, phase, stage)
        if self.shares_process:
            # A span that tells no reply may go to another call, whose thread is not behind ours.
            raw.note()
        self._call.put(raw)

    def _is_tail(self, metrics: object, now: float) -> bool:
        """Return true for the last audio of a session that has just closed."""
        return (
            getattr(metrics, "type", None) == "stt_metrics"
            and now - self._closed_at < _TAIL_SECONDS
        )

    def _current_speech(self) -> str | None:
        speech = getattr(getattr(self._session, "current_speech", None), "id", None)
        return speech if isinstance(speech, str) else None

    def _on_item(self, event: object) -> None:
        item = getattr(event, "item", None)
        if getattr(item, "type", None) != "agent_handoff":
            self._call.put(RawMessage(item, self._moment()))
            return
        self._go_on()
        self._follow_agent()
        persona = getattr(item, "new_agent_id", None)
        if isinstance(persona, str):
            self.persona = text(persona)

    def _on_speech(self, event: object) -> None:
        speech = getattr(getattr(event, "speech_handle", None), "id", None)
        self._go_on()
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
            agent = None if self._session is None else self._session.current_agent
        if agent is None or agent is self._agent:
            return
        self._agent = agent
        self.persona = text(str(getattr(agent, "id", None) or type(agent).__name__))
        self._owners = [owner for owner in self._owners if owner is not agent] + [agent]
        self._listen_to_components(agent)
        moment = self._moment()
        self._call.put(
            ModelsDeclared(
                session=moment.session,
                at=moment.now,
                persona=self.persona,
                trace=moment.trace,
                models=components.declared_models(agent),
            )
        )

    def _on_error(self, event: object) -> None:
        # An adapter says that all of its components have failed, and each has said so itself.
        source, error = getattr(event, "source", None), getattr(event, "error", None)
        if (error is None or heard_errors.add(error)) and not components.inside(source):
            self._read("error", event)

    def _on_error_beside(self, error: object, component: object) -> None:
        if heard_errors.add(error):
            at = getattr(error, "timestamp", None)
            self._read("error", SimpleNamespace(error=error, source=component, created_at=at))

    def _on_close(self, event: object) -> None:
        self._read("close", event)
        self._call.phase = "after"
        self._overhears = True
        self._closed_at = time.time()
        self._closed.set()
        # Its session listens no more, and an author may go on using them.
        for owner in self._owners:
            self._listen_to_components(owner, after=True)
        if self.ctx is None:
            self._journal.release(_TAIL_SECONDS)
            asyncio.get_running_loop().call_later(_TAIL_SECONDS, self._rest)

    def _go_on(self) -> None:
        """Notice that the session was started again: the call goes on."""
        if self._call.phase == "call":
            return
        self._call.phase = "call"
        self._join()
        self._closed.clear()
        self._journal.keep()
        if self._started is not None:
            self._call.put(replace(self._started, at=time.time()))
        for owner in self._owners:
            self._listen_to_components(owner)

    def _rest(self) -> None:
        """Leave components that other sessions may use; what the session says is still heard."""
        if self._call.phase == "after":
            self.catch_up()
            others = [one for one in self._listened if one[0] is not self._session]
            self._unsubscribe(others)
            span_observer.unwatch(self, list(self._speeches))
            self._part()

    def _join(self) -> None:
        """Count among the sessions of the process that may get each other's metrics."""
        _subscriptions.add(self)
        for one in list(_subscriptions):
            one.shares_process = len(_subscriptions) > 1

    def _part(self) -> None:
        _subscriptions.discard(self)
        for one in list(_subscriptions):
            one.shares_process = len(_subscriptions) > 1

    def _unsubscribe(self, listened: Iterable[tuple[Emitter, str, _Handler]]) -> None:
        for one in list(listened):
            emitter, event, handler = one
            emitter.off(event, handler)
            self._listened.remove(one)

    def _read(self, name: str, event: object) -> None:
        for record in read_event(name, event, self._moment()):
            self._call.put(record)

    def _listen_to_components(self, owner: object, *, after: bool = False) -> None:
        """Subscribe to what a session does not hear of its own and its agent's components.

        While a session runs it hears its LLM and speech synthesis; their tails, and what they
        do after it has closed, only they say themselves.
        """
        own = components.own(owner)
        for component, stage in own:
            # A realtime model is no emitter: its sessions emit, and LiveKit listens to those.
            if not isinstance(component, rtc.EventEmitter):
                continue
            if stage == "stt" or after:
                self._on(component, "metrics_collected", self._on_metrics)
            name = f"{stage}_availability_changed"
            if name in EVENTS:
                self._on(component, name, partial(self._read, name))
        ours = self._ours()
        inner = [found for component, _ in own for found in components.inside(component)]
        beside = [] if components.is_session(owner) else components.inside(owner)
        for found in (*inner, *beside):
            if id(found.component) not in ours and isinstance(found.component, rtc.EventEmitter):
                self._listen_beside(found.component, None, inner=found in inner)

    def _ours(self) -> set[int]:
        """Return the ids of components that the session itself hears."""
        return {id(each.component) for owner in self._owners for each in components.own(owner)}

    def _listen_beside(self, emitter: Emitter, stage: Stage | None, *, inner: bool = False) -> None:
        self._overhears = True
        read = partial(self._on_metrics_beside, stage=stage, inner=inner)
        self._on(emitter, "metrics_collected", read)
        self._on(emitter, "error", partial(self._on_error_beside, component=emitter))

    def _on(self, emitter: Emitter, event: str, read: _Handler) -> None:
        """Subscribe once, without the deprecation warning of `AgentSession.on`.

        No other event carries usage one request at a time.
        """
        if any(known is emitter and name == event for known, name, _ in self._listened):
            return
        handler = self._guarded(read)
        rtc.EventEmitter.on(emitter, event, handler)
        self._listened.append((emitter, event, handler))


_subscriptions: "weakref.WeakSet[Subscription]" = weakref.WeakSet()

_OF_REPLIES: Final = ("llm_metrics", "tts_metrics")


def _sampled_trace() -> str | None:
    """Read the id of the current trace, 32 hexadecimal digits; `None` if it is not exported."""
    context = trace.get_current_span().get_span_context()
    kept = context.is_valid and context.trace_flags.sampled
    return f"{context.trace_id:032x}" if kept else None
