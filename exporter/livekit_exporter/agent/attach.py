"""`attach`: one line in the agent, and its session is metered.

Subscribes to an AgentSession and hands what it hears to `normalize` and `journal`.
The handlers run on the event loop that moves the caller's audio, and LiveKit lets a
handler's `TypeError` end the call, so each one is guarded, picks fields, puts, and
returns.
"""

import asyncio
import platform
import secrets
import sys
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from livekit import rtc
from livekit.agents import get_job_context, llm, stt, tts
from opentelemetry import trace

from livekit_exporter import files
from livekit_exporter.agent import normalize
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.budget.limits import Budget
from livekit_exporter.agent.call import Call
from livekit_exporter.agent.complaints import Complaints
from livekit_exporter.agent.estimates import calibration, witness
from livekit_exporter.agent.estimates.estimator import Estimator
from livekit_exporter.agent.journal import Follower, Journal
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.spans.charges import CallCharges
from livekit_exporter.agent.summary import SLOW_TURN_SECONDS, Summary
from livekit_exporter.record import (
    Model,
    ModelsDeclared,
    SessionStarted,
    Stage,
)

if TYPE_CHECKING:
    from livekit.agents import AgentSession, JobContext

    from livekit_exporter.agent.budget.tracker import Tracked

    # Any: a session's user data and a component's event names are none of our business.
    _Session: TypeAlias = AgentSession[Any]
    _Emitter: TypeAlias = rtc.EventEmitter[Any]

_Handler: TypeAlias = Callable[[object], None]

_RECENT: Final = 512
_TAIL_SECONDS: Final = 1.0
"""How long a journal stays open after `close`: a speech-to-text stream reports its last
audio while it shuts down, to listeners on the component only."""


class _Recent:
    """The last few metrics objects, to know one that comes a second time.

    LiveKit hands the very same object to listeners of the component and of every
    session that shares it.  It is kept alive here so that its identity stays its own.
    """

    def __init__(self) -> None:
        self._objects: dict[int, object] = {}

    def first(self, item: object) -> bool:
        """Whether this object has not been here before."""
        objects, key = self._objects, id(item)
        if key in objects:
            return False
        objects[key] = item
        # One object is emitted on one thread, so there is no lock; another thread may only
        # be quicker in moving the oldest one out.
        if len(objects) > _RECENT:
            with suppress(KeyError, RuntimeError, StopIteration):
                del objects[next(iter(objects))]
        return True


_recent = _Recent()
_calls: "weakref.WeakKeyDictionary[_Session, Call]" = weakref.WeakKeyDictionary()


def attach(  # noqa: PLR0913 (everything that an agent may want of it, in one line)
    session: "_Session",
    ctx: "JobContext | None" = None,
    *,
    agent: str | None = None,
    user: str | None = None,
    labels: Mapping[str, str] | None = None,
    budget: Budget | None = None,
    data_dir: str | PathLike[str] | None = None,
    sidecar_url: str | None = None,
    log: bool = True,
    slow_turn_seconds: float | None = SLOW_TURN_SECONDS,
    estimates: bool = True,
) -> Call:
    """Meter a session.  Call it before `session.start`; a second call changes nothing.

    Never raises: when metering cannot start, the log says why and the call goes on.

    Args:
        session: The AgentSession to listen to.
        ctx: The job's context; found by itself inside an entrypoint.
        agent: Name of the agent, a metric label; by default the one LiveKit dispatches
            by, or else the name of the program's file.
        user: Who the call is for; kept in the ledger, never a metric label.
        labels: Dimensions of your own, such as `{"tenant": "acme"}`; the sidecar's
            configuration says which become metric labels.
        budget: What the call may spend.
        data_dir: The data directory; by default `LIVEKIT_EXPORTER_DATA_DIR` or the
            platform's state directory.
        sidecar_url: Where budgets ask what others have spent; by default
            `LIVEKIT_EXPORTER_URL`, or where the data directory's sidecar says it listens.
        log: Whether the logger `livekit_exporter` gets a line per turn and a block at the end
            (INFO), and slow turns (WARNING).  What it does not take when the call begins is
            not added up.
        slow_turn_seconds: Turn latency above which a turn is slow; `None` for no warnings.
        estimates: Whether usage that no event reports, such as that of a reply which was cut
            off, is estimated from LiveKit's spans; it is never part of what was reported.
    """
    try:
        known = _calls.get(session)
        if known is not None:
            return known
        wanted = _Wanted(
            agent,
            user,
            labels or {},
            data_dir,
            log,
            slow_turn_seconds,
            estimates,
            budget,
            sidecar_url,
        )
        call = _begin(session, ctx or _job_context(), wanted)
        _calls[session] = call
    except Exception as error:  # noqa: BLE001  # never raising is the promise of this function
        Complaints().say("this call is not metered", error=error)
        return Call(secrets.token_hex(8), agent or "", None, LiveAccount(Prices()))
    return call


