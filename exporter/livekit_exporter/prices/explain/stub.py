"""A price file with blanks, for what was used and has no price.  Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from livekit_exporter.prices.catalogue import UNKNOWN, Catalogue
from livekit_exporter.prices.explain.unpriced import Unpriced
from livekit_exporter.prices.explain.words import counted, printable
from livekit_exporter.prices.files.check import SCHEMA_VERSION
from livekit_exporter.prices.files.words import ENTRY_ID, HOST, PROVIDER_ID
from livekit_exporter.prices.units import KINDS, TOKEN_UNIT, Basis, Modality
from livekit_exporter.record import Stage

BLANK: Final = "FILL_IN"
"""Stands where only a person knows what to write; in place of a number it is refused."""

# Without quotes YAML reads these as text.
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NO_TEXT: Final = ("true", "false", "yes", "no", "on", "off", "y", "n", "null")

# Where several are reported, vendors bill by the first of these and never by tokens.
_GUESSED: Final[Sequence[tuple[str, Basis]]] = (
    ("character", "characters"),
    ("connection_second", "session_time"),
    ("audio_second", "audio_time"),
)
_SECTION: Final[dict[Modality, str]] = {
    "text": "per_1m",
    "audio": "audio_per_1m",
    "image": "image_per_1m",
}


@dataclass(slots=True)
class _Owner:
    """What the file says of a provider: further names, entries for unnamed models."""

    known: bool
    """The catalogue declares it."""
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)
    """By key, each under the form in which it is compared."""
    defaults: dict[Stage, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Blank:
    """One entry of the file, and what it is for."""

    id: str
    model: str
    """Empty for models that are not named."""
    groups: list[Unpriced]


def overlay(unpriced: Iterable[Unpriced], catalogue: Catalogue, *, today: date, schema: str) -> str:
    """Write a price file of one's own, to be filled in; empty where nothing needs one.

    Args:
        unpriced: What has no price.  What an entry prices and still cannot bill is left out:
            another entry would not help.
        catalogue: Prices in force.
        today: The day that stands as `checked`.
        schema: Where an editor finds the schema of price files.
    """
    owners: dict[str, _Owner] = {}
    blanks: dict[tuple[str, str, str], _Blank] = {}
    hopeless: list[Unpriced] = []
    for group in unpriced:
        if group.why != "no_entry":
            continue
        model = "" if group.model.strip().lower() == UNKNOWN else group.model.strip()
        named = _owner(group, catalogue)
        if named is None or set("*<>") & set(model) or (model and model != group.model):
            hopeless.append(group)
            continue
        name, aliases = named
        owner = owners.setdefault(name, _Owner(name in catalogue.providers))
        for key, alias in aliases.items():
            # Names are known without regard to case, labels are not.
            same = alias if key == "labels" else alias.lower()
            owner.aliases.setdefault(key, {}).setdefault(same, alias)
        blank = blanks.get((name, group.stage, model))
        if blank is not None:
            blank.groups.append(group)
            continue
        taken = {*catalogue.entries, *(blank.id for blank in blanks.values())}
        blank = _Blank(_entry_id(name, model, group.stage, taken), model, [group])
        blanks[name, group.stage, model] = blank
        if not model:
            owner.defaults[group.stage] = blank.id
    comments = [f"# no name to find a price by: {', '.join(_seen(group))}" for group in hopeless]
    if not blanks:
        return "".join(f"{line}\n" for line in comments)
    lines = [
        f"# yaml-language-server: $schema={schema}",
        f"# Write a price in place of each {BLANK} and where you read it, then:",
        "# livekit-exporter prices check FILE",
        *comments,
        f"schema: {SCHEMA_VERSION}",
        "currency: USD",
        *_providers(owners),
        "entries:",
    ]
    for blank in blanks.values():
        lines += _entry(blank, today)
    return "\n".join(lines) + "\n"


def _owner(group: Unpriced, catalogue: Catalogue) -> tuple[str, dict[str, str]] | None:
    """Id of a provider and the name to declare for it, `None` where there is no name.

    The id is what metrics call it already, as far as it can be one.
    """
    provider = group.provider
    if provider in catalogue.providers:
        return provider, {}
    if provider == UNKNOWN:
        # Declared as a name, `unknown` would take every plugin that does not name its provider.
        label = group.label
        package = label.removeprefix("livekit.plugins.").partition(".")[0]
        usable = label and label == label.strip() and "*" not in label
        found = {"labels": label} if usable else None
        provider = package.lower()
    elif HOST.fullmatch(provider) and ("." in provider or ":" in group.reported):
        found = {"hosts": provider}
    else:
        name = "".join(c if c.isprintable() else " " for c in group.reported)
        # Credentials do not belong into a file that will be kept.
        found = None if "@" in name else {"names": " ".join(name.split())}
    if found is None:
        return None
    slug = re.sub(r"[^a-z0-9_.-]+", "-", provider).strip("-._")
    if not PROVIDER_ID.fullmatch(slug) or slug == UNKNOWN:
        slug = "own"
    while slug in catalogue.providers:
        slug = f"{slug}-own"
    return slug, found


def _entry_id(owner: str, model: str, stage: Stage, taken: set[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9_.:/-]+", "-", model).strip("-._:/")
    wanted = f"{owner}/{name}"
    if not ENTRY_ID.fullmatch(wanted):
        wanted = f"{owner}/{stage}"
    elif wanted in taken:
        wanted = f"{wanted}-{stage}"
    number, entry_id = 1, wanted
    while entry_id in taken:
        number += 1
        entry_id = f"{wanted}-{number}"
    return entry_id


def _providers(owners: dict[str, _Owner]) -> Iterator[str]:
    declared = {name: owner for name, owner in owners.items() if owner.defaults or not owner.known}
    if declared:
        yield "providers:"
    for name, owner in declared.items():
        yield f"  {quoted(name)}:"
        for key, aliases in owner.aliases.items():
            yield f"    {key}: [{', '.join(map(quoted, aliases.values()))}]"
        if owner.defaults:
            defaults = (f"{stage}: {quoted(entry)}" for stage, entry in owner.defaults.items())
            yield f"    defaults: {{{', '.join(defaults)}}}"


def _entry(blank: _Blank, today: date) -> Iterator[str]:
    stage = blank.groups[0].stage
    units = {unit for group in blank.groups for unit in group.usage}
    basis = _basis(stage, units)
    for group in blank.groups:
        yield from (f"  # {line}" for line in _seen(group))
    yield f"  - id: {quoted(blank.id)}"
    yield f"    stage: {stage}"
    yield f"    match: [{quoted(blank.model) if blank.model else ''}]"
    yield "    # Where nobody bills it: 'free: self-hosted' in place of all that follows."
    yield f"    basis: {basis}"
    yield "    prices:"
    first, *others = _prices(basis, units)
    yield f"      - {first}"
    yield from (f"        {line}" for line in others)
    yield f"        source: {BLANK}"
    yield f"        checked: {today.isoformat()}"


def _basis(stage: Stage, units: set[str]) -> Basis:
    for unit, basis in _GUESSED:
        if unit in units:
            return "call_time" if basis == "session_time" and stage == "platform" else basis
    return "tokens"


def _prices(basis: Basis, units: set[str]) -> Iterator[str]:
    if basis != "tokens":
        yield f"{'per_1m_chars' if basis == 'characters' else 'per_minute'}: {BLANK}"
        return
    for modality, section in _SECTION.items():
        needed = ("input", "output") if modality == "text" else ()
        kinds = [kind for kind in KINDS if kind in needed or TOKEN_UNIT[kind, modality] in units]
        if kinds:
            yield f"{section}: {{{', '.join(f'{kind}: {BLANK}' for kind in kinds)}}}"


def _seen(group: Unpriced) -> Iterator[str]:
    """What was seen of it, line by line, fit for a comment."""
    label = f" ({group.label})" if group.label else ""
    yield printable(f"{group.stage}, {group.provider}, {group.model or UNKNOWN}{label}")
    yield f"{counted(f'{group.requests:,}', 'request')}, {group.used or 'no usage'}; {group.days}"


def quoted(text: str) -> str:
    """Text as YAML reads it back, whatever is in it."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT:
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
