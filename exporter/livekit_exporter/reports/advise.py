"""Advice that saves money, drawn from the ledger's figures.

Each piece of advice rests on the usage of the period and states its assumptions.  The
thresholds below keep out chance and small change.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Final, TypeAlias

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.ledger.rows import UsageRow
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.rules import exact
from livekit_exporter.reports import alternatives, lines, reading, tallies, written
from livekit_exporter.reports.alternatives import Alternative
from livekit_exporter.reports.question import Question
from livekit_exporter.reports.report import Column, Report
from livekit_exporter.reports.tallies import ModelUsage, Tallies, UsedModel
from livekit_exporter.reports.written import counted

Rows: TypeAlias = Callable[[], Iterable[UsageRow]]
"""The same rows each time."""

LEAST_SHARE: Final = Decimal("0.01")
"""Share of the period's cost below which advice is left out: nobody changes an agent for less."""

LEAST_REQUESTS: Final = 100
"""Requests of an agent below which its means say little."""

LONG_PROMPT_FACTOR: Final = 2
"""Mean prompt against that of other agents from which it is long; some difference is normal."""

CACHED_GAP: Final = Decimal("0.1")
"""Difference of cached shares to report; smaller ones come and go with traffic."""

ASSUMED_CACHED_SHARE: Final = Decimal("0.5")
"""Assumed where no other agent can be compared with.  A voice agent's prompt begins with the same
instructions every turn, and half is what agents with long instructions easily reach."""

LEAST_CACHED_PROMPT: Final = 4096
"""Tokens from which every vendor caches: OpenAI documents 1,024 and Google up to 4,096."""

LEAST_DAYS: Final = 1.0
"""Days of data below which nothing is said of a month."""

_MONTH_DAYS: Final = 30
_DAY_SECONDS: Final = 86400.0
_ZERO: Final = Decimal(0)

_WASTED: Final = {
    "speculative": (
        "went into replies that were made ahead of the turn's end and thrown away: preemptive"
        " generation buys shorter waits with it; turn it off where they are short enough"
    ),
    "interrupted": (
        "went into what callers talked over and did not hear: shorter replies lose less"
    ),
}
_OTHER_WASTE: Final = "went into what nobody heard"

_COLUMNS: Final = (
    Column("kind", "Kind", detail=True),
    Column("about", "About", detail=True),
    Column("worth_usd", "Worth", "usd"),
    Column("worth_30d_usd", "In 30 days", "usd"),
    Column("advice", "Advice"),
)


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do.

    Args:
        kind: In a word or two.
        about: Model or agent.
        usd: What it would have saved in the period, `None` where that cannot be known.
        says: The figures behind it, and what to do.
    """

    kind: str
    about: str
    usd: Decimal | None
    says: str


def report(ledger: Snapshot, question: Question, catalogue: Catalogue, now: float) -> Report:
    """Report advice for a period, by the prices in force; `now` is in Unix seconds.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, question)

    def rows() -> Iterator[UsageRow]:
        return (row for _, row in reading.used(ledger, question))

    return advised(rows, question, catalogue, now)


def advised(rows: Rows, question: Question, catalogue: Catalogue, now: float) -> Report:
    """Make the report from usage rows."""
    found = tallies.tallied(rows(), catalogue)
    swaps = _alternatives(found, catalogue, min(now, question.period.until))
    given = [
        *unpriced(found),
        *cheaper(found, swaps, _savings(rows, swaps) if swaps else {}),
        *caching(found),
        *waste(found),
        *long_prompts(found),
        *minimums(found),
    ]
    least = found.usd * LEAST_SHARE
    kept = [each for each in given if each.usd is None or each.usd >= max(least, Decimal("1e-9"))]
    kept.sort(key=lambda each: (each.usd is not None, -(each.usd or _ZERO), each.about))
    shown, left = lines.shown(question, kept)
    days = _days(found, question, now)
    a_month = Decimal(_MONTH_DAYS / days) if days >= LEAST_DAYS else None
    return Report(
        title=question.title("Advice"),
        columns=_COLUMNS,
        rows=tuple(
            (
                each.kind,
                each.about,
                each.usd,
                each.usd * a_month if each.usd is not None and a_month is not None else None,
                each.says,
            )
            for each in shown
        ),
        notes=(*_notes(found, kept, days), *left),
        empty=(
            f"nothing to advise: {written.money(found.usd)} were spent, and nothing of it that"
            f" could be saved is worth {LEAST_SHARE:.0%}"
            if found.by_agent
            else f"nothing to advise: nothing was used, {question.period}"
        ),
    )


