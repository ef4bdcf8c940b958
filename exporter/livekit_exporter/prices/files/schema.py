"""The rules of a price file: what may stand in it, and what each mistake is called.

`check` takes price files as located text and returns the content of the compiled
catalogue, with decimals still as text.  All mistakes are reported at once, each with
file, line, the offending value and the remedy.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from livekit_exporter.prices.catalogue import DATE_MARK
from livekit_exporter.prices.compiled import CompiledEntry, CompiledProvider, CompiledTariff
from livekit_exporter.prices.files.blocks import Credits, tariff
from livekit_exporter.prices.files.located import (
    Items,
    Located,
    PriceFileError,
    Problem,
    Table,
    Text,
)
from livekit_exporter.prices.files.page import Page, remedy
from livekit_exporter.record import Stage

SCHEMA_VERSION: Final = 1

FILE_KEYS: Final = ("schema", "currency", "providers", "entries")
PROVIDER_KEYS: Final = (
    "hosts", "names", "labels", "defaults", "usd_per_1m_credits", "source", "checked",
)  # fmt: skip
TARIFF_KEYS: Final = ("basis", "prices")
BILLED_KEYS: Final = (*TARIFF_KEYS, "fallback", "min_seconds_per_request", "round_up_seconds")
ENTRY_KEYS: Final = ("id", "stage", "match", "free", *BILLED_KEYS)

PROVIDER_ID: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")
ENTRY_ID: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:-]*)+")
HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True, slots=True)
class PriceFile:
    """One parsed file; `name` is what messages call it."""

    name: str
    root: Located


@dataclass(frozen=True, slots=True)
class Checked:
    """Content of the compiled catalogue."""

    providers: dict[str, CompiledProvider]
    entries: list[CompiledEntry]

    @property
    def newest_check(self) -> str:
        """Latest day on which any price was checked, `""` without prices."""
        return max(
            (
                block["checked"]
                for entry in self.entries
                for tariff in entry["tariffs"]
                for block in tariff["prices"]
            ),
            default="",
        )


@dataclass(frozen=True, slots=True)
class _Default:
    """A provider's entry for unnamed models, with the place where it is declared."""

    page: Page
    line: int
    provider: str
    stage: Stage
    entry: str


@dataclass(slots=True)
class _Draft:
    """What was read so far, with the places that later mistakes refer to."""

    providers: dict[str, CompiledProvider] = field(default_factory=dict)
    entries: dict[str, CompiledEntry] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    credits: dict[str, Credits] = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    patterns: dict[tuple[str, str, str], str] = field(default_factory=dict)
    defaults: list[_Default] = field(default_factory=list)

    def defaults_named(self) -> set[tuple[str, str, str]]:
        return {(default.provider, default.stage, default.entry) for default in self.defaults}


def check(files: Sequence[PriceFile]) -> Checked:
    """Check price files together and return the content of the compiled catalogue.

    Raises:
        PriceFileError: There are mistakes; it carries all of them.
    """
    problems: list[Problem] = []
    draft = _Draft()
    tables = []
    for file in files:
        page = Page(file.name, problems)
        root = page.table(file.root, "a price file")
        if root is not None:
            _head(root, page)
            tables.append((page, root))
    for page, root in tables:
        for name, line, node in page.members(root, "providers"):
            _provider(name, line, node, page, draft)
    for page, root in tables:
        if "entries" in root.values:
            for node in page.items(root.values["entries"], "'entries'") or ():
                _entry(node, page, draft)
    for default in draft.defaults:
        _default(default, draft)
    if problems:
        raise PriceFileError(sorted(problems, key=lambda problem: (problem.file, problem.line)))
    return Checked(
        providers=dict(sorted(draft.providers.items())),
        entries=[draft.entries[key] for key in sorted(draft.entries)],
    )


def _head(root: Table, page: Page) -> None:
    page.known_keys(root, FILE_KEYS)
    for key, expected in (("schema", str(SCHEMA_VERSION)), ("currency", "USD")):
        node = root.values.get(key)
        if node is None:
            page.wrong(root.line, f"'{key}' is missing; write '{key}: {expected}'")
        elif not isinstance(node, Text) or node.value != expected:
            shown = f" '{node.value}'" if isinstance(node, Text) else ""
            page.wrong(node.line, f"{key}{shown} is not supported; write '{key}: {expected}'")