class _Wanted(NamedTuple):
    """What `attach` was asked for."""

    agent: str | None
    user: str | None
    labels: Mapping[str, str]
    data_dir: str | PathLike[str] | None
    log: bool
    slow_turn_seconds: float | None
    estimates: bool
    budget: Budget | None
    sidecar_url: str | None


def _begin(session: "_Session", ctx: "JobContext | None", wanted: _Wanted) -> Call:
    session_id = secrets.token_hex(8)
    job = getattr(ctx, "job", None)
    room = getattr(getattr(ctx, "room", None), "name", None)
    root = files.resolve(wanted.data_dir)
    account = LiveAccount(Prices(root))
    summary = Summary.wanted(session_id, account, wanted.slow_turn_seconds) if wanted.log else None
    # The account comes first: the others read it.
    followers: tuple[Follower, ...] = (account,) if summary is None else (account, summary)
    estimator = Estimator(calibration.known(root)) if wanted.estimates else None
    journal = Journal(files.journals(root), session_id, followers=followers, deriving=estimator)
    name = wanted.agent or getattr(job, "agent_name", None) or _program()
    call = Call(session_id, name, journal, account)
    subscription = _Subscription(session, call, journal, estimator)
    user = None if wanted.user is None else normalize.text(str(wanted.user))
    labels = {
        normalize.text(str(key)): normalize.text(str(value)) for key, value in wanted.labels.items()
    }
    tracked = _track(wanted, session, call, journal, account, root, (user, labels))
    started = SessionStarted(
        session=session_id,
        at=time.time(),
        agent=normalize.text(name),
        user=user,
        labels=labels,
        room=normalize.text(room) or None,
        job=normalize.text(getattr(job, "id", None)) or None,
        trace=subscription.trace,
        host=platform.node(),
        sdk=_version("livekit-agents"),
        exporter=_version("livekit-exporter"),
        models=subscription.declared(session),
        budgets=() if tracked is None else tracked.scopes,
    )
    # Before anything is put, so that it misses nothing.
    call.charge(CallCharges(started, account, journal))
    call.put(started)
    if tracked is not None:
        tracked.start()
    subscription.listen()
    if ctx is not None:

        async def drain() -> None:
            await asyncio.to_thread(journal.close, 1.0)

        ctx.add_shutdown_callback(drain)
    return call


def _track(
    wanted: _Wanted,
    session: "_Session",
    call: Call,
    journal: Journal,
    account: LiveAccount,
    root: Path,
    owners: tuple[str | None, Mapping[str, str]],
) -> "Tracked | None":
    """Track the call's budget, if it has one."""
    if wanted.budget is None:
        return None
    if not isinstance(wanted.budget, Budget):
        Complaints().say(
            f"the budget does not hold: it is {wanted.budget!r}; give Budget(session_usd=0.50)"
        )
        return None
    # Calls without a budget have no use for it.
    from livekit_exporter.agent.budget.tracker import Owner, track

    tracked = track(
        wanted.budget,
        session,
        Owner(call.session_id, *owners),
        journal=journal,
        account=account,
        url=wanted.sidecar_url,
        data_dir=root,
    )
    if tracked is not None:
        call.hold(tracked.callbacks)
    return tracked


