"""An overlay price file with what a list says, for a person to review."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import yaml

from livekit_exporter.prices.compare.differences import Comparison, Place
from livekit_exporter.prices.compare.output import unit_of
from livekit_exporter.prices.compare.price_list import PriceList, per, stated
from livekit_exporter.prices.entries import Charges, Window, second_of_day
from livekit_exporter.prices.files.check import PriceFile
from livekit_exporter.prices.files.compile import compiled, parse
from livekit_exporter.prices.files.located import Items, Located, Table, Text
from livekit_exporter.prices.files.overlay import merged
from livekit_exporter.prices.units import KINDS, TOKEN_UNIT, Modality

_SECTIONS: Final[Mapping[Modality, str]] = {
    "text": "per_1m",
    "audio": "audio_per_1m",
    "image": "image_per_1m",
}
_MODALITIES: Final = (_SECTIONS["audio"], _SECTIONS["image"])
_TOKENS: Final = {
    unit: (_SECTIONS[modality], kind) for (kind, modality), unit in TOKEN_UNIT.items()
}
_OF_MODALITY: Final = frozenset(unit for unit, (name, _) in _TOKENS.items() if name in _MODALITIES)
_TIERS: Final = "above_input_tokens"
_WINDOWS: Final = "time_of_day"
_DERIVED: Final = ("cached_input", "cache_write")
_RATE: Final = {60: "per_minute", 1_000_000: "per_1m_chars"}
_RATES: Final = ("per_", "credits_per_")

_FIGURES: Final = frozenset(KINDS)
_TAG: Final = "tag:yaml.org,2002:"


def proposal(
    files: Sequence[PriceFile], comparison: Comparison, price_list: PriceList, at: datetime
) -> str:
    """Write the entries that differ as an overlay of the files they are from.

    The block in force gets every figure that the list has for the entry, with the list as
    source and the day; in a block with hours of the day those hours get them.  What the list
    does not say, and every other block, stays.  A price for which the list has several
    figures stays too, and a comment names it.

    Args:
        files: Our price files, the operator's own among them.
        comparison: What came of them and the list.
        price_list: The list.
        at: The instant whose prices were compared, UTC.

    Returns:
        Text that `prices check` accepts; `""` where there is nothing to propose.

    Raises:
        PriceFileError: The list's figures make no valid price file.
    """
    wanted = {one.place.price_id for one in comparison.differ if one.settled}
    if not wanted:
        return ""
    figures = {one.place: one.theirs for one in comparison.differ if one.settled}
    # Those that agree too: a changed price may be the one that they follow from.
    figures |= {place: usd for place, usd in comparison.agree.items() if place.price_id in wanted}
    entries = Items(
        tuple(
            _changed(
                entry,
                {place: usd for place, usd in figures.items() if place.price_id == id_},
                price_list,
                at,
            )
            for id_, entry in _entries(files)
            if id_ in wanted
        ),
        0,
    )
    head = f"# {price_list.name}, prices of {at.date()}, where they differ. Review before use.\n"
    for place in sorted({one.place for one in comparison.differ if not one.settled}):
        head += f"# Left as it is, the source has several: {place.price_id}, {unit_of(place)}\n"
    root = _table(schema=Text("1", 0), currency=Text("USD", 0), entries=entries)
    text = head + yaml.serialize(_node(root), Dumper=yaml.BaseDumper, width=100)
    compiled(merged(list(files), parse(text, "the proposed prices")))
    return text


def _entries(files: Iterable[PriceFile]) -> Iterator[tuple[str, Table]]:
    for file in files:
        listed = file.root.values.get("entries") if isinstance(file.root, Table) else None
        for entry in _items(listed):
            yield _text(entry, "id"), entry


def _changed(
    entry: Table, figures: Mapping[Place, Decimal], price_list: PriceList, at: datetime
) -> Table:
    """The whole entry with the list's figures, so that it stands without its file."""
    tokens = {place: usd for place, usd in figures.items() if place.unit in _TOKENS}
    others = {place: usd for place, usd in figures.items() if place.unit not in _TOKENS}
    for given in (tokens, others):
        if not given:
            continue
        fallback = entry.values.get("fallback")
        if isinstance(fallback, Table) and (_text(entry, "basis") == "tokens") != (given is tokens):
            entry = _with(entry, "fallback", _tariff(fallback, given, price_list, at))
        else:
            entry = _tariff(entry, given, price_list, at)
    return entry