def _days(found: Tallies, question: Question, now: float) -> float:
    """Return the length in days of the part of the period that has data and is over."""
    begin = max(question.period.since, found.first or question.period.since)
    return (min(question.period.until, now) - begin) / _DAY_SECONDS


def _notes(found: Tallies, kept: list[Advice], days: float) -> list[str]:
    said = []
    if kept:
        said.append(
            f"{written.money(found.usd)} were spent in {days:.1f} days; advice worth less than"
            f" {LEAST_SHARE:.0%} of that is left out"
        )
    if sum(1 for each in kept if each.usd is not None) > 1:
        said.append("these overlap: a cheaper model wastes less, too, so do not add them up")
    if kept and days < LEAST_DAYS:
        said.append("less than a day of data says nothing of a month")
    return said


def unpriced(found: Tallies) -> Iterator[Advice]:
    """Advise to add prices for usage that has none; the saving is not known."""
    for model, agents in _by_model(found).items():
        requests = sum(tally.unpriced for tally in agents.values())
        if not requests:
            continue
        used = [
            f"{written.value('count', amount)} {unit}"
            for unit, amount in (
                ("tokens", sum(tally.tokens for tally in agents.values())),
                ("characters", sum(tally.characters for tally in agents.values())),
                ("seconds", round(sum(tally.seconds for tally in agents.values()))),
            )
            if amount
        ]
        yield Advice(
            "unpriced usage",
            str(model),
            None,
            f"{counted(requests, 'request')} to {model} ({', '.join(used) or 'odd usage'})"
            " without a price: what that cost is in no figure; add a price with 'prices.file'",
        )


def cheaper(
    found: Tallies, swaps: Mapping[UsedModel, Alternative], savings: Mapping[UsedModel, Decimal]
) -> Iterator[Advice]:
    """Advise a cheaper model of the same provider, priced event by event."""
    for model, usd in savings.items():
        spent = sum(tally.usd for tally in _by_model(found)[model].values())
        if usd < spent * alternatives.CHEAPER_SHARE:
            continue
        swap = swaps[model]
        what = (
            "another version of the same line"
            if swap.kind == "line"
            else "the next cheaper one of its family"
        )
        more = f", with {swap.more} cheaper still" if swap.more else ""
        yield Advice(
            "cheaper model",
            str(model),
            usd,
            f"{swap.entry.id}, {what}{more}, would have cost {written.money(spent - usd)} in place"
            f" of {written.money(spent)} for the same usage of {model}: whether it is good enough,"
            " and needs no more of it, must be tried",
        )


def _alternatives(found: Tallies, catalogue: Catalogue, at: float) -> dict[UsedModel, Alternative]:
    swaps = {}
    for model, agents in _by_model(found).items():
        entry = found.entries.get(model)
        billed: dict[str, Decimal] = {}
        for tally in agents.values():
            for unit, quantity in tally.billed.items():
                billed[unit] = billed.get(unit, _ZERO) + quantity
        swap = alternatives.cheaper(catalogue, entry, billed, at) if entry is not None else None
        if swap is not None:
            swaps[model] = swap
    return swaps


def _savings(rows: Rows, swaps: Mapping[UsedModel, Alternative]) -> dict[UsedModel, Decimal]:
    """Compute the saving of each alternative; drop those that cannot price every event."""
    saved = dict.fromkeys(swaps, _ZERO)
    for row in rows():
        model = UsedModel(row.stage, row.provider, row.model)
        if model not in saved or row.source != "reported" or row.cost_usd is None:
            continue
        quote = tallies.quote(swaps[model].entry, row)
        if quote.status == "unpriced":
            del saved[model]
        else:
            saved[model] += exact(row.cost_usd) - quote.cost
    return saved


