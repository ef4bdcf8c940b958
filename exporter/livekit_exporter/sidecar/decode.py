"""Decodes journal lines into records, and refuses what cannot be stored.

No other place checks a record: a line may come from another version, from another
language, or from a broken disk.  The ledger can store every record that passes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from livekit_exporter.record import (
    EARLIEST,
    LARGEST_QUANTITY,
    LATEST,
    SCHEMA_VERSION,
    BudgetReached,
    CollectorReport,
    MessageAdded,
    Record,
    RequestTraced,
    Usage,
    UsageEstimated,
    UsageReported,
)

_records: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
_current: Final = b'{"v":%d,' % SCHEMA_VERSION
_quantities: Final = attrgetter(*(spec.name for spec in fields(Usage)))
_sizes: Final = attrgetter("prompt_characters", "reply_characters")


class RejectedError(Exception):
    """Signals a line that is no record.

    Args:
        reason: One of `not_json`, `version`, `kind`, `invalid`, `out_of_range`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(line: bytes) -> Record:
    """Decode one line, without its newline.

    Raises:
        RejectedError: The line is no record that this version can store.
    """
    if not line.startswith(_current):
        _check_version(line)
    try:
        record = _records.validate_json(line, strict=True)
    except ValidationError as error:
        raise RejectedError(_reason(error)) from None
    _check(record, line)
    return record


def _check_version(line: bytes) -> None:
    """Parse a line that does not begin with its version, only to check the version.

    Raises:
        RejectedError: The line is no JSON object, or it has another version or none.
    """
    try:
        said = from_json(line)
    except ValueError:
        raise RejectedError("not_json") from None
    version = said.get("v") if isinstance(said, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise RejectedError("version" if isinstance(said, dict) else "invalid")


def _reason(error: ValidationError) -> str:
    kind = error.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
    if kind == "json_invalid":
        return "not_json"
    if kind == "string_too_long":
        return "out_of_range"
    return "kind" if kind.startswith("union_tag") else "invalid"


def _check(record: Record, line: bytes) -> None:
    """Refuse values that a database cannot hold or that no metric can mean.

    Raises:
        RejectedError: A number or a text is out of range.
    """
    if not EARLIEST <= record.at <= LATEST or not record.session:
        raise RejectedError("out_of_range")
    for quantity in _counted(record):
        if not 0 <= quantity <= LARGEST_QUANTITY:
            raise RejectedError("out_of_range")
    # PostgreSQL cannot store NUL.  It is rare, so one search in the line saves a walk
    # through every record.
    if b"\\u0000" in line and any("\0" in text for text in _texts(record)):
        raise RejectedError("invalid")


def _counted(record: Record) -> Iterable[float]:
    """Return every number of a record that is stored or added up without another check."""
    if isinstance(record, UsageReported):
        return (record.requests, *_quantities(record.usage))
    if isinstance(record, UsageEstimated):
        return (record.requests, *_sizes(record), *_quantities(record.usage))
    if isinstance(record, RequestTraced):
        return (
            *_sizes(record),
            record.input_tokens,
            record.cached_input_tokens,
            record.output_tokens,
            record.characters,
            record.answering_seconds,
        )
    if isinstance(record, MessageAdded):
        return (record.characters,)
    if isinstance(record, CollectorReport):
        return (*record.dropped.values(), *record.rejected.values())
    return (record.limit_usd or 0.0, record.spend_usd) if isinstance(record, BudgetReached) else ()


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a record, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts(name)
            yield from _texts(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from _texts(part)
    elif is_dataclass(value):
        for spec in fields(value):
            yield from _texts(getattr(value, spec.name))
