"""The cost of the same usage with other models or other prices.

Every event is priced by itself, at its own time, with the code that priced it when it
happened.  Events that cannot be priced that way are left out on both sides, with a note.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Final, TypeAlias, get_args

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.ledger.rows import UsageRow
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.entries import Entry
from livekit_exporter.prices.pricing import WHY, Quote, Why
from livekit_exporter.prices.rules import exact
from livekit_exporter.record import Stage, at_least_one
from livekit_exporter.reports import lines, reading, tallies, written
from livekit_exporter.reports.period import suggestion
from livekit_exporter.reports.question import Question, QuestionError
from livekit_exporter.reports.reading import Group
from livekit_exporter.reports.report import Chart, Column, Report, Value
from livekit_exporter.reports.written import counted

Rows: TypeAlias = Iterable[tuple[Group, UsageRow]]
Pricer: TypeAlias = Callable[[UsageRow], Quote | None]
"""Prices a usage row anew; returns `None` where nothing changes for it."""

_NAMED: Final = 5
_BARS: Final = 20

_COLUMNS: Final = (
    Column("requests", "Requests", "count"),
    Column("cost_usd", "Cost", "usd"),
    Column("would_cost_usd", "Would cost", "usd"),
    Column("difference_usd", "Difference", "usd"),
    Column("difference_share", "Share", "share"),
    # In the notes, for people.
    Column("not_comparable_usd", "Not comparable", "usd", detail=True),
    Column("newly_priced_usd", "Newly priced", "usd", detail=True),
    Column("unpriced_requests", "Unpriced", "count", detail=True),
)


@dataclass(frozen=True, slots=True)
class Swap:
    """All usage of a stage, priced as another model's.

    Args:
        name: The model as it was asked for, `provider/model`.
        entry: Its prices.
    """

    name: str
    entry: Entry


@dataclass(slots=True)
class CostPair:
    """Two costs of the same usage; only of events of which both are known.

    Args:
        requests: Provider requests, compared or not.
        compared: Events of which both costs are known.
        cost: US dollars, as the ledger has it.
        would_cost: US dollars.
        not_comparable: US dollars of what cannot be priced the new way.
        newly_priced: US dollars the new way of what has no price in the ledger.
        unpriced: Requests without a price in either way.
    """

    requests: int = 0
    compared: int = 0
    cost: Decimal = Decimal(0)
    would_cost: Decimal = Decimal(0)
    not_comparable: Decimal = Decimal(0)
    newly_priced: Decimal = Decimal(0)
    unpriced: int = 0

    @property
    def difference(self) -> Decimal:
        """US dollars more than the ledger has."""
        return self.would_cost - self.cost


@dataclass(slots=True)
class _LeftOut:
    requests: int = 0
    usd: Decimal = Decimal(0)

    def add(self, row: UsageRow, usd: Decimal) -> None:
        self.requests += at_least_one(row.requests)
        self.usd += usd


@dataclass(slots=True)
class _Facts:
    """Facts to note beside the figures."""

    left_out: dict[tuple[str, str, Why], _LeftOut] = field(default_factory=dict)
    anew: dict[str, _LeftOut] = field(default_factory=dict)
    without_minimum: dict[str, int] = field(default_factory=dict)
    tokens: bool = False
    estimated: Decimal = Decimal(0)


def swaps(texts: Sequence[str], catalogue: Catalogue) -> dict[str, Swap]:
    """Read `stage=provider/model` texts.

    The model may also be named by the id of its entry, where the two differ.

    Raises:
        QuestionError: One has another form, or the catalogue has no price for it.
    """
    read: dict[str, Swap] = {}
    for text in texts:
        before, equals, name = text.partition("=")
        stage = next((each for each in get_args(Stage) if each == before.strip()), None)
        provider, slash, model = name.strip().partition("/")
        if not (equals and slash and provider and model):
            raise QuestionError(
                f"'{text}' is not of the form 'stage=provider/model', such as"
                " 'llm=groq/llama-3.3-70b-versatile'"
            )
        if stage is None:
            known = get_args(Stage)
            remedy = suggestion(before.strip(), known) or f"use {', '.join(known)}"
            raise QuestionError(f"'{before}' is no stage; {remedy}")
        if stage in read:
            raise QuestionError(f"'{stage}' is swapped twice; name one model for it")
        named = catalogue.entries.get(name.strip())
        if named is not None and named.stage != stage:
            named = None
        entry = catalogue.find(stage, provider, model) or named
        if entry is None:
            raise QuestionError(_unknown(stage, name.strip(), catalogue))
        read[stage] = Swap(name.strip(), entry)
    return read


def _unknown(stage: str, name: str, catalogue: Catalogue) -> str:
    other = catalogue.entries.get(name)
    if other is not None and other.stage != stage:
        return f"'{name}' is a model of stage '{other.stage}'; write '{other.stage}={name}'"
    known = [entry.id for entry in catalogue.entries.values() if entry.stage == stage]
    remedy = (
        suggestion(name, known) or "see docs/prices.md for those it has, or give one with --prices"
    )
    return f"the catalogue has no price for '{name}' in stage '{stage}'; {remedy}"


def pricer(swapped: Mapping[str, Swap], catalogue: Catalogue | None) -> Pricer:
    """Return a function that prices a usage row anew.

    Args:
        swapped: Models to price it as, by its stage.
        catalogue: Prices for all other usage; `None` leaves that as it is.
    """
    entries = {stage: swap.entry for stage, swap in swapped.items()}

    def price(row: UsageRow) -> Quote | None:
        entry = entries.get(row.stage)
        if entry is None:
            if catalogue is None:
                return None
            entry = catalogue.find(row.stage, row.reported_provider, row.model, row.label)
        return tallies.quote(entry, row)

    return price


def report(
    ledger: Snapshot,
    question: Question,
    swapped: Mapping[str, Swap],
    catalogue: Catalogue | None,
) -> Report:
    """Report the cost of a period's usage with other models or prices, as `pricer` takes them.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)
    return compared(reading.used(ledger, question), question, swapped, catalogue)