def _provider(name: str, line: int, node: Located, page: Page, draft: _Draft) -> None:
    page = page.about(f"provider '{name}'")
    if not PROVIDER_ID.fullmatch(name):
        page.wrong(line, "the id becomes a metric label; use lower-case letters, digits, . _ -")
        return
    if name in draft.providers:
        page.wrong(line, "declared twice; merge the two declarations")
        return
    # A provider that is known by its id alone has nothing to say.
    if isinstance(node, Text) and not node.value:
        node = Table({}, {}, line)
    table = page.table(node, "a provider")
    if table is None:
        return
    page.known_keys(table, PROVIDER_KEYS)
    other = draft.names.setdefault(("names", name), name)
    if other != name:
        page.wrong(line, f"provider '{other}' already has this name; a name has one owner")
    compiled: CompiledProvider = {}
    draft.providers[name] = compiled
    hosts = _aliases(table, "hosts", name, page, draft)
    names = _aliases(table, "names", name, page, draft)
    labels = _aliases(table, "labels", name, page, draft)
    if hosts:
        compiled["hosts"] = hosts
    if names:
        compiled["names"] = names
    if labels:
        compiled["labels"] = labels
    _defaults(table, name, page, draft, compiled)
    _credit_price(table, name, page, draft)


def _defaults(
    table: Table, name: str, page: Page, draft: _Draft, compiled: CompiledProvider
) -> None:
    for key, line, node in page.members(table, "defaults"):
        stage = page.stage(Text(key, line), "'defaults'")
        entry_id = page.text(node, f"the default of '{key}'")
        if stage is not None and entry_id is not None:
            compiled.setdefault("defaults", {})[stage] = entry_id
            draft.defaults.append(_Default(page, line, name, stage, entry_id))


def _credit_price(table: Table, name: str, page: Page, draft: _Draft) -> None:
    if "usd_per_1m_credits" not in table.values:
        return
    usd = page.amount(table.values["usd_per_1m_credits"], "'usd_per_1m_credits'")
    source = page.required(table, "source", page.text)
    checked = page.required(table, "checked", page.day)
    if usd is not None and source is not None and checked is not None:
        draft.credits[name] = Credits(Decimal(usd), source, checked)


def _aliases(table: Table, key: str, provider: str, page: Page, draft: _Draft) -> list[str]:
    found = []
    for text, line in page.texts(table, key):
        alias = text if key == "labels" else text.lower()
        if key == "hosts" and not HOST.fullmatch(text):
            page.wrong(
                line, f"host '{text}' is none; write it in lower case without scheme, port or path"
            )
            continue
        if key == "labels" and "*" in text[:-1]:
            page.wrong(line, f"label '{text}' may have '*' at its end only")
            continue
        other = draft.names.setdefault((key, alias), provider)
        if other != provider or alias in found:
            page.wrong(line, f"'{text}' already means provider '{other}'; a name has one owner")
            continue
        found.append(text)
    return found


def _default(default: _Default, draft: _Draft) -> None:
    page, line, provider = default.page, default.line, default.provider
    stage, entry_id = default.stage, default.entry
    entry = draft.entries.get(entry_id)
    if entry_id not in draft.ids:
        page.wrong(
            line,
            f"default entry '{entry_id}' of stage '{stage}' does not exist;"
            f" {remedy(entry_id, sorted(draft.ids))}",
        )
    elif entry is not None and (entry["stage"] != stage or entry_id.partition("/")[0] != provider):
        page.wrong(
            line,
            f"default entry '{entry_id}' prices {entry['stage']} of"
            f" '{entry_id.partition('/')[0]}', not {stage} of '{provider}'",
        )


def _entry(node: Located, page: Page, draft: _Draft) -> None:
    table = page.table(node, "an entry")
    if table is None:
        return
    entry_id = page.required(table, "id", page.text)
    if entry_id is None:
        return
    line = table.lines["id"]
    page = page.about(f"entry '{entry_id}'")
    if not ENTRY_ID.fullmatch(entry_id):
        page.wrong(line, "the id must read 'provider/model', without blanks")
        return
    if entry_id in draft.ids:
        page.wrong(line, "declared twice; an id names one price")
        return
    draft.ids.add(entry_id)
    page.known_keys(table, ENTRY_KEYS)
    provider = entry_id.partition("/")[0]
    if provider not in draft.providers:
        page.wrong(
            line,
            f"provider '{provider}' is not declared; declare it under 'providers',"
            f" {remedy(provider, draft.providers)}",
        )
    stage: Stage | None = page.required(table, "stage", page.stage)
    tariffs = (
        _free(table, page) if "free" in table.values else _tariffs(table, provider, page, draft)
    )
    if stage is None or tariffs is None:
        return
    entry: CompiledEntry = {
        "id": entry_id,
        "stage": stage,
        "match": _patterns(table, entry_id, stage, page, draft),
        "tariffs": tariffs,
    }
    draft.entries[entry_id] = entry
    reason = table.values.get("free")
    if isinstance(reason, Text):
        entry["free"] = reason.value.strip()
    _rounding(table, entry, page)


