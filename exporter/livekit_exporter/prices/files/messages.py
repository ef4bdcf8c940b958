"""Mistakes in one part of a price file, with their lines: pydantic's errors in a user's words."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from livekit_exporter.prices.files.blocks import SECTIONS
from livekit_exporter.prices.files.located import (
    Located,
    Path,
    Text,
    key_line,
    line_at,
    node_at,
)
from livekit_exporter.prices.files.words import WHY_REQUIRED

_ITEMS: Final[Mapping[str, str]] = {
    "prices": "a block of prices",
    "time_of_day": "hours of a day",
    "above_input_tokens": "a tier",
}


def mistakes(error: ValidationError, node: Located, what: str) -> Iterator[tuple[int, str]]:
    """Yield line and message of every mistake in a part of a file.

    Args:
        error: As pydantic raised it for the part.
        node: The part.
        what: Its name in messages.
    """
    found = [(_path(details), details) for details in error.errors(include_url=False)]
    # Prices can be judged once it is known what they are for.
    unknown = [path[:-1] for path, _ in found if path[-1:] == ("basis",)]
    # A misspelt key is why another one is missing, and comes first.
    found.sort(key=lambda mistake: mistake[1]["type"] != "unknown_key")
    for path, details in found:
        if any(path[:-1][: len(above) + 1] == (*above, "prices") for above in unknown):
            continue
        yield _said(path, details, node, what)


def sound(said: object, error: ValidationError) -> dict[str, object]:
    """Leave out of a part what its mistakes lead to; a list keeps its places, with `""` there."""
    wrong = {_path(details) for details in error.errors(include_url=False)}
    rest = _without(said, wrong, ())
    return rest if isinstance(rest, dict) else {}


def _without(said: object, wrong: set[Path], at: Path) -> object:
    if at in wrong and at:
        return ""
    if isinstance(said, dict):
        return {
            key: _without(value, wrong, (*at, key))
            for key, value in said.items()
            if (*at, key) not in wrong
        }
    if isinstance(said, list):
        return [_without(value, wrong, (*at, number)) for number, value in enumerate(said)]
    return said.strip() if isinstance(said, str) else said


def _path(details: ErrorDetails) -> Path:
    """Keys and positions, without the tags of unions."""
    return tuple(
        part for part in details["loc"] if not (isinstance(part, str) and part[:1] in {"<", "["})
    )


def _said(path: Path, details: ErrorDetails, node: Located, what: str) -> tuple[int, str]:
    kind, text, line = details["type"], details["msg"], line_at(node, path)
    name = _name(path, what, is_key=details["loc"][-1:] == ("[key]",))
    if kind == "missing":
        text = _missing(path)
    elif kind == "unknown_key":
        line, text = key_line(node, path), text.replace("{basis}", _basis(node, path))
    elif kind in {"tuple_type", "list_type"}:
        text = f"{name} must be a list, '- ...' on lines of their own or [...]"
    elif kind in {"model_type", "model_attributes_type", "dict_type"}:
        text = f"{name} must be a table of keys and values"
    elif kind == "fault":
        text = text.replace("{what}", name)
    else:
        text = f"{name}: {text}"
    return line, text


def _basis(node: Located, path: Path) -> str:
    """Basis of the tariff that a path leads through."""
    tariff = path[:1] if path[0] == "fallback" else ()
    said = node_at(node, (*tariff, "basis"))
    return said.value.strip() if isinstance(said, Text) else ""


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
