"""Scalars of a price file: what may be written, and what a mistake in one is called.

Prices stay text, so none passes through a float.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Annotated, Final, TypeAlias, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from livekit_exporter.prices.catalogue import DATE_MARK
from livekit_exporter.prices.files.located import closest
from livekit_exporter.prices.units import BASES, CONFIDENCES, Basis, Confidence
from livekit_exporter.record import Stage

Read = TypeVar("Read")
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)

# Few enough digits that a product of usage and price stays exact.
_AMOUNT: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,12})?")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,8}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME_OF_DAY: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
PROVIDER_ID: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*")
ENTRY_ID: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.:-]*)+")
HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9][a-z0-9.-]*")

_MEANT: Final = {
    "as_of": "checked",
    "date": "checked",
    "url": "source",
    "model": "match",
    "models": "match",
    "cached": "cached_input",
    "cache_read": "cached_input",
    "per_1m_tokens": "per_1m",
    "per_1k_tokens": "per_1m",
    "per_1m_characters": "per_1m_chars",
    "per_1k_characters": "per_1k_chars",
    "minute": "audio_time",
    "time": "audio_time",
    "chars": "characters",
    "token": "tokens",
}


WHY_REQUIRED: Final[Mapping[str, str]] = {
    "source": "; say where the price was read",
    "checked": "; say on which day the source was read, as 2026-10-21",
    "basis": f"; say what is billed: {', '.join(BASES)}, or 'free' with the reason",
    "stage": f"; say one of {', '.join(STAGES)}",
    "id": "; name the entry as 'provider/model'",
    "prices": "; list at least one block of prices",
    "per_1m": "; give USD per million tokens, as {input: 0.40, output: 1.60}",
}


def fault(text: str) -> PydanticCustomError:
    """Make the error of a value; `{what}` in its text becomes the value's name."""
    return PydanticCustomError("fault", text)


def valid(read: Callable[[object], Read], value: object) -> Read | None:
    """Read a value, `None` for one that cannot be used."""
    try:
        return read(value)
    except PydanticCustomError:
        return None


def remedy(word: str, known: Iterable[str]) -> str:
    """Say what to write in place of an unknown word."""
    known = tuple(known)
    meant = _MEANT.get(word)
    close = meant if meant in known else closest(word, known)
    return f"did you mean '{close}'?" if close else f"known are {', '.join(known)}"


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise fault("{what} must be text, and not empty")


def amount(value: object) -> str:
    """Read a price or a length, as decimal text."""
    text = _text(value)
    if _AMOUNT.fullmatch(text):
        return text
    if text.startswith("-"):
        raise fault(f"{{what}} is '{text}'; it cannot be negative")
    raise fault(f"{{what}} is '{text}', which is no number; write digits with a point, as 0.0048")


def count(value: object) -> int:
    """Read a whole number above zero."""
    text = _text(value)
    if not _COUNT.fullmatch(text):
        raise fault(f"{{what}} is '{text}'; write a whole number above zero")
    return int(text)


def day(value: object) -> str:
    """Read a day, as `2026-10-21`."""
    text = _text(value)
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise fault(f"{{what}} is '{text}', which is no day; write it as 2026-10-21")


def time_of_day(value: object) -> str:
    """Read a minute of the day in UTC, as `16:30`."""
    text = _text(value)
    if not _TIME_OF_DAY.fullmatch(text):
        raise fault(f"{{what}} is '{text}', no time of day (UTC); write it as '16:30'")
    return text


def one_of(kind: str, known: tuple[str, ...]) -> Callable[[object], str]:
    """Make a validator that takes one of a closed set of words."""

    def word(value: object) -> str:
        text = _text(value)
        if text not in known:
            raise fault(f"{kind} '{text}' is not known; {remedy(text, known)}")
        return text

    return word


def _host(text: str) -> str:
    if not HOST.fullmatch(text):
        raise fault(f"host '{text}' is none; write it in lower case without scheme, port or path")
    return text


def _label(text: str) -> str:
    if "*" in text[:-1]:
        raise fault(f"label '{text}' may have '*' at its end only")
    return text


def _pattern(text: str) -> str:
    why = ""
    if "*" in text[:-1]:
        why = "'*' stands for the rest of a name, at its end only"
    elif DATE_MARK in text and text.endswith("*"):
        why = f"use either '{DATE_MARK}' or '*'"
    elif text.count(DATE_MARK) > 1 or set("<>") & set(text.replace(DATE_MARK, "")):
        why = f"a snapshot's date is written '{DATE_MARK}', once"
    if why:
        raise fault(f"model '{text}' cannot be matched; {why}")
    return text


def _written(pattern: re.Pattern[str], *kinds: str) -> dict[str, object]:
    """JSON Schema of a text; what YAML reads as a number has no form to hold it to."""
    return {"type": list(kinds), "pattern": f"^(?:{pattern.pattern})$"}


_TEXT_SCHEMA: Final[dict[str, object]] = {"type": ["string", "number"], "pattern": r"\S"}
_MATCH_SCHEMA: Final = rf"^(?:[^*<>]+\*?|[^*<>]*{DATE_MARK}[^*<>]*)$"

Written: TypeAlias = Annotated[str, BeforeValidator(_text), WithJsonSchema(_TEXT_SCHEMA)]
"""Text that says something."""
Amount: TypeAlias = Annotated[
    str,
    BeforeValidator(amount),
    WithJsonSchema({**_written(_AMOUNT, "number", "string"), "minimum": 0}),
]
"""A price or a length, as decimal text."""
Count: TypeAlias = Annotated[
    int,
    BeforeValidator(count),
    WithJsonSchema({**_written(_COUNT, "integer", "string"), "minimum": 1}),
]
"""A whole number above zero."""
Day: TypeAlias = Annotated[
    str, BeforeValidator(day), WithJsonSchema({**_written(_DAY, "string"), "format": "date"})
]
"""A day, as `2026-10-21`."""
TimeOfDay: TypeAlias = Annotated[
    str, BeforeValidator(time_of_day), WithJsonSchema(_written(_TIME_OF_DAY, "string"))
]
"""A minute of the day in UTC, as `16:30`."""
StageWord: TypeAlias = Annotated[Stage, BeforeValidator(one_of("stage", STAGES))]
BasisWord: TypeAlias = Annotated[Basis, BeforeValidator(one_of("basis", BASES))]
ConfidenceWord: TypeAlias = Annotated[
    Confidence, BeforeValidator(one_of("confidence", CONFIDENCES))
]
Host: TypeAlias = Annotated[
    Written, AfterValidator(_host), WithJsonSchema(_written(HOST, "string"))
]
LabelPath: TypeAlias = Annotated[
    Written,
    AfterValidator(_label),
    WithJsonSchema({"type": "string", "pattern": r"^[^*]+\*?$"}),
]
Pattern: TypeAlias = Annotated[
    Written,
    AfterValidator(_pattern),
    WithJsonSchema({**_TEXT_SCHEMA, "pattern": _MATCH_SCHEMA}),
]
"""A model as plugins report it, with `<date>` or `*` where its name varies."""
EntryId: TypeAlias = Annotated[Written, WithJsonSchema(_written(ENTRY_ID, "string"))]