def _free(table: Table, page: Page) -> list[CompiledTariff]:
    """An entry that nobody bills has a reason and no price."""
    page.text(table.values["free"], "'free', the reason why nobody bills it,")
    for key in BILLED_KEYS:
        if key in table.values:
            page.wrong(
                table.lines[key],
                f"'{key}' stands beside 'free'; an entry has a price or is free, remove one",
            )
    return []


def _tariffs(table: Table, provider: str, page: Page, draft: _Draft) -> list[CompiledTariff] | None:
    """The billing basis with its prices, then the fallback's."""
    price = draft.credits.get(provider)
    first = tariff(table, page, price)
    if first is None:
        return None
    second = _fallback(table, first, page, price)
    return [first] if second is None else [first, second]


def _patterns(table: Table, entry_id: str, stage: Stage, page: Page, draft: _Draft) -> list[str]:
    provider, _, name = entry_id.partition("/")
    node = table.values.get("match")
    declared = [(name, table.line)] if node is None else page.texts(table, "match")
    if (
        isinstance(node, Items)
        and not node.values
        and (provider, stage, entry_id) not in draft.defaults_named()
    ):
        page.wrong(
            table.lines["match"],
            "'match' lists no model; list one, leave 'match' out to match the id,"
            " or name the entry in the provider's 'defaults'",
        )
    found = []
    for pattern, line in declared:
        fault = _pattern_fault(pattern)
        if fault:
            page.wrong(line, f"model '{pattern}' cannot be matched; {fault}")
            continue
        other = draft.patterns.setdefault((provider, stage, pattern), entry_id)
        if other != entry_id or pattern in found:
            page.wrong(
                line,
                f"model '{pattern}' of stage '{stage}' is already priced by '{other}';"
                " a model has one price",
            )
            continue
        found.append(pattern)
    return found


def _pattern_fault(pattern: str) -> str:
    if "*" in pattern[:-1]:
        return "'*' stands for the rest of a name, at its end only"
    if DATE_MARK in pattern and pattern.endswith("*"):
        return f"use either '{DATE_MARK}' or '*'"
    if pattern.count(DATE_MARK) > 1 or set("<>") & set(pattern.replace(DATE_MARK, "")):
        return f"a snapshot's date is written '{DATE_MARK}', once"
    return ""


def _fallback(
    table: Table, first: CompiledTariff, page: Page, price: Credits | None
) -> CompiledTariff | None:
    if "fallback" not in table.values:
        return None
    node = page.table(table.values["fallback"], "'fallback'")
    if node is None:
        return None
    page.known_keys(node, TARIFF_KEYS)
    second = tariff(node, page, price)
    if second is not None and second["basis"] == first["basis"]:
        page.wrong(
            node.line,
            f"the fallback bills '{first['basis']}' like the entry;"
            " it is for requests that report nothing of the entry's basis",
        )
    return second


def _rounding(table: Table, entry: CompiledEntry, page: Page) -> None:
    bases = {tariff["basis"] for tariff in entry["tariffs"]}
    if "min_seconds_per_request" in table.values:
        line = table.lines["min_seconds_per_request"]
        if entry["stage"] != "stt" or "audio_time" not in bases:
            page.wrong(line, "'min_seconds_per_request' is for stt that bills 'audio_time'")
        seconds = page.amount(table.values["min_seconds_per_request"], "'min_seconds_per_request'")
        if seconds is not None:
            entry["min_seconds_per_request"] = seconds
    if "round_up_seconds" in table.values:
        line = table.lines["round_up_seconds"]
        if "call_time" not in bases:
            page.wrong(line, "'round_up_seconds' is for entries that bill 'call_time'")
        step = page.count(table.values["round_up_seconds"], "'round_up_seconds'")
        if step is not None:
            entry["round_up_seconds"] = step
