"""The rules that price files keep together, and the content of the compiled catalogue.

All mistakes are reported at once, each with file, line, the offending value and the remedy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from livekit_exporter.prices.compiled import (
    CompiledBlock,
    CompiledCharges,
    CompiledEntry,
    CompiledProvider,
    CompiledTariff,
    CompiledTier,
    CompiledWindow,
)
from livekit_exporter.prices.files.blocks import (
    Block,
    CharacterHours,
    CharacterRate,
    Said,
    TimeHours,
    TimeRate,
    TokenBlock,
    TokenCharges,
    TokenHours,
    priced,
    table,
)
from livekit_exporter.prices.files.located import (
    Items,
    Located,
    PriceFileError,
    Problem,
    Table,
    Text,
    key_line,
    line_at,
    plain,
)
from livekit_exporter.prices.files.messages import mistakes, sound
from livekit_exporter.prices.files.models import (
    Entry,
    FreeEntry,
    ProviderPart,
    TariffPart,
)
from livekit_exporter.prices.files.words import ENTRY_ID, PROVIDER_ID, WHY_REQUIRED, remedy
from livekit_exporter.prices.units import EXACT
from livekit_exporter.record import Stage

SCHEMA_VERSION: Final = 1
FILE_KEYS: Final = ("schema", "currency", "providers", "entries")
_ENTRY: Final[TypeAdapter[Entry]] = TypeAdapter(Entry)
_PROVIDER: Final = TypeAdapter(ProviderPart)


class PriceFile(NamedTuple):
    """One parsed file; `name` is what messages call it."""

    name: str
    root: Located


@dataclass(frozen=True, slots=True)
class CheckedPrices:
    """Content of the compiled catalogue."""

    providers: dict[str, CompiledProvider]
    entries: list[CompiledEntry]

    @property
    def newest_check(self) -> str:
        """Latest day on which any price was checked, `""` without prices."""
        days = (
            block["checked"]
            for entry in self.entries
            for tariff in entry["tariffs"]
            for block in tariff["prices"]
        )
        return max(days, default="")


class _Place(NamedTuple):
    """A part of a file, and what messages about it begin with."""

    file: str
    node: Located
    owner: str = ""


class _Credits(NamedTuple):
    """Price of a provider's credits in USD per million, with its provenance."""

    usd_per_1m: Decimal
    source: str
    checked: str


_NO_CREDITS: Final = _Credits(Decimal(0), "", "")


class _Default(NamedTuple):
    """A provider's entry for models that plugins do not name."""

    place: _Place
    line: int
    provider: str
    stage: Stage
    entry: str


def check(files: Sequence[PriceFile]) -> CheckedPrices:
    """Check price files together.

    Raises:
        PriceFileError: There are mistakes; it carries all of them.
    """
    return _Check().of(files)