def caching(found: Tallies) -> Iterator[Advice]:
    """Advise more caching of input where other agents have it, or long prompts allow it."""
    for model, agents in _by_model(found).items():
        enough = {
            agent: tally
            for agent, tally in agents.items()
            if tally.prompts >= LEAST_REQUESTS and tally.cacheable_usd
        }
        for agent, tally in enough.items():
            share = _cached_share(tally)
            other = max(
                (each for each in agents if agents[each].prompts >= LEAST_REQUESTS),
                key=lambda each: _cached_share(agents[each]),
            )
            best = _cached_share(agents[other])
            if best - share >= CACHED_GAP:
                target, why = best, f"'{other}' has {best:.0%}"
            elif (
                ASSUMED_CACHED_SHARE - share >= CACHED_GAP
                and tally.asked >= LEAST_CACHED_PROMPT * tally.prompts
            ):
                target = ASSUMED_CACHED_SHARE
                why = f"no other agent has more to compare with; {target:.0%} are assumed"
            else:
                continue
            # The rest would shrink alike in every request.
            usd = tally.cacheable_usd * (target - share) / (1 - share)
            yield Advice(
                "low cached share",
                f"{agent}, {model}",
                usd,
                f"'{agent}' gets {share:.0%} of its input to {model} from the cache, {why}: keep"
                " the beginning of the prompt the same from turn to turn, and ask for caching where"
                " the vendor wants that",
            )


def _cached_share(tally: ModelUsage) -> Decimal:
    return Decimal(tally.cached) / tally.asked if tally.asked else _ZERO


def waste(found: Tallies) -> Iterator[Advice]:
    """Report the cost of replies that no caller heard, by reason."""
    by_reason: dict[str, dict[str, Decimal]] = {}
    for (_, agent), tally in found.by_agent.items():
        for reason, usd in tally.wasted.items():
            agents = by_reason.setdefault(reason, {})
            agents[agent] = agents.get(agent, _ZERO) + usd
    for reason, agents in by_reason.items():
        usd = sum(agents.values(), _ZERO)
        worst = max(agents, key=lambda agent: (agents[agent], agent))
        of_whom = f", {agents[worst] / usd:.0%} of it by '{worst}'" if len(agents) > 1 else ""
        yield Advice(
            f"{reason} replies",
            worst,
            usd,
            f"{written.money(usd)} ({usd / (found.usd or usd):.0%} of the cost{of_whom})"
            f" {_WASTED.get(reason, _OTHER_WASTE)}",
        )


def long_prompts(found: Tallies) -> Iterator[Advice]:
    """Advise shorter prompts to an agent with far more input per request than others."""
    for model, agents in _by_model(found).items():
        means = {
            agent: tally.asked / tally.prompts
            for agent, tally in agents.items()
            if tally.prompts >= LEAST_REQUESTS
        }
        for agent, mean in means.items():
            others = [each for other, each in means.items() if other != agent]
            usual = median(others) if others else mean
            if mean <= LONG_PROMPT_FACTOR * usual:
                continue
            tally = agents[agent]
            yield Advice(
                "long prompts",
                f"{agent}, {model}",
                tally.input_usd * exact(1 - usual / mean),
                f"'{agent}' sends {written.value('count', round(mean))} input tokens per request to"
                f" {model}, other agents {written.value('count', round(usual))} (median): shorten"
                " its instructions, tools or history",
            )


def minimums(found: Tallies) -> Iterator[Advice]:
    """Report seconds that are billed but not used, because requests or calls are rounded up."""
    for model, agents in _by_model(found).items():
        usd = sum((tally.minimum_usd for tally in agents.values()), _ZERO)
        if not usd:
            continue
        lost = sum((tally.minimum_seconds for tally in agents.values()), _ZERO)
        used = sum((tally.used_seconds for tally in agents.values()), _ZERO)
        entry = found.entries[model]
        rule = (
            f"bills at least {entry.min_seconds:f} s a request"
            if entry.min_seconds
            else f"bills calls in steps of {entry.round_up_seconds} s"
        )
        yield Advice(
            "minimum per request" if entry.min_seconds else "rounding",
            str(model),
            usd,
            f"{model} {rule}: {_hours(lost + used)} were billed where {_hours(used)} were used;"
            " longer requests, or a model without that rule, lose less",
        )


def _hours(seconds: Decimal) -> str:
    return f"{seconds / 3600:,.1f} h"


def _by_model(found: Tallies) -> dict[UsedModel, dict[str, ModelUsage]]:
    models: dict[UsedModel, dict[str, ModelUsage]] = {}
    for (model, agent), tally in found.by_agent.items():
        models.setdefault(model, {})[agent] = tally
    return models
