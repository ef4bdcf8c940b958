"""One journal line becomes one record, or a reason why it cannot.

The only place that trusts nothing: a line may come from another version, another
language, or a disk that lost its mind.  Whatever passes here can be stored.
"""

import re
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from livekit_exporter.record import (
    SCHEMA_VERSION,
    CollectorReport,
    MessageAdded,
    Record,
    SessionStarted,
    Usage,
    UsageReported,
)

LARGEST_QUANTITY: Final = 1e12
"""More tokens, characters or seconds than this is no usage of one request."""

EARLIEST: Final = 1_577_836_800.0
LATEST: Final = 7_258_118_400.0
"""Years 2020 to 2200: any other time is a clock error, and the line's own."""

_LONGEST_TEXT: Final = 1024

_records: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
_version: Final = re.compile(rb'^\s*\{.*?"v"\s*:\s*(-?\d+)', re.DOTALL)
_current: Final = b'{"v":%d,' % SCHEMA_VERSION
_quantities: Final = attrgetter(*(spec.name for spec in fields(Usage)))


class RejectedError(Exception):
    """A line that is no record.

    Args:
        reason: One of a closed set: `not_json`, `version`, `kind`, `invalid`, `out_of_range`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(line: bytes) -> Record:
    """Read one line, without its newline.

    Raises:
        RejectedError: It is no record that this version can store.
    """
    if not line.startswith(_current):
        found = _version.match(line)
        if found is not None and int(found[1][:20]) != SCHEMA_VERSION:
            raise RejectedError("version")
    try:
        record = _records.validate_json(line, strict=True)
    except ValidationError as error:
        raise RejectedError(_reason(error)) from None
    _check(record, line)
    return record


def _reason(error: ValidationError) -> str:
    kind = error.errors(include_url=False, include_context=False, include_input=False)[0]["type"]
    if kind == "json_invalid":
        return "not_json"
    return "kind" if kind.startswith("union_tag") else "invalid"


def _check(record: Record, line: bytes) -> None:
    """Refuse what a database cannot hold or a metric cannot mean.

    Raises:
        RejectedError: A number or a text is out of range.
    """
    if not EARLIEST <= record.at <= LATEST or not record.session:
        raise RejectedError("out_of_range")
    for quantity in _counted(record):
        if not 0 <= quantity <= LARGEST_QUANTITY:
            raise RejectedError("out_of_range")
    # PostgreSQL has no NUL, and one text must not fill the page.  Both are rare, so the
    # line as a whole says whether a closer look is needed.
    if b"\\u0000" in line:
        raise RejectedError("invalid")
    if len(line) > _LONGEST_TEXT and not isinstance(record, SessionStarted):
        _check_texts(record)


def _counted(record: Record) -> Iterable[float]:
    """Every number of a record that is stored or added up without a check of its own."""
    if isinstance(record, UsageReported):
        return (record.requests, *_quantities(record.usage))
    if isinstance(record, MessageAdded):
        return (record.characters,)
    if isinstance(record, CollectorReport):
        return (*record.dropped.values(), *record.rejected.values())
    return ()


def _check_texts(record: Record) -> None:
    for spec in fields(record):
        value = getattr(record, spec.name)
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            raise RejectedError("out_of_range")
