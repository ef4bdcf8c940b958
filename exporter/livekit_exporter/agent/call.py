"""The handle of one metered call: its usage and cost so far, for the agent itself."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from livekit_exporter.agent import recording
from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.budget.limits import BudgetCallback
from livekit_exporter.agent.events import RawMessage
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.agent.raw_metrics import RawMetrics
from livekit_exporter.agent.spans.charges import CallCharges
from livekit_exporter.record import Model, Phase, Record, Stage, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from livekit_exporter.agent.budget.callbacks import Callbacks


class Listener(Protocol):
    """Listens for a call to what its session and its job use."""

    def meter(self, component: object, stage: Stage | None) -> None:
        """Listen to a component that is not the session's."""
        ...

    async def closed(self, within_seconds: float) -> None:
        """Wait until the session has closed, or for that many seconds."""
        ...

    def catch_up(self) -> None:
        """Read what is left when a call ends."""
        ...

    def leave(self) -> None:
        """Stop listening."""
        ...


class Call:
    """One metered call, as `attach` and `meter_job` return it."""

    def __init__(
        self,
        session_id: str,
        agent: str,
        journal: Journal | None,
        account: LiveAccount,
    ) -> None:
        self.session_id = session_id
        self.agent = agent
        self.phase: Phase = "call"
        """`after` once the session has closed; what is recorded then is a part of the call."""
        self._journal = journal
        self._account = account
        self._callbacks: Callbacks | None = None
        self._charges: CallCharges | None = None
        # The session keeps what listens to it; a call that did so would keep the session.
        self._listener: Callable[[], Listener | None] = _nobody

    @property
    def usage(self) -> dict[Model, Usage]:
        """Usage so far, by model."""
        return self._account.usage

    @property
    def cost(self) -> Decimal:
        """Priced cost so far in US dollars, at list prices; usage without a price is not in it.

        What could not be written is not in it either, because no ledger will have it.
        """
        return self._account.cost

    @property
    def turns(self) -> int:
        """Turns answered so far."""
        return self._account.turns

    def record(  # noqa: PLR0913 (everything that a record of usage may say)
        self,
        *,
        provider: str,
        model: str,
        stage: Stage = "custom",
        usage: object = None,
        cost_usd: Decimal | float | str | None = None,
        at: datetime | float | None = None,
        speech: str | None = None,
        turn: int | None = None,
        request: str | None = None,
        requests: int = 1,
        **quantities: float | None,
    ) -> None:
        """Meter something that LiveKit does not see, such as an embedding request.

        Args:
            provider: Who bills it.
            model: What is billed.
            stage: Where it belongs.
            usage: The vendor's own usage object, if it has OpenAI's fields: `response.usage`.
            cost_usd: What the provider itself says that it costs.  Then that is the cost, and no
                price is looked up.
            at: When it was used, Unix seconds or a datetime with a time zone; by default now.
            speech: LiveKit's id of the reply that it belongs to.
            turn: Or which answer of the call it belongs to, from 1.
            request: The provider's id of the request.
            requests: How many requests these were.
            quantities: Fields of `record.Usage`, such as `input_tokens=1200`, or OpenAI's
                `prompt_tokens` and `completion_tokens`.

        Raises:
            ValueError: An argument is wrong; nothing is recorded then.
        """
        if turn is not None:
            if speech is not None:
                raise ValueError(
                    "turn and speech both say which reply it is; leave one of them out"
                )
            speech = self._account.speech_of(turn)
            if speech is None:
                raise ValueError(
                    f"turn must be one of the latest answers of this call, not {turn!r}"
                )
        self.put(
            recording.report(
                session=self.session_id,
                provider=provider,
                model=model,
                stage=stage,
                used=recording.usage(usage, quantities),
                at=at,
                speech=speech,
                cost_usd=cost_usd,
                requests=requests,
                request=request,
                phase=self.phase,
            )
        )

    def meter(self, component: object, stage: Stage | None = None) -> None:
        """Meter a component that is not the session's own, from now on.

        An LLM, speech-to-text, speech synthesis, realtime model or embedding client that emits
        LiveKit's metrics, and anything that holds some: a wrapper, a fallback adapter, a
        `JudgeGroup`, an answering-machine detection.  What the session or a span reports as
        well counts once.

        Args:
            component: The component.
            stage: Where its usage belongs; by default what its metrics are.

        Raises:
            ValueError: Nothing in it emits metrics; use `record`.
        """
        if stage is not None and stage not in recording.STAGES:
            raise ValueError(f"stage must be one of {', '.join(recording.STAGES)}, not {stage!r}")
        listener = self._listener()
        if listener is not None:
            listener.meter(component, stage)

    def on_budget(self, callback: BudgetCallback) -> BudgetCallback:
        """Call back when a threshold of the budget is crossed, or has been before.

        Called on the session's event loop, and so are callbacks, which may be async.

        Returns:
            The callback, so that this may stand above a function as a decorator.
        """
        if self._callbacks is None:
            problems.warning("on_budget is never called: attach() got no budget")
        else:
            self._callbacks.add(callback)
        return callback

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until all records so far are on file; `False` after `timeout` seconds.

        Blocks: not for the event loop.
        """
        return self._journal is None or self._journal.flush(timeout)

    def close(self, timeout: float = 1.0) -> bool:
        """End the call in a program that is no LiveKit job: from now on it records nothing.

        A job ends its calls by itself.  Blocks: not for the event loop.

        Returns:
            `False` if not everything is on file after `timeout` seconds.
        """
        listener = self._listener()
        if listener is not None:
            listener.leave()
        return self._journal is None or self._journal.close(timeout)

    async def closed(self, within_seconds: float) -> None:
        """Wait until the session has closed, if it was started, or for that many seconds."""
        listener = self._listener()
        if listener is not None:
            await listener.closed(within_seconds)
            listener.catch_up()

    def settle(self, timeout: float) -> bool:
        """Log the call as it is, and wait until it is on file; see `Journal.settle`."""
        return self._journal is None or self._journal.settle(timeout)

    def release(self, idle_seconds: float) -> None:
        """Give its file to the sidecar when nothing came for a while; see `Journal.release`."""
        if self._journal is not None:
            self._journal.release(idle_seconds)

    def hold(
        self,
        charges: CallCharges,
        listener: "Callable[[], Listener | None]",
        callbacks: "Callbacks | None",
    ) -> None:
        """Keep what belongs to the call.

        Args:
            charges: What it costs, should its spans be exported with that.
            listener: Finds who listens for it, while there is a session to listen to.
            callbacks: Who is to be told of its budget, if it has one.
        """
        self._charges = charges
        self._listener = listener
        self._callbacks = callbacks

    def put(self, record: Record | RawMetrics | RawMessage) -> None:
        """Take a record as it is, or an event to be read off the event loop.  Never waits."""
        if self._journal is not None:
            # First: the writer looks for it there as soon as it has it.
            self._account.put(record)
            self._journal.put(record)


def _nobody() -> None:
    """Find nobody who listens for a call that is not metered."""