@dataclass(slots=True)
class _Check:
    """Price files as far as they were read."""

    problems: list[Problem] = field(default_factory=list)
    providers: dict[str, CompiledProvider] = field(default_factory=dict)
    entries: dict[str, CompiledEntry] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    credits: dict[str, _Credits] = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    patterns: dict[tuple[str, str, str], str] = field(default_factory=dict)
    defaults: list[_Default] = field(default_factory=list)

    def of(self, files: Sequence[PriceFile]) -> CheckedPrices:
        roots: list[tuple[PriceFile, Table]] = []
        for file in files:
            if isinstance(file.root, Table):
                roots.append((file, file.root))
            else:
                message = "a price file must be a table of keys and values"
                self._wrong(_Place(file.name, file.root), file.root.line, message)
        for file, root in roots:
            self._head(file.name, root)
        for file, root in roots:
            for name, line, node in self._members(file.name, root):
                self._provider(name, line, _Place(file.name, node, f"provider '{name}': "))
        for file, root in roots:
            for node in self._items(file.name, root):
                self._entry(_Place(file.name, node))
        for default in self.defaults:
            self._default(default)
        if self.problems:
            raise PriceFileError(
                sorted(self.problems, key=lambda problem: (problem.file, problem.line))
            )
        return CheckedPrices(
            providers=dict(sorted(self.providers.items())),
            entries=[self.entries[key] for key in sorted(self.entries)],
        )

    def _wrong(self, place: _Place, line: int, message: str) -> None:
        self.problems.append(Problem(place.file, line, f"{place.owner}{message}"))

    def _head(self, file: str, root: Table) -> None:
        place = _Place(file, root)
        for key in root.values:
            if key not in FILE_KEYS:
                message = f"key '{key}' is not known; {remedy(key, FILE_KEYS)}"
                self._wrong(place, root.lines[key], message)
        for key, expected in (("schema", str(SCHEMA_VERSION)), ("currency", "USD")):
            node = root.values.get(key)
            if node is None:
                self._wrong(place, root.line, f"'{key}' is missing; write '{key}: {expected}'")
            elif not isinstance(node, Text) or node.value != expected:
                shown = f" '{node.value}'" if isinstance(node, Text) else ""
                message = f"{key}{shown} is not supported; write '{key}: {expected}'"
                self._wrong(place, node.line, message)

    def _members(self, file: str, root: Table) -> Iterator[tuple[str, int, Located]]:
        node = root.values.get("providers")
        if isinstance(node, Table):
            for name, value in node.values.items():
                yield name, node.lines[name], value
        elif node is not None:
            message = "'providers' must be a table of keys and values"
            self._wrong(_Place(file, node), node.line, message)

    def _items(self, file: str, root: Table) -> tuple[Located, ...]:
        node = root.values.get("entries")
        if node is None or isinstance(node, Items):
            return () if node is None else node.values
        message = "'entries' must be a list, '- ...' on lines of their own or [...]"
        self._wrong(_Place(file, node), node.line, message)
        return ()

    def _provider(self, name: str, line: int, place: _Place) -> None:
        if not PROVIDER_ID.fullmatch(name):
            message = "the id becomes a metric label; use lower-case letters, digits, . _ -"
            self._wrong(place, line, message)
            return
        if name in self.providers:
            self._wrong(place, line, "declared twice; merge the two declarations")
            return
        if isinstance(place.node, Text) and not place.node.value:
            # A provider that is known by its id alone has nothing to say.
            place = place._replace(node=Table({}, {}, line))
        said = plain(place.node)
        try:
            part = _PROVIDER.validate_python(said)
        except ValidationError as error:
            for at, message in mistakes(error, place.node, "a provider"):
                self._wrong(place, at, message)
            # Declared all the same, so that one mistake neither makes nor hides another.
            part = ProviderPart.model_construct(None, **sound(said, error))
            if "usd_per_1m_credits" in table(said):
                self.credits[name] = _NO_CREDITS
        self._declare(name, line, part, place)

    def _declare(self, name: str, line: int, part: ProviderPart, place: _Place) -> None:
        other = self.names.setdefault(("names", name), name)
        if other != name:
            message = f"provider '{other}' already has this name; a name has one owner"
            self._wrong(place, line, message)
        compiled: CompiledProvider = {}
        self.providers[name] = compiled
        for key in ("hosts", "names", "labels"):
            aliases = self._aliases(key, getattr(part, key), name, place)
            if aliases:
                compiled[key] = aliases
        for stage, entry in part.defaults.items():
            compiled.setdefault("defaults", {})[stage] = entry
            at = key_line(place.node, ("defaults", stage))
            self.defaults.append(_Default(place, at, name, stage, entry))
        if part.usd_per_1m_credits and part.source and part.checked:
            usd = Decimal(part.usd_per_1m_credits)
            self.credits[name] = _Credits(usd, part.source, part.checked)

    def _aliases(self, key: str, texts: Sequence[str], provider: str, place: _Place) -> list[str]:
        found: list[str] = []
        for number, text in enumerate(texts):
            if not text:
                continue  # a mistake, reported
            alias = text if key == "labels" else text.lower()
            other = self.names.setdefault((key, alias), provider)
            if other != provider or alias in found:
                message = f"'{text}' already means provider '{other}'; a name has one owner"
                self._wrong(place, line_at(place.node, (key, number)), message)
                continue
            found.append(text)
        return found

    def _default(self, default: _Default) -> None:
        place, line, provider, stage, entry_id = default
        entry, owner = self.entries.get(entry_id), entry_id.partition("/")[0]
        if entry_id not in self.ids:
            message = (
                f"default entry '{entry_id}' of stage '{stage}' does not exist;"
                f" {remedy(entry_id, sorted(self.ids))}"
            )
            self._wrong(place, line, message)
        elif entry is not None and (entry["stage"] != stage or owner != provider):
            message = (
                f"default entry '{entry_id}' prices {entry['stage']} of '{owner}',"
                f" not {stage} of '{provider}'"
            )
            self._wrong(place, line, message)

    def _entry(self, place: _Place) -> None:
        node = place.node
        if not isinstance(node, Table):
            self._wrong(place, node.line, "an entry must be a table of keys and values")
            return
        said = node.values.get("id")
        if said is None:
            self._wrong(place, node.line, f"'id' is missing{WHY_REQUIRED['id']}")
            return
        entry_id = said.value.strip() if isinstance(said, Text) else ""
        if not entry_id:
            self._wrong(place, said.line, "'id' must be text, and not empty")
            return
        place, line = place._replace(owner=f"entry '{entry_id}': "), node.lines["id"]
        if not ENTRY_ID.fullmatch(entry_id):
            self._wrong(place, line, "the id must read 'provider/model', without blanks")
            return
        if entry_id in self.ids:
            self._wrong(place, line, "declared twice; an id names one price")
            return
        self.ids.add(entry_id)
        provider = entry_id.partition("/")[0]
        if provider not in self.providers:
            message = (
                f"provider '{provider}' is not declared; declare it under 'providers',"
                f" {remedy(provider, self.providers)}"
            )
            self._wrong(place, line, message)
        self._read(entry_id, provider, place)

    def _read(self, entry_id: str, provider: str, place: _Place) -> None:
        part: Entry | None = None
        said = table(plain(place.node))
        try:
            part = _ENTRY.validate_python(said)
        except ValidationError as error:
            for at, message in mistakes(error, place.node, "an entry"):
                self._wrong(place, at, message)
            rest = sound(said, error)
            # Its models are taken all the same, so that one mistake does not hide another.
            if "stage" in rest:
                match = [""] if "match" in said else None
                part = FreeEntry.model_construct(None, **{"match": match, "free": "", **rest})
            said = rest
        if provider not in self.credits:
            self._credits(said, place)
        if part is not None:
            self.entries[entry_id] = self._compiled(part, provider, place)

    def _credits(self, said: Said, place: _Place) -> None:
        for at, prices in priced(said):
            for key in {TimeRate.CREDITS, CharacterRate.CREDITS} & set(prices):
                message = (
                    f"'{key}' needs a price for credits; give the provider 'usd_per_1m_credits'"
                )
                self._wrong(place, key_line(place.node, (*at, key)), message)

    def _compiled(self, part: Entry, provider: str, place: _Place) -> CompiledEntry:
        price = self.credits.get(provider, _NO_CREDITS)
        entry: CompiledEntry = {
            "id": part.id,
            "stage": part.stage,
            "match": self._patterns(part, provider, place),
            "tariffs": []
            if isinstance(part, FreeEntry)
            else [_tariff(tariff, price) for tariff in part.tariffs()],
        }
        if isinstance(part, FreeEntry):
            entry["free"] = part.free
        else:
            if part.min_seconds_per_request is not None:
                entry["min_seconds_per_request"] = part.min_seconds_per_request
            if part.round_up_seconds is not None:
                entry["round_up_seconds"] = part.round_up_seconds
        return entry

    def _patterns(self, part: Entry, provider: str, place: _Place) -> list[str]:
        declared = (part.id.partition("/")[2],) if part.match is None else part.match
        named = {(default.provider, default.stage, default.entry) for default in self.defaults}
        if not declared and (provider, part.stage, part.id) not in named:
            message = (
                "'match' lists no model; list one, leave 'match' out to match the id,"
                " or name the entry in the provider's 'defaults'"
            )
            self._wrong(place, key_line(place.node, ("match",)), message)
        found: list[str] = []
        for number, pattern in enumerate(declared):
            if not pattern:
                continue  # a mistake, reported
            other = self.patterns.setdefault((provider, part.stage, pattern), part.id)
            if other != part.id or pattern in found:
                message = (
                    f"model '{pattern}' of stage '{part.stage}' is already priced by '{other}';"
                    " a model has one price"
                )
                self._wrong(place, line_at(place.node, ("match", number)), message)
                continue
            found.append(pattern)
        return found


