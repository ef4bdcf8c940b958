"""Meters a session or a whole job: makes journal, account, log and budget, and subscribes."""

import platform
import secrets
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from livekit.agents import get_job_context

from livekit_exporter import files
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.budget.limits import Budget
from livekit_exporter.agent.call import Call
from livekit_exporter.agent.components import declared_models
from livekit_exporter.agent.ending import Ending
from livekit_exporter.agent.estimates import calibration
from livekit_exporter.agent.estimates.estimator import Estimator
from livekit_exporter.agent.fields import text
from livekit_exporter.agent.job import job_of
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.missing import MissingUsage
from livekit_exporter.agent.open_connection import OpenConnection
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.agent.spans.charges import CallCharges
from livekit_exporter.agent.subscription import Subscription
from livekit_exporter.agent.summary import SLOW_TURN_SECONDS, Summary
from livekit_exporter.record import JOB_ENDED, NOT_STARTED, SessionStarted

if TYPE_CHECKING:
    from livekit.agents import AgentSession, JobContext

    from livekit_exporter.agent.budget.tracker import Tracked
    from livekit_exporter.agent.followers import Follower

    # Any: the session's user data is not read.
    _Session: TypeAlias = AgentSession[Any]

OLDEST_SDK: Final = (1, 2, 12)
"""Oldest version of livekit-agents whose metrics name provider and model."""

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

    The call ends with its job.  What is used after the session has closed, or beside it, such
    as by a judge, belongs to it, and so does the session when it is started again.  Never
    raises: when metering cannot start, the log says why and the call goes on.

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
        return _unmetered(agent, error)
    return call


def meter_job(
    ctx: "JobContext | None" = None,
    *,
    agent: str | None = None,
    user: str | None = None,
    labels: Mapping[str, str] | None = None,
    data_dir: str | PathLike[str] | None = None,
    log: bool = True,
    estimates: bool = True,
) -> Call:
    """Meter a job that has no session, such as a translator, an indexer or an evaluation.

    Its language models and speech synthesis are found by LiveKit's spans; `Call.meter` names
    other components, and `Call.record` takes what no component emits.  Never raises.

    Args:
        ctx: The job's context; found by itself inside an entrypoint.  Without a job, end the
            call with `Call.close`.
        agent: As for `attach`, like the other arguments.
        user: Who the job is for.
        labels: Dimensions of your own.
        data_dir: The data directory.
        log: Whether the logger `livekit_exporter` gets a block at the end.
        estimates: Whether LiveKit's spans are read, which requests that nobody listens to and
            estimates need.
    """
    try:
        wanted = _Wanted(agent, user, labels or {}, data_dir, log, None, estimates, None, None)
        return _begin(None, ctx or _job_context(), wanted)
    except Exception as error:  # noqa: BLE001  # never raising is the promise of this function
        return _unmetered(agent, error)


def _unmetered(agent: str | None, error: Exception) -> Call:
    problems.warning("this call is not metered", error=error)
    return Call(secrets.token_hex(8), agent or "", None, LiveAccount(Prices()))


class _Wanted(NamedTuple):
    """Arguments of `attach`."""

    agent: str | None
    user: str | None
    labels: Mapping[str, str]
    data_dir: str | PathLike[str] | None
    log: bool
    slow_turn_seconds: float | None
    estimates: bool
    budget: Budget | None
    sidecar_url: str | None


