"""The handle of one metered session: its usage and cost so far, for the agent itself."""

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from livekit_exporter.agent.account import LiveAccount
from livekit_exporter.agent.budget.limits import BudgetCallback
from livekit_exporter.agent.events import RawMessage
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.agent.raw_metrics import RawMetrics
from livekit_exporter.agent.spans.charges import CallCharges
from livekit_exporter.record import Model, Record, Stage, Usage, UsageReported

if TYPE_CHECKING:
    from livekit_exporter.agent.budget.callbacks import Callbacks


class Call:
    """One metered session, as `attach` returns it."""

    def __init__(
        self,
        session_id: str,
        agent: str,
        journal: Journal | None,
        account: LiveAccount,
    ) -> None:
        self.session_id = session_id
        self.agent = agent
        self._journal = journal
        self._account = account
        self._callbacks: Callbacks | None = None
        self._charges: CallCharges | None = None

    @property
    def usage(self) -> dict[Model, Usage]:
        """Usage so far, by model."""
        return self._account.usage

    @property
    def cost(self) -> Decimal:
        """Priced cost so far in US dollars, at list prices; usage without a price is not in it."""
        return self._account.cost

    @property
    def turns(self) -> int:
        """Turns answered so far."""
        return self._account.turns

    def record(
        self, *, provider: str, model: str, stage: Stage = "custom", **quantities: float
    ) -> None:
        """Meter something that LiveKit does not see, such as an embedding request.

        Args:
            provider: Who bills it.
            model: What is billed.
            stage: Where it belongs.
            quantities: Fields of `record.Usage`, for example `input_tokens=1200`.

        Raises:
            TypeError: A quantity has an unknown name.
            ValueError: A quantity is no number.
        """
        usage = {
            # Only durations have fractions.
            name: float(amount) if name.endswith("_seconds") else int(amount)
            for name, amount in quantities.items()
        }
        self.put(
            UsageReported(
                session=self.session_id,
                at=time.time(),
                stage=stage,
                provider=provider,
                model=model,
                usage=Usage(**usage),  # type: ignore[arg-type]  # by the field's name
            )
        )

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

    def hold(self, callbacks: "Callbacks") -> None:
        """Take who is to be told of the call's budget."""
        self._callbacks = callbacks

    def charge(self, charges: CallCharges) -> None:
        """Keep what it costs, should its spans be exported with that."""
        self._charges = charges

    def flush(self, timeout: float = 1.0) -> bool:
        """Wait until all records so far are on file; `False` after `timeout` seconds.

        Blocks: not for the event loop.
        """
        return self._journal is None or self._journal.flush(timeout)

    def put(self, record: Record | RawMetrics | RawMessage) -> None:
        """Take a record as it is, or an event to be read off the event loop.  Never waits."""
        self._account.put(record)
        if self._journal is not None:
            self._journal.put(record)
