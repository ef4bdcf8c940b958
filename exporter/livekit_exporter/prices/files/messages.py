"""Mistakes in one part of a price file, with their lines: pydantic's errors in a user's words."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from livekit_exporter.prices.files.blocks import (
    SECTIONS,
    CharacterBlock,
    CharacterHours,
    ContextTier,
    TimeBlock,
    TimeHours,
    TokenBlock,
    TokenHours,
    TokenPrices,
    price_keys,
)
from livekit_exporter.prices.files.located import Located, Path, Table, Text, key_line, line_at
from livekit_exporter.prices.files.models import (
    BILLED_KEYS,
    CharacterTariff,
)
from livekit_exporter.prices.files.words import WHY_REQUIRED, FaultError, FaultsError, remedy
from livekit_exporter.prices.units import BASES, Basis

_ITEMS: Final[Mapping[str, str]] = {
    "prices": "a block of prices",
    "time_of_day": "hours of a day",
    "above_input_tokens": "a tier",
}
_BLOCKS: Final[Mapping[str, tuple[type[BaseModel], ...]]] = {
    "prices": (TokenBlock, CharacterBlock, TimeBlock),
    "time_of_day": (TokenHours, CharacterHours, TimeHours),
}


def mistakes(
    error: ValidationError, node: Located, what: str, *models: type[BaseModel]
) -> Iterator[tuple[int, str]]:
    """Yield line and message of every mistake in a part of a file.

    Args:
        error: As pydantic raised it for the part.
        node: The part.
        what: Its name in messages.
        models: Models that its table can be read as; their keys are known.
    """
    found = [(_path(details), details) for details in error.errors(include_url=False)]
    # Prices can be judged once it is known what they are for.
    unknown = [path[:-1] for path, _ in found if path[-1:] == ("basis",)]
    # A misspelt key is why another one is missing, and comes first.
    found.sort(key=lambda mistake: mistake[1]["type"] != "extra_forbidden")
    for path, details in found:
        if any(path[:-1][: len(above) + 1] == (*above, "prices") for above in unknown):
            continue
        yield from _said(path, details, node, what, models)


def _path(details: ErrorDetails) -> Path:
    """Keys and positions, without the tags of unions."""
    return tuple(
        part for part in details["loc"] if not (isinstance(part, str) and part[:1] in {"<", "["})
    )


def _said(
    path: Path,
    details: ErrorDetails,
    node: Located,
    what: str,
    models: tuple[type[BaseModel], ...],
) -> Iterator[tuple[int, str]]:
    kind, line = details["type"], line_at(node, path)
    name = _name(path, what, is_key=details["loc"][-1:] == ("[key]",))
    if kind == "missing":
        yield line, _missing(path)
    elif kind == "extra_forbidden":
        yield key_line(node, path), _unknown(path, node, models)
    elif kind in {"tuple_type", "list_type"}:
        yield line, f"{name} must be a list, '- ...' on lines of their own or [...]"
    elif kind in {"model_type", "model_attributes_type", "dict_type"}:
        yield line, f"{name} must be a table of keys and values"
    elif kind == "value_error":
        cause = details["ctx"]["error"]
        for fault in cause.faults if isinstance(cause, FaultsError) else (cause,):
            assert isinstance(fault, FaultError)  # noqa: S101 - the models raise no other
            yield line_at(node, (*path, *fault.at)), fault.text.replace("{what}", name)
    else:
        yield line, f"{name}: {details['msg']}"


def _name(path: Path, what: str, *, is_key: bool) -> str:
    """Name of the value that a path leads to."""
    if not path:
        return what
    last = path[-1]
    if isinstance(last, int):
        return _ITEMS.get(str(path[-2]), f"'{path[-2]}'")
    if path == ("free",):
        return "'free', the reason why nobody bills it,"
    above = path[-2] if len(path) > 1 else None
    if above == "defaults":
        return "'defaults'" if is_key else f"the default of '{last}'"
    return f"'{last}' of '{above}'" if above in SECTIONS else f"'{last}'"


def _missing(path: Path) -> str:
    key, above = str(path[-1]), path[-2:-1]
    if above == ("per_1m",):
        return f"'per_1m' lacks '{key}'; write 0 where it is free"
    return f"'{key}' is missing{WHY_REQUIRED.get(key, '')}"


def _unknown(path: Path, node: Located, models: tuple[type[BaseModel], ...]) -> str:
    """Name the basis that a misplaced price belongs to, which says more than 'not known'."""
    key, above = str(path[-1]), path[:-1]
    if not above and key in BILLED_KEYS and isinstance(node, Table) and "free" in node.values:
        return f"'{key}' stands beside 'free'; an entry has a price or is free, remove one"
    basis = _basis(node, above)
    known = _known(above, basis, models)
    owner = next((other for other in BASES if key in price_keys(other)), None)
    in_block = isinstance(above[-1:][0] if above else None, int)
    if in_block and basis is not None and owner is not None and key not in price_keys(basis):
        return (
            f"'{key}' is a price for '{owner}', but the basis is '{basis}';"
            f" an entry bills one basis, use {' or '.join(price_keys(basis))}"
        )
    return f"key '{key}' is not known; {remedy(key, known)}"


def _basis(node: Located, above: Path) -> Basis | None:
    """Basis of the tariff that a path leads through."""
    tariff = node
    if isinstance(node, Table) and above[:1] == ("fallback",):
        tariff = node.values["fallback"]
    said = tariff.values.get("basis") if isinstance(tariff, Table) else None
    words = {basis: basis for basis in BASES}
    return words.get(said.value.strip()) if isinstance(said, Text) else None  # type: ignore[call-overload]


def _known(above: Path, basis: Basis | None, models: tuple[type[BaseModel], ...]) -> list[str]:
    """Keys that a table can have."""
    if not above:
        return _keys(*models)
    if above == ("fallback",):
        return _keys(CharacterTariff)
    if above[-1] in SECTIONS:
        return _keys(TokenPrices)
    blocks = _BLOCKS.get(str(above[-2]) if len(above) > 1 else "")
    if blocks is None:
        return _keys(ContextTier)
    return _keys(blocks[0 if basis == "tokens" else 1 if basis == "characters" else 2])


def _keys(*models: type[BaseModel]) -> list[str]:
    names = (info.alias or name for model in models for name, info in model.model_fields.items())
    return list(dict.fromkeys(names))
