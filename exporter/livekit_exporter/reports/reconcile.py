"""The ledger compared with a provider's usage export."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias, get_args

from livekit_exporter.ledger.queries import Snapshot
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.rules import exact
from livekit_exporter.record import Stage
from livekit_exporter.reports import lines, reading, written
from livekit_exporter.reports.exports import UNITS, USD, Export, Unit
from livekit_exporter.reports.period import Period
from livekit_exporter.reports.question import Question, QuestionError
from livekit_exporter.reports.reading import Group, Numbers, counted
from livekit_exporter.reports.report import Chart, Column, Kind, Report, Value

Key: TypeAlias = tuple[str, Group]
"""Name of the unit, and the values of day, provider and model that are asked for."""

_DATED: Final = re.compile(r"-(?:20[0-9]{2}-[0-9]{2}-[0-9]{2}|20[0-9]{6})$")
_BY: Final = ("day", "provider", "model")
_NAMED: Final = 20
_ZERO: Final = Decimal(0)


class Pair(NamedTuple):
    """One amount twice; `None` where a side has nothing of it.

    Args:
        ledger: What LiveKit reported.
        estimated: What it did not report and is estimated; not in `ledger`.
        billed: What the file says.
    """

    ledger: Decimal | None = None
    estimated: Decimal | None = None
    billed: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ModelNames:
    """What a model is called on both sides.

    A provider bills the dated snapshot behind the name that an agent asked for, and some
    plugins report a voice; the catalogue knows which are one price.

    Args:
        catalogue: To look models up.
        provider: Whose models they are.
        given: Names of the ledger by names of the file, as a person gave them.
    """

    catalogue: Catalogue
    provider: str
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, model: str | None) -> str | None:
        """One name for what is one price; a name that nobody knows stays as it is."""
        if model is None:
            return None
        model = self.given.get(model, model)
        for name in (model, _DATED.sub("", model)):
            for stage in get_args(Stage):
                entry = self.catalogue.find(stage, self.provider, name)
                if entry is not None:
                    return entry.id.partition("/")[2]
        return model


def provider(asked: Question, known: str | None) -> str:
    """Find out which provider an export is from.

    Args:
        asked: The question, whose filter may name it.
        known: Provider that the columns of the file identify.

    Raises:
        QuestionError: Neither names one.
    """
    named = asked.only.get("provider", ())
    if len(named) > 1:
        raise QuestionError("an export is one provider's; give --provider once")
    if named:
        return named[0]
    if known is None:
        raise QuestionError("say whose export it is, such as --provider deepgram")
    return known


def question(asked: Question, export: Export, *, bounded: bool) -> Question:
    """Limit a question to the days of a file.

    Args:
        asked: The question.
        export: The file.
        bounded: A period was asked for, of which whole days count; else it is the file's.

    Raises:
        QuestionError: It is divided by something that files do not say, or no day of the
            file is in the period.
    """
    if not asked.by or not set(asked.by) <= set(_BY):
        raise QuestionError(f"a file is compared by {', '.join(_BY)}, or some of these")
    zone = asked.period.zone
    first, last = export.first or date.max, export.last or date.min
    if bounded:
        since, until = (
            datetime.fromtimestamp(at, zone) for at in (asked.period.since, asked.period.until)
        )
        first = max(first, since.date() + timedelta(days=since.time() != time()))
        last = min(last, until.date() - timedelta(days=1))
    if first > last:
        raise QuestionError(
            f"the file is about {export.first} to {export.last}; no day of it is in the period"
        )
    begin, end = (
        datetime.combine(day, time(), zone).timestamp() for day in (first, last + timedelta(days=1))
    )
    return replace(asked, period=Period(begin, end, zone))


def report(
    ledger: Snapshot,
    asked: Question,
    export: Export,
    names: ModelNames,
    tolerance: Decimal,
) -> tuple[Report, bool]:
    """Compare the ledger with a file.

    Args:
        ledger: Snapshot to read.
        asked: Period, filters and groups; see `question`.
        export: The file.
        names: Names of the models.
        tolerance: Share of the file's amount up to which a difference is accepted.

    Returns:
        The report, and True if both sides agree.

    Raises:
        QuestionError: A label is asked for that no call has.
    """
    reading.check_labels(ledger, asked)
    sums = tuple(dict.fromkeys(name for unit in export.units for name in unit.sums))
    by_all = replace(asked, by=("day", "model"), only={**asked.only, "provider": (names.provider,)})
    answer = reading.usage(ledger, by_all, sums)
    pairs: dict[Key, Pair] = {}
    place = _placing(asked, names)
    for unit in export.units:
        for group, numbers in answer.reported.items():
            _add(pairs, (unit.name, place(*group)), Pair(ledger=_amount(numbers, unit)))
        for group, numbers in answer.estimated.items():
            _add(pairs, (unit.name, place(*group)), Pair(estimated=_amount(numbers, unit)))
    renamed: dict[str, str] = {}
    first, last = asked.period.day(asked.period.since), asked.period.day(asked.period.until - 1)
    for (unit_name, day, model), quantity in export.amounts.items():
        if first <= day <= last:
            name = names.of(model)
            if model is not None and name is not None and name != model:
                renamed[model] = name
            _add(pairs, (unit_name, place(day, model)), Pair(billed=quantity))
    notes = [*_said_of_names(renamed), *reading.notes(ledger, by_all)]
    return compared(asked, pairs, export.mistakes, tolerance, notes)


def compared(
    asked: Question,
    pairs: Mapping[Key, Pair],
    mistakes: Sequence[str],
    tolerance: Decimal,
    notes: Sequence[str] = (),
) -> tuple[Report, bool]:
    """The answer, from amounts of both sides.

    Args:
        asked: What was asked.
        pairs: Amounts by unit and group; those that are zero on both sides say nothing.
        mistakes: Lines of the file that could not be read.
        tolerance: Share of the file's amount that is no difference.
        notes: What has to be said of the ledger.
    """
    shown = {key: pair for key, pair in pairs.items() if any(pair)}
    units = [name for name in UNITS if any(unit == name for unit, _ in shown)]
    one = len(units) == 1
    kind: Kind = "usd" if units == [USD.name] else "ratio" if one else "count"
    kept, left = lines.shown(asked, _ordered(asked, shown, units))
    measures = (
        Column("unit", "Unit", detail=one),
        Column("ledger", "Ledger", kind),
        Column("estimated", "Estimated", kind, sparse=True),
        Column("file", "File", kind),
        Column("difference", "Ledger - file", kind),
        Column("ratio", "Ratio", "ratio"),
        Column("verdict", "Ledger is"),
    )
    total = _total(shown.values())
    report = Report(
        title=asked.title("Ledger against the file"),
        columns=(*lines.columns(asked, [each.name for each in measures]), *measures),
        rows=tuple((*group, *_line(unit, shown[unit, group], tolerance)) for unit, group in kept),
        totals=(*(None for _ in asked.by), *_line(units[0], total, tolerance)) if one else None,
        notes=(
            *_mistakes(mistakes),
            *(_overall(units[0], total) if one else ()),
            *_one_sided(shown, units),
            *left,
            *notes,
        ),
        charts=(_chart(asked, shown, kind),) if one else (),
        empty=f"neither side has anything: {asked.period}",
    )
    return report, not mistakes and all(_agrees(pair, tolerance) for pair in shown.values())


def _ordered(asked: Question, shown: Mapping[Key, Pair], units: Sequence[str]) -> list[Key]:
    """By day, unit, then the largest first."""
    ordered: list[Key] = []
    for unit in units:
        sizes = {
            group: float(max(pair.ledger or _ZERO, pair.billed or _ZERO))
            for (of, group), pair in shown.items()
            if of == unit
        }
        ordered += [(unit, group) for group in lines.arranged(asked, sizes)]
    if "day" in asked.by:
        at = asked.by.index("day")
        ordered.sort(key=lambda key: key[1][at] or "")
    return ordered


def _placing(asked: Question, names: ModelNames) -> Callable[[str | None, str | None], Group]:
    def place(day: str | None, model: str | None) -> Group:
        values = {"day": day, "provider": names.provider, "model": names.of(model)}
        return tuple(values[name] for name in asked.by)

    return place


def _amount(numbers: Numbers, unit: Unit) -> Decimal:
    return sum((exact(numbers[name]) for name in unit.sums), _ZERO) / unit.per


def _add(pairs: dict[Key, Pair], key: Key, more: Pair) -> None:
    pairs[key] = _total((pairs.get(key, Pair()), more))


def _total(pairs: Iterable[Pair]) -> Pair:
    """Sums of each side; of a side that has nothing, nothing."""
    total = Pair()
    for pair in pairs:
        total = Pair(
            *(
                second if first is None else first if second is None else first + second
                for first, second in zip(total, pair, strict=True)
            )
        )
    return total


def _line(unit: str, pair: Pair, tolerance: Decimal) -> tuple[Value, ...]:
    ledger, billed = pair.ledger or _ZERO, pair.billed or _ZERO
    return (
        unit,
        pair.ledger,
        pair.estimated,
        pair.billed,
        ledger - billed,
        ledger / billed if billed and pair.ledger is not None else None,
        _verdict(pair, tolerance),
    )


def _agrees(pair: Pair, tolerance: Decimal) -> bool:
    ledger, billed = pair.ledger or _ZERO, pair.billed or _ZERO
    return abs(ledger - billed) <= tolerance * billed


def _verdict(pair: Pair, tolerance: Decimal) -> str:
    ledger, billed = pair.ledger or _ZERO, pair.billed or _ZERO
    if ledger == billed:
        return "equal"
    if not billed:
        return "ledger only"
    if not ledger:
        return "file only"
    if _agrees(pair, tolerance):
        return "tolerated"
    return "larger" if ledger > billed else "smaller"


def _overall(unit: str, total: Pair) -> list[str]:
    """Say which side is larger, and by how much."""
    ledger, billed = total.ledger or _ZERO, total.billed or _ZERO
    if ledger == billed:
        return ["both sides come to the same"]
    than = "larger" if ledger > billed else "smaller"
    share = f", {abs(ledger - billed) / billed:.1%} of it" if billed else ""
    return [f"the ledger is {than} than the file by {_quantity(unit, abs(ledger - billed))}{share}"]


def _quantity(unit: str, amount: Decimal) -> str:
    if unit == USD.name:
        return written.money(amount)
    return f"{written.value('ratio', amount)} {unit}"


def _mistakes(mistakes: Sequence[str]) -> list[str]:
    said = [f"{mistake}; left out" for mistake in mistakes[:_NAMED]]
    if len(mistakes) > _NAMED:
        said.append(f"{counted(len(mistakes) - _NAMED, 'more line')} could not be read")
    return said


def _one_sided(shown: Mapping[Key, Pair], units: Sequence[str]) -> list[str]:
    """Say how much one side has that the other has not."""
    said = []
    for unit in units:
        pairs = [pair for (of, _), pair in shown.items() if of == unit]
        for side, missing, alone in (
            ("ledger", "file", [pair.ledger for pair in pairs if not pair.billed]),
            ("file", "ledger", [pair.billed for pair in pairs if not pair.ledger]),
        ):
            amounts = [amount for amount in alone if amount]
            if amounts:
                quantity = _quantity(unit, sum(amounts, _ZERO))
                said.append(
                    f"{counted(len(amounts), 'line')} of the {side}, {quantity}, not in the"
                    f" {missing}"
                )
    return said


def _said_of_names(renamed: Mapping[str, str]) -> list[str]:
    named = [f"'{model}' as '{name}'" for model, name in sorted(renamed.items())]
    if not named:
        return []
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return [f"the file's names are those of one price: {', '.join(named[:_NAMED])}{more}"]


def _chart(asked: Question, shown: Mapping[Key, Pair], kind: Kind) -> Chart:
    """Both sides by day, or by what the answer is divided by."""
    at = asked.by.index("day") if "day" in asked.by else None
    sides: dict[str, Pair] = {}
    for (_, group), pair in shown.items():
        label = lines.name(group) if at is None else group[at] or ""
        sides[label] = _total((sides.get(label, Pair()), pair))
    labels = tuple(sorted(sides))
    return Chart(
        "bars" if at is None else "line",
        "Ledger and file",
        kind,
        labels,
        (
            ("ledger", tuple(float(sides[label].ledger or 0) for label in labels)),
            ("file", tuple(float(sides[label].billed or 0) for label in labels)),
        ),
    )