def _job_context() -> "JobContext | None":
    try:
        return get_job_context()
    except RuntimeError:
        return None


def _program() -> str:
    return Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "unknown"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


class _Subscription:
    """Listens to one session until it closes."""

    def __init__(
        self, session: "_Session", call: Call, journal: Journal, estimator: Estimator | None
    ) -> None:
        self._session = session
        self._call = call
        self._journal = journal
        self._estimator = estimator
        self._agent: object = None
        self._persona: str | None = None
        # Whether each is an answer that the caller is to hear, as far as it is known.
        self._speeches: OrderedDict[str, bool] = OrderedDict()
        self._listened: list[tuple[_Emitter, str, _Handler]] = []
        self._complaints = Complaints()
        self.trace: str | None = _trace()
        # Whether others listened in this process when the last one came: asked on every event.
        self.in_company = False
        _subscriptions.add(self)
        for one in list(_subscriptions):
            one.in_company = len(_subscriptions) > 1

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

    def declared(self, owner: object) -> tuple[Model, ...]:
        """The models that a session or an agent says it will use."""
        models = (normalize.declared_model(part, stage) for part, stage in _components(owner))
        return tuple(model for model in models if model is not None)

    def owns(self, speech: str) -> bool:
        """Whether this session made that speech."""
        return speech in self._speeches

    def is_heard(self, speech: str) -> bool:
        """Whether a reply is meant for the caller, rather than made ahead of their turn."""
        current = getattr(self._session, "current_speech", None)
        return self._speeches.get(speech, False) or getattr(current, "id", None) == speech

    def describe(self) -> witness.Description:
        """What the records of its spans say of the call."""
        return witness.Description(self._call.session_id, self._persona, self.trace)

    @property
    def estimator(self) -> Estimator | None:
        """Who reads its spans."""
        return self._estimator

    def spans_ended(self, ended: witness.Ended) -> None:
        """Have something of its spans read on the journal's thread."""
        self._journal.put(ended)

    def _guarded(self, read: _Handler) -> _Handler:
        def handler(event: object) -> None:
            try:
                read(event)
            except normalize.UnreadableError as error:
                self._journal.unread(error.reason)
            except Exception as error:  # noqa: BLE001  # a handler's TypeError would end the call
                self._journal.unread("internal_error")
                self._complaints.say("an event could not be read, the call goes on", error=error)

        return handler

    def _moment(self) -> normalize.Moment:
        speech = getattr(self._session, "current_speech", None)
        return normalize.Moment(
            session=self._call.session_id,
            now=time.time(),
            persona=self._persona,
            speech=getattr(speech, "id", None),
            trace=self._new_trace(),
        )

    def _new_trace(self) -> str | None:
        """The trace id, once: it is the same for the whole call."""
        if self.trace is not None:
            return None
        self.trace = _trace()
        return self.trace

    def _on_metrics(self, event: object) -> None:
        # A component hands out the bare metrics, a session wraps them in an event.
        metrics = getattr(event, "metrics", event)
        kind = getattr(metrics, "type", None)
        if kind in normalize.SILENT:
            return
        # Only where two listen is there anything to tell apart: two sessions, or the session
        # and its speech-to-text.
        if (kind == "stt_metrics" or self.in_company) and not self._is_ours(metrics):
            return
        speech = None
        if kind == "eou_metrics":
            committed = getattr(metrics, "speech_id", None)
            if isinstance(committed, str) and committed in self._speeches:
                self._speeches[committed] = True
        elif kind == "realtime_model_metrics":
            speech = getattr(getattr(self._session, "current_speech", None), "id", None)
        call = self._call
        call.put(normalize.Heard(metrics, call.session_id, time.time(), self._persona, speech))

    def _is_ours(self, metrics: object) -> bool:
        """Whether metrics are this session's, and come for the first time.

        Two sessions that share a component both hear both: a reply is the one's that spoke it.
        """
        speech = getattr(metrics, "speech_id", None)
        spoken_elsewhere = (
            isinstance(speech, str)
            and not self.owns(speech)
            and any(other.owns(speech) for other in list(_subscriptions))
        )
        return not spoken_elsewhere and _recent.first(metrics)

    def _on_item(self, event: object) -> None:
        item = getattr(event, "item", None)
        if getattr(item, "type", None) == "agent_handoff":
            self._on_handoff(item)
        else:
            self._call.put(normalize.Added(item, self._moment()))

    def _on_handoff(self, item: object) -> None:
        self._follow_agent()
        persona = getattr(item, "new_agent_id", None)
        if isinstance(persona, str):
            self._persona = normalize.text(persona)

    def _on_speech(self, event: object) -> None:
        speech = getattr(getattr(event, "speech_handle", None), "id", None)
        if isinstance(speech, str):
            self._speeches[speech] = False
            forgotten = []
            if len(self._speeches) > _RECENT:
                forgotten.append(self._speeches.popitem(last=False)[0])
            if self._estimator is not None:
                witness.watch(speech, self)
                witness.leave(forgotten)
        # Before 1.3.1 a hand-off adds nothing to the conversation.
        self._follow_agent()

    def _follow_agent(self) -> None:
        """Notice that another agent holds the call, perhaps with components of its own."""
        agent: object = None
        with suppress(RuntimeError):  # none does
            agent = self._session.current_agent
        if agent is None or agent is self._agent:
            return
        self._agent = agent
        name = getattr(agent, "id", None) or type(agent).__name__
        self._persona = normalize.text(str(name))
        self._listen_to_components(agent)
        moment = self._moment()
        self._call.put(
            ModelsDeclared(
                session=moment.session,
                at=moment.now,
                persona=self._persona,
                trace=moment.trace,
                models=self.declared(agent),
            )
        )

    def _on_close(self, event: object) -> None:
        self._read("close", event)
        asyncio.get_running_loop().call_later(_TAIL_SECONDS, self._leave)

    def _leave(self) -> None:
        _subscriptions.discard(self)
        witness.leave(list(self._speeches))
        for emitter, event, handler in self._listened:
            emitter.off(event, handler)
        self._journal.finish()

    def _read(self, name: str, event: object) -> None:
        for record in normalize.read_event(name, event, self._moment()):
            self._call.put(record)

    def _listen_to_components(self, owner: object) -> None:
        """Hear speech-to-text at its source, and fallback adapters change over."""
        for component, stage in _components(owner):
            # A realtime model is none: its sessions emit, and LiveKit listens to those.
            if not isinstance(component, rtc.EventEmitter):
                continue
            if any(emitter is component for emitter, _, _ in self._listened):
                continue
            if stage == "stt":
                self._on(component, "metrics_collected", self._guarded(self._on_metrics))
            name = f"{stage}_availability_changed"
            if name in normalize.EVENTS:
                self._on(component, name, self._guarded(partial(self._read, name)))

    def _on(self, emitter: "_Emitter", event: str, handler: _Handler) -> None:
        """Subscribe without the deprecation warning of `AgentSession.on`.

        No other event carries usage one request at a time.
        """
        rtc.EventEmitter.on(emitter, event, handler)
        self._listened.append((emitter, event, handler))


_subscriptions: "weakref.WeakSet[_Subscription]" = weakref.WeakSet()


def _components(owner: object) -> list[tuple[object, Stage]]:
    """The speech and language components of a session or an agent, each with its stage."""
    found: list[tuple[object, Stage]] = []
    for name in ("stt", "llm", "tts"):
        component = getattr(owner, name, None)
        if isinstance(component, llm.RealtimeModel):
            found.append((component, "realtime"))
        elif isinstance(component, llm.LLM):
            found.append((component, "llm"))
        elif isinstance(component, stt.STT):
            found.append((component, "stt"))
        elif isinstance(component, tts.TTS):
            found.append((component, "tts"))
    return found


def _trace() -> str | None:
    """Id of the trace that is being recorded, 32 hexadecimal digits.

    One that is not sampled leads nowhere.
    """
    context = trace.get_current_span().get_span_context()
    kept = context.is_valid and context.trace_flags.sampled
    return f"{context.trace_id:032x}" if kept else None
