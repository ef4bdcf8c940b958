"""What other prices make of a call that is over.  Pure.

Costs change, and what was made of them: the sums of its turns and of the call, and the
part that nobody heard.  Usage that the ledger has is all that a cost needs, so a call
can be priced again as often as somebody corrects a price.
"""

from dataclasses import replace

from livekit_exporter.calls import waste
from livekit_exporter.ledger.repricing import (
    Call,
    CallChange,
    RowChange,
    TurnChange,
    Which,
    unpriced,
)
from livekit_exporter.ledger.rows import DUST_USD, TurnRow, UsageRow
from livekit_exporter.prices import pricing
from livekit_exporter.prices.catalogue import Catalogue


def repriced(call: Call, which: Which, catalogue: Catalogue) -> CallChange | None:
    """Price some usage of a call again.

    Args:
        call: It is over.
        which: What to price again; the rest keeps its cost.
        catalogue: Prices in force.

    Returns:
        What changes, `None` where every cost stays what it is.
    """
    changed: dict[int | None, RowChange] = {
        row.id: change
        for row in call.usage
        if which.holds(row)
        for change in _costs(row, catalogue)
    }
    if not changed:
        return None
    turns = [_with_cost(turn, changed) for turn in call.turns]
    changed |= _wasted(call, turns, changed)
    turns = [_with_waste(turn, changed) for turn in turns]
    before = {turn.speech: turn for turn in call.turns}
    session, counted = call.session, [each for each in changed.values() if _counts(each.row)]
    return CallChange(
        call,
        cost_usd=_settled(session.cost_usd + sum(map(_more, counted))),
        wasted_usd=_settled(session.wasted_usd + sum(map(_more_waste, counted))),
        unpriced_requests=session.unpriced_requests
        + sum(
            unpriced(each.row, each.now.status) - unpriced(each.row, each.row.status)
            for each in counted
        ),
        unassigned_usd=max(
            0.0,
            _settled(
                session.unassigned_usd
                + sum(_more(each) for each in counted if each.row.turn is None)
            ),
        ),
        turns=[
            TurnChange(turn.speech, turn.cost_usd, turn.wasted_usd)
            for turn in turns
            if turn != before[turn.speech]
        ],
        usage=list(changed.values()),
    )


def _costs(row: UsageRow, catalogue: Catalogue) -> list[RowChange]:
    """The new cost of a row, nothing where it is the old one."""
    quote = pricing.price(
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
    cost = float(quote.cost)
    now = replace(
        row,
        status=quote.status,
        cost_usd=None if quote.status == "unpriced" else cost,
        output_usd=float(quote.output_cost),
        price=quote.price_id,
        prices_version=catalogue.version,
        wasted_usd=cost if _useless(row) else _share(row.wasted_usd, row.cost_usd, cost),
    )
    same = (now.status, now.cost_usd, now.output_usd, now.price) == (
        row.status, row.cost_usd, row.output_usd, row.price
    )  # fmt: skip
    return [] if same else [RowChange(row, now)]


def _wasted(
    call: Call, turns: list[TurnRow], changed: dict[int | None, RowChange]
) -> dict[int | None, RowChange]:
    """The rows of replies that changed, with what of their new cost nobody heard.

    What was wasted of a cost stays the same share of it.  Of what had no cost, nobody
    knew: that is told from the reply, as if the call ended now.
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
                # The question was needed either way.
                same = _share(row.wasted_usd, row.output_usd, now.output_usd)
                found[row.id] = RowChange(row, replace(now, wasted_usd=same))
            elif not row.cost_usd and why is not None and usd > 0:
                found[row.id] = RowChange(row, replace(now, waste_reason=why, wasted_usd=usd))
    return found


def _share(part: float, whole: float | None, other: float) -> float:
    """What is of another whole what a part was of one."""
    return other * (part / whole) if whole else 0.0


def _useless(row: UsageRow) -> bool:
    """Whether it had no cost, and was for nothing whatever it costs."""
    return not row.cost_usd and row.waste_reason not in {None, "interrupted"}


def _counts(row: UsageRow) -> bool:
    """Whether a row is part of what a call costs: what is estimated is beside it."""
    return row.source == "reported"


def _with_cost(turn: TurnRow, changed: dict[int | None, RowChange]) -> TurnRow:
    more = sum(
        _more(each)
        for each in changed.values()
        if each.row.turn == turn.speech and _counts(each.row)
    )
    return replace(turn, cost_usd=_settled(turn.cost_usd + more)) if more else turn


def _with_waste(turn: TurnRow, changed: dict[int | None, RowChange]) -> TurnRow:
    more = sum(
        _more_waste(each)
        for each in changed.values()
        if each.row.speech == turn.speech and _counts(each.row)
    )
    return replace(turn, wasted_usd=_settled(turn.wasted_usd + more)) if more else turn


def _more(change: RowChange) -> float:
    return (change.now.cost_usd or 0.0) - (change.row.cost_usd or 0.0)


def _more_waste(change: RowChange) -> float:
    return change.now.wasted_usd - change.row.wasted_usd


def _settled(usd: float) -> float:
    return 0.0 if abs(usd) < DUST_USD else usd