def compared(
    rows: Rows,
    question: Question,
    swapped: Mapping[str, Swap],
    catalogue: Catalogue | None,
) -> Report:
    """Make the report from usage rows."""
    price = pricer(swapped, catalogue)
    found: dict[Group, CostPair] = {}
    told = _Facts()
    for group, row in rows:
        if row.source != "reported":
            told.estimated += exact(row.cost_usd or 0.0)
            continue
        into = found.get(group)
        if into is None:
            into = found[group] = CostPair()
        into.requests += row.requests
        quote = price(row)
        swap = swapped.get(row.stage)
        if quote is not None and swap is not None:
            _note(told, row, quote, swap)
        _compare(into, told, row, quote, swap.name if swap else f"{row.provider}/{row.model}")
    total = CostPair(
        *(sum(getattr(each, name.name) for each in found.values()) for name in fields(CostPair))
    )
    return lines.report(
        question,
        _subject(swapped, other_prices=catalogue is not None),
        _COLUMNS,
        {group: float(abs(each.difference)) for group, each in found.items()},
        lambda group: _line(found[group]),
        totals=_line(total) if question.by else None,
        notes=(),
        charts=(_chart(question, found),),
        empty="nothing was used",
        before=_notes(told, total),
    )


def _note(told: _Facts, row: UsageRow, quote: Quote, swap: Swap) -> None:
    """Remember what makes a swap less than exact."""
    if quote.status != "priced" or quote.source is None:
        return
    if quote.source.basis == "tokens":
        told.tokens = told.tokens or (row.provider, row.model) != tuple(swap.name.split("/", 1))
    elif row.streamed and swap.entry.min_seconds:
        told.without_minimum[swap.name] = told.without_minimum.get(swap.name, 0) + 1


def _compare(into: CostPair, told: _Facts, row: UsageRow, quote: Quote | None, name: str) -> None:
    known = new = None if row.cost_usd is None else exact(row.cost_usd)
    if quote is not None:
        # As the ledger would keep it, so that equal costs are equal.
        new = None if quote.status == "unpriced" else exact(float(quote.cost))
    model = f"{row.provider}/{row.model}"
    if known is not None and new is not None:
        into.compared += 1
        into.cost += known
        into.would_cost += new
    elif new is not None:
        into.newly_priced += new
        told.anew.setdefault(model, _LeftOut()).add(row, new)
    elif known is not None and quote is not None:
        into.not_comparable += known
        told.left_out.setdefault((model, name, quote.why), _LeftOut()).add(row, known)
    else:
        into.unpriced += at_least_one(row.requests)


def _line(each: CostPair) -> tuple[Value, ...]:
    known = each.compared > 0
    return (
        each.requests,
        each.cost if known else None,
        each.would_cost if known else None,
        each.difference if known else None,
        each.difference / each.cost if each.cost else None,
        each.not_comparable,
        each.newly_priced,
        each.unpriced,
    )


def _subject(swapped: Mapping[str, Swap], *, other_prices: bool) -> str:
    said = [f"{stage}={swap.name}" for stage, swap in swapped.items()]
    return f"What if {', '.join([*said, *(['other prices'] if other_prices else [])])}"


def _notes(told: _Facts, total: CostPair) -> list[str]:
    said = []
    worst = sorted(told.left_out.items(), key=lambda item: (-item[1].usd, item[0]))
    for (model, name, why), left in worst[:_NAMED]:
        as_what = f" as '{name}'" if name != model else ""
        said.append(
            f"{counted(left.requests, 'request')} of '{model}' ({written.money(left.usd)}) cannot"
            f" be priced{as_what}: {WHY[why]}; left out of cost and would cost"
        )
    if len(worst) > _NAMED:
        rest = sum(left.requests for _, left in worst[_NAMED:])
        more = f"{counted(rest, 'request')} of {len(worst) - _NAMED} more kinds"
        said.append(f"{more} cannot be priced that way and are left out")
    for model, left in sorted(told.anew.items(), key=lambda item: -item[1].usd)[:_NAMED]:
        said.append(
            f"{counted(left.requests, 'request')} of '{model}' without a price in the ledger would"
            f" cost {written.money(left.usd)}; newly priced, so not in the difference"
        )
    if total.unpriced:
        said.append(f"{counted(total.unpriced, 'request')} without a price either way")
    for name, reports in told.without_minimum.items():
        said.append(
            f"'{name}' bills a minimum per request; {counted(reports, 'report')} of streams are no"
            " requests and are priced without it, so it would cost more"
        )
    if told.tokens:
        said.append(
            "tokens are those that the used model counted; another one splits the same text into"
            " more or fewer"
        )
    if told.estimated:
        said.append(f"{written.money(told.estimated)} of estimated cost are not in it")
    return said


def _chart(question: Question, found: Mapping[Group, CostPair]) -> Chart:
    largest = sorted(found, key=lambda group: -found[group].cost)[:_BARS]
    return Chart(
        "bars",
        f"Cost by {', '.join(question.by)}" if question.by else "Cost",
        "usd",
        tuple(map(lines.name, largest)),
        (
            ("cost", tuple(float(found[group].cost) for group in largest)),
            ("would cost", tuple(float(found[group].would_cost) for group in largest)),
        ),
    )