def _tariff(tariff: TariffPart, price: _Credits) -> CompiledTariff:
    parts: Sequence[Block] = tariff.prices
    return {"basis": tariff.basis, "prices": [_block(part, price) for part in parts]}


def _block(part: Block, price: _Credits) -> CompiledBlock:
    block: CompiledBlock = {"source": part.source, "checked": part.checked}
    if part.valid_from is not None:
        block["valid_from"] = part.valid_from
    if part.confidence is not None:
        block["confidence"] = part.confidence
    block = {**block, **_charges(part, price)}
    parts: Sequence[TokenHours | TimeHours | CharacterHours] = part.time_of_day
    windows: list[CompiledWindow] = [
        {"from": hours.start, "until": hours.until, **_charges(hours, price)} for hours in parts
    ]
    if windows:
        block["time_of_day"] = windows
    if not isinstance(part, TokenBlock) and part.in_credits:
        block["source"] = f"{block['source']}; {price.source}"
        block["checked"] = min(block["checked"], price.checked)
    return block


def _charges(
    part: TokenBlock | TokenHours | TimeRate | CharacterRate, price: _Credits
) -> CompiledCharges:
    if isinstance(part, TokenBlock | TokenHours):
        above: list[CompiledTier] = [
            {**_tier(tier), "over": tier.over} for tier in part.above_input_tokens
        ]
        return {"tiers": [_tier(part), *above]}
    [key] = part.given()
    amount = getattr(part, key)
    if not part.in_credits:
        return {"usd": amount, "per": part.PER[key]}
    usd = EXACT.multiply(Decimal(amount), price.usd_per_1m)
    return {"usd": f"{usd:f}", "per": 1_000_000}


def _tier(charges: TokenCharges) -> CompiledTier:
    tier: CompiledTier = {"per_1m": charges.per_1m.given()}
    if charges.audio_per_1m is not None and (audio := charges.audio_per_1m.given()):
        tier["audio_per_1m"] = audio
    if charges.image_per_1m is not None and (image := charges.image_per_1m.given()):
        tier["image_per_1m"] = image
    return tier