def _tariff(
    tariff: Table, figures: Mapping[Place, Decimal], price_list: PriceList, at: datetime
) -> Table:
    blocks = list(_items(tariff.values["prices"]))
    # Oldest first, and only the first may have no start.
    number = max(
        number
        for number, block in enumerate(blocks)
        if _text(block, "valid_from", "0") <= at.date().isoformat()
    )
    block = _block(blocks[number], figures, at)
    block = _with(block, "source", Text(price_list.name, 0))
    blocks[number] = _with(block, "checked", Text(at.date().isoformat(), 0))
    return _with(tariff, "prices", Items(tuple(blocks), 0))


def _block(block: Table, figures: Mapping[Place, Decimal], at: datetime) -> Table:
    windows = list(_items(block.values.get(_WINDOWS)))
    second = at.hour * 3600 + at.minute * 60
    for number, window in enumerate(windows):
        start, end = (second_of_day(_text(window, key)) for key in ("from", "until"))
        if Window(start, end, Charges()).holds(second):
            windows[number] = _charges(window, figures)
            break
    else:
        block = _charges(block, figures)
        windows = [_completed(window, block) for window in windows]
    return _with(block, _WINDOWS, Items(tuple(windows), 0)) if windows else block


def _charges(table: Table, figures: Mapping[Place, Decimal]) -> Table:
    for place in sorted(figures, key=lambda place: (place.over, place.unit in _OF_MODALITY)):
        figure = Text(f"{stated(figures[place], place.unit).normalize():f}", 0)
        if place.unit in _TOKENS:
            table = _with_tokens(table, place, figure)
        else:
            kept = {key: node for key, node in table.values.items() if not key.startswith(_RATES)}
            table = _table(**kept, **{_RATE[per(place.unit)]: figure})
    return table


def _with_tokens(table: Table, place: Place, figure: Text) -> Table:
    section, kind = _TOKENS[place.unit]
    tiers = {_text(tier, "over"): tier for tier in _items(table.values.get(_TIERS))}
    if place.over:
        # A tier of theirs that we have not begins as our base.
        base = {key: node for key, node in table.values.items() if key in _SECTIONS.values()}
        tier = tiers.get(str(place.over)) or _table(over=Text(str(place.over), 0), **base)
        tiers[str(place.over)] = _with_figure(tier, section, kind, figure)
    else:
        table = _with_figure(table, section, kind, figure)
    if not tiers:
        return table
    ordered = (_completed(tiers[key], table) for key in sorted(tiers, key=int))
    return _with(table, _TIERS, Items(tuple(ordered), 0))


def _with_figure(table: Table, section: str, kind: str, figure: Text) -> Table:
    """Put a figure where it belongs, unless it is what follows from the one for text.

    One price holds for text, audio and images until one of them has its own; from then on
    each needs its own.
    """
    text = _section(table, "per_1m")
    if section != "per_1m" and table.values.keys().isdisjoint(_MODALITIES):
        if Decimal(_text(text, kind) or _text(text, "input")) == Decimal(figure.value):
            return table
        for modality in _MODALITIES:
            table = _with(table, modality, text)
    return _with(table, section, _with(_section(table, section), kind, figure))


def _completed(tier: Table, base: Table) -> Table:
    """Give a tier, or hours of the day, what the base has, at the price that it had without."""
    for section in _SECTIONS.values():
        if section in base.values and section not in tier.values:
            tier = _with(tier, section, _section(tier, "per_1m"))
        for kind, figure in _section(base, section).values.items():
            own = _section(tier, section)
            if kind not in own.values:
                follows = own.values.get("input") if kind in _DERIVED else None
                tier = _with(tier, section, _with(own, kind, follows or figure))
    return tier


def _section(table: Table, name: str) -> Table:
    section = table.values.get(name)
    return section if isinstance(section, Table) else _table()


def _with(table: Table, key: str, node: Located) -> Table:
    return _table(**{**table.values, key: node})


def _table(**values: Located) -> Table:
    return Table(values, dict.fromkeys(values, 0), 0)


def _items(node: Located | None) -> Iterator[Table]:
    """The tables of a list in a file that has been checked."""
    for item in node.values if isinstance(node, Items) else ():
        if isinstance(item, Table):
            yield item


def _text(table: Table, key: str, default: str = "") -> str:
    node = table.values.get(key)
    return node.value if isinstance(node, Text) else default


def _node(located: Located) -> yaml.Node:
    """YAML of it: figures in one line, everything else in lines of its own."""
    if isinstance(located, Text):
        return yaml.ScalarNode(_TAG + "str", located.value)
    if isinstance(located, Items):
        flow = all(isinstance(item, Text) for item in located.values)
        return yaml.SequenceNode(_TAG + "seq", [_node(i) for i in located.values], flow_style=flow)
    pairs = [(_node(Text(key, 0)), _node(node)) for key, node in located.values.items()]
    flow = located.values.keys() <= _FIGURES
    return yaml.MappingNode(_TAG + "map", pairs, flow_style=flow)