def _begin(session: "_Session | None", ctx: "JobContext | None", wanted: _Wanted) -> Call:
    session_id = secrets.token_hex(8)
    job = getattr(ctx, "job", None)
    room = getattr(getattr(ctx, "room", None), "name", None)
    root = files.resolve(wanted.data_dir)
    account = LiveAccount(Prices(root))
    summary = Summary.wanted(session_id, account, wanted.slow_turn_seconds) if wanted.log else None
    # The account comes first: the others read it.
    followers: tuple[Follower, ...] = (account,) if summary is None else (account, summary)
    estimator = Estimator(calibration.ledger_sizes(root)) if wanted.estimates else None
    ending = Ending(JOB_ENDED if session is None else NOT_STARTED)
    journal = Journal(
        files.journals(root),
        session_id,
        followers=followers,
        derivers=(
            *(
                ()
                if estimator is None
                else (estimator, OpenConnection(account.prices, _hearing(session)))
            ),
            MissingUsage(),
            ending,
        ),
        losses=account,
    )
    name = wanted.agent or getattr(job, "agent_name", None) or _program()
    call = Call(session_id, name, journal, account)
    subscription = Subscription(session, call, journal, estimator, ctx=ctx)
    user = None if wanted.user is None else text(str(wanted.user))
    labels = {text(str(key)): text(str(value)) for key, value in wanted.labels.items()}
    tracked = _track(wanted, session, call, journal, account, root, (user, labels))
    started = SessionStarted(
        session=session_id,
        at=time.time(),
        agent=text(name),
        user=user,
        labels=labels,
        room=text(room) or None,
        job=text(getattr(job, "id", None)) or None,
        trace=subscription.trace,
        host=platform.node(),
        sdk=_version("livekit-agents"),
        exporter=_version("livekit-exporter"),
        models=() if session is None else declared_models(session),
        budgets=() if tracked is None else tracked.scopes,
    )
    _warn_of_old_sdk(started.sdk)
    # Before anything is put, so that it misses nothing.
    charges = CallCharges(started, account, journal)
    # Nothing but the call keeps a subscription without a session.
    listener = weakref.ref(subscription) if session is not None else lambda: subscription
    call.hold(charges, listener, None if tracked is None else tracked.callbacks)
    call.put(started)
    if tracked is not None:
        tracked.start()
    subscription.listen(started)
    if ctx is not None:
        job_of(ctx).add(call)
    return call


def _hearing(session: "_Session | None") -> Callable[[], bool]:
    """Make a function that says whether a session has audio to listen to, from any thread."""
    # It may be gone by then.
    kept = None if session is None else weakref.ref(session)

    def hears() -> bool:
        live = None if kept is None else kept()
        return getattr(getattr(live, "input", None), "audio", None) is not None

    return hears


def _track(
    wanted: _Wanted,
    session: "_Session | None",
    call: Call,
    journal: Journal,
    account: LiveAccount,
    root: Path,
    owners: tuple[str | None, Mapping[str, str]],
) -> "Tracked | None":
    """Track the call's budget, if it has one."""
    if wanted.budget is None or session is None:
        return None
    if not isinstance(wanted.budget, Budget):
        problems.warning(
            "the budget does not hold: it is %r; give Budget(session_usd=0.50)", wanted.budget
        )
        return None
    # Calls without a budget have no use for it.
    from livekit_exporter.agent.budget.tracker import Owner, track

    return track(
        wanted.budget,
        session,
        Owner(call.session_id, *owners),
        journal=journal,
        account=account,
        url=wanted.sidecar_url,
        data_dir=root,
    )


def _job_context() -> "JobContext | None":
    try:
        return get_job_context()
    except RuntimeError:
        return None


def _program() -> str:
    """Name the program after its file, however it was started."""
    for argument in sys.argv:
        path = Path(argument)
        if path.stem == "__main__" and path.parent.name != "agents":
            return path.parent.name or "unknown"  # python -m package
        if path.stem not in ("", "-c", "-m", "__main__"):
            return path.stem
        # python -m livekit.agents start agent.py
        files_named = [Path(each).stem for each in sys.argv[1:] if each.endswith(".py")]
        return files_named[0] if files_named else "unknown"
    return "unknown"


def _warn_of_old_sdk(version: str) -> None:
    """Say that an SDK does not name the models that were used."""
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if version and numbers < OLDEST_SDK:
        problems.warning(
            "livekit-agents %s does not name its models, so that nothing has a price; it needs"
            f" {'.'.join(map(str, OLDEST_SDK))} or newer",
            version,
        )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
