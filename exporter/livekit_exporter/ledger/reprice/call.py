"""Computes what other prices change about a call that is over.  Pure.

Usage that the ledger has is all that a cost needs, so a call can be priced again as often as
somebody corrects a price.  With the costs change the sums of its turns and of the call, and
the part that nobody heard.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from livekit_exporter.calls import waste
from livekit_exporter.ledger.expressions import Span, unpriced_requests
from livekit_exporter.ledger.rows import DUST_USD, SessionRow, TurnRow, UsageRow
from livekit_exporter.prices import pricing
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.pricing import Quote


class StoredCall(NamedTuple):
    """A call that is over, with its replies and all its usage."""

    session: SessionRow
    instance: str
    turns: Sequence[TurnRow]
    usage: Sequence[UsageRow]


class RowChange(NamedTuple):
    """A usage row, and the same row with another cost.  Differences are new minus old."""

    row: UsageRow
    now: UsageRow

    @property
    def usd(self) -> float:
        """Difference of the cost in US dollars; an unpriced row counts as 0."""
        return (self.now.cost_usd or 0.0) - (self.row.cost_usd or 0.0)

    @property
    def wasted_usd(self) -> float:
        """Difference of the part that nobody heard, in US dollars."""
        return self.now.wasted_usd - self.row.wasted_usd

    @property
    def unpriced(self) -> int:
        """Difference of the number of requests without a price."""
        return unpriced_requests(self.now.requests, self.now.status) - unpriced_requests(
            self.row.requests, self.row.status
        )


class CallChange(NamedTuple):
    """A call, and its rows with other costs.

    Args:
        call: As it is in the ledger.
        session: Its row with new sums.
        turns: Replies with new sums; only those that change.
        usage: Usage with new costs; only rows that change.
    """

    call: StoredCall
    session: SessionRow
    turns: Sequence[TurnRow]
    usage: Sequence[RowChange]


def repriced(call: StoredCall, span: Span, catalogue: Catalogue) -> CallChange | None:
    """Price some usage of a call again.

    Args:
        call: It is over.
        span: Rows to price again; the rest keeps its cost.
        catalogue: Prices in force.

    Returns:
        The changes, `None` where every cost stays the same.
    """
    changed = {
        row.id: change
        for row in call.usage
        if span.holds(row) and (change := _priced(row, catalogue)) is not None
    }
    if not changed:
        return None
    turns = [_with_cost(turn, changed.values()) for turn in call.turns]
    changed |= _wasted(call, turns, changed)
    turns = [_with_waste(turn, changed.values()) for turn in turns]
    session, counted = call.session, [each for each in changed.values() if _counts(each.row)]
    unassigned = sum(each.usd for each in counted if each.row.turn is None)
    return CallChange(
        call,
        replace(
            session,
            cost_usd=_settled(session.cost_usd + sum(each.usd for each in counted)),
            wasted_usd=_settled(session.wasted_usd + sum(each.wasted_usd for each in counted)),
            unpriced_requests=session.unpriced_requests + sum(each.unpriced for each in counted),
            unassigned_usd=max(0.0, _settled(session.unassigned_usd + unassigned)),
        ),
        [now for turn, now in zip(call.turns, turns, strict=True) if now != turn],
        list(changed.values()),
    )


def quote(row: UsageRow, catalogue: Catalogue) -> Quote:
    """Price a stored row with the prices of a catalogue."""
    return pricing.price(
        catalogue,
        stage=row.stage,
        provider=row.reported_provider,
        model=row.model,
        label=row.label,
        usage=row.usage,
        at=row.at,
        streamed=row.streamed,
        connection=row.connection,
        request_seconds=row.request_seconds,
    )


def _priced(row: UsageRow, catalogue: Catalogue) -> RowChange | None:
    """Price a row; `None` where it keeps its cost, as one does that the provider itself gave."""
    if row.price == pricing.VENDOR:
        return None
    new = quote(row, catalogue)
    cost = float(new.cost)
    now = replace(
        row,
        status=new.status,
        cost_usd=None if new.status == "unpriced" else cost,
        output_usd=float(new.output_cost),
        price=new.price_id,
        prices_version=catalogue.version,
        wasted_usd=cost if _useless(row) else _share(row.wasted_usd, row.cost_usd, cost),
    )
    same = (now.status, now.cost_usd, now.output_usd, now.price) == (
        row.status, row.cost_usd, row.output_usd, row.price
    )  # fmt: skip
    return None if same else RowChange(row, now)


def _wasted(
    call: StoredCall, turns: Sequence[TurnRow], changed: dict[int | None, RowChange]
) -> dict[int | None, RowChange]:
    """Work out the waste of replies whose cost changed.

    Waste of a known cost stays the same share of it.  Waste of a row that had no cost follows
    from the reply, as if the call ended now.
    """
    unfinished = {turn.speech for turn in waste.unfinished(turns, lost=call.session.incomplete)}
    found = {}
    for turn in turns:
        rows = [row for row in call.usage if row.speech == turn.speech and _counts(row)]
        if not any(row.id in changed for row in rows):
            continue
        why = waste.reason(turn) if turn.answered or turn.speech in unfinished else None
        priced = [changed[row.id].now if row.id in changed else row for row in rows]
        for row, now, usd in zip(rows, priced, waste.unheard(turn, priced), strict=True):
            if row.id not in changed:
                continue
            if row.cost_usd and turn.spoken and row.stage != "tts":
                # Only output is ever unheard: the input was needed either way.
                same = _share(row.wasted_usd, row.output_usd, now.output_usd)
                found[row.id] = RowChange(row, replace(now, wasted_usd=same))
            elif not row.cost_usd and why is not None and usd > 0:
                found[row.id] = RowChange(row, replace(now, waste_reason=why, wasted_usd=usd))
    return found


def _share(part: float, whole: float | None, other: float) -> float:
    """Scale a part of one whole to the same part of another."""
    return other * (part / whole) if whole else 0.0


def _useless(row: UsageRow) -> bool:
    """Return `True` for a row that had no cost and is wasted whatever it costs."""
    return not row.cost_usd and row.waste_reason not in {None, "interrupted"}


def _counts(row: UsageRow) -> bool:
    """Return `True` for a row in the cost of its call: estimates stand beside it."""
    return row.source == "reported"


def _with_cost(turn: TurnRow, changed: Iterable[RowChange]) -> TurnRow:
    more = sum(each.usd for each in changed if each.row.turn == turn.speech and _counts(each.row))
    return replace(turn, cost_usd=_settled(turn.cost_usd + more)) if more else turn


def _with_waste(turn: TurnRow, changed: Iterable[RowChange]) -> TurnRow:
    own = [each for each in changed if each.row.speech == turn.speech and _counts(each.row)]
    more = sum(each.wasted_usd for each in own)
    return replace(turn, wasted_usd=_settled(turn.wasted_usd + more)) if more else turn


def _settled(usd: float) -> float:
    return 0.0 if abs(usd) < DUST_USD else usd
