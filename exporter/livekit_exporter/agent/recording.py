"""Checks what an agent's author records by hand, completely and at once.  Pure.

What passes here the sidecar takes; what does not is a `ValueError` that names the argument.
"""

import difflib
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, get_args

from livekit_exporter.agent.fields import CLOCK_TOLERANCE_SECONDS, number
from livekit_exporter.record import (
    EARLIEST,
    LARGEST_QUANTITY,
    LONGEST_TEXT,
    Phase,
    Stage,
    Usage,
    UsageReported,
)

QUANTITIES: Final = tuple(spec.name for spec in fields(Usage))
STAGES: Final[tuple[str, ...]] = get_args(Stage)
MOST_USD: Final = Decimal(1_000_000)
"""More than that is no cost of one request."""

_WHOLES: Final = {
    "cached_input_tokens": "input_tokens",
    "cache_write_tokens": "input_tokens",
    "input_audio_tokens": "input_tokens",
    "input_image_tokens": "input_tokens",
    "cached_audio_tokens": "cached_input_tokens",
    "cached_image_tokens": "cached_input_tokens",
    "output_audio_tokens": "output_tokens",
    "output_image_tokens": "output_tokens",
}
"""Quantities that are contained in another one."""

_INPUT_DETAILS: Final = {
    "cached_tokens": "cached_input_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "audio_tokens": "input_audio_tokens",
    "image_tokens": "input_image_tokens",
}
_OUTPUT_DETAILS: Final = {
    "audio_tokens": "output_audio_tokens",
    "image_tokens": "output_image_tokens",
}
VENDOR_NAMES: Final[Mapping[str, str]] = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
}
"""OpenAI's names of quantities, which most vendors have copied."""

_DETAILS: Final[Mapping[str, Mapping[str, str]]] = {
    "prompt_tokens_details": _INPUT_DETAILS,
    "input_tokens_details": _INPUT_DETAILS,
    "input_token_details": _INPUT_DETAILS,
    "completion_tokens_details": _OUTPUT_DETAILS,
    "output_tokens_details": _OUTPUT_DETAILS,
    "output_token_details": _OUTPUT_DETAILS,
}


def usage(reported: object, quantities: Mapping[str, object]) -> Usage:
    """Read usage from a vendor's usage object and from named quantities, which go before it.

    Args:
        reported: An object or mapping with OpenAI's fields, such as `response.usage`, or a
            `Usage`; `None` for none.  Fields that are no quantity are skipped.
        quantities: By the names of `Usage` or by OpenAI's; `None` is a quantity that was not
            reported.

    Raises:
        ValueError: A quantity has an unknown name, or is no plausible amount.
    """
    amounts = {} if reported is None else _read_object(reported)
    for name, value in quantities.items():
        field = VENDOR_NAMES.get(name, name)
        if field not in QUANTITIES:
            raise ValueError(_unknown(name))
        if value is not None:
            amounts[field] = _amount(name, value)
    for part, whole in _WHOLES.items():
        if amounts.get(part, 0) > amounts.get(whole, 0):
            raise ValueError(
                f"{part} is {amounts[part]}, which is more than {whole}, {amounts.get(whole, 0)};"
                f" {whole} contains it"
            )
    return Usage(**amounts)  # type: ignore[arg-type]  # tokens are int, seconds float


def _read_object(reported: object) -> dict[str, float]:
    values = _fields(reported)
    found: dict[str, float] = {}
    for name, value in values.items():
        field = VENDOR_NAMES.get(name, name)
        if field in QUANTITIES and value is not None:
            found[field] = _amount(name, value)
        for inner, inner_field in _DETAILS.get(name, {}).items():
            part = None if value is None else _fields(value).get(inner)
            if part is not None:
                found[inner_field] = _amount(f"{name}.{inner}", part)
    if not found:
        raise ValueError(
            f"usage has none of the fields that are known, it is {type(reported).__name__};"
            " give an object with prompt_tokens and completion_tokens, or name the quantities"
        )
    return found


# Any: the values are checked one by one.
def _fields(value: object) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    names = getattr(value, "__slots__", None) or getattr(value, "__dict__", {})
    return {name: getattr(value, name, None) for name in names if isinstance(name, str)}


def _amount(name: str, value: object) -> float:
    amount = number(value)
    if amount is None or not 0 <= amount <= LARGEST_QUANTITY:
        raise ValueError(f"{name} must be a number from 0 to {LARGEST_QUANTITY:g}, not {value!r}")
    if name.endswith("_seconds"):
        return amount
    # Only durations have fractions.
    if amount != int(amount):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return int(amount)


def _unknown(name: str) -> str:
    known = (*QUANTITIES, *VENDOR_NAMES)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"{name} is no quantity; {hint}"


def report(  # noqa: PLR0913 (everything that a record of usage may say)
    *,
    session: str,
    provider: object,
    model: object,
    stage: object,
    used: Usage,
    at: object,
    speech: object,
    cost_usd: object,
    requests: object,
    request: object,
    phase: Phase,
) -> UsageReported:
    """Build the record.

    Raises:
        ValueError: An argument is wrong; the text names it.
    """
    if stage not in STAGES:
        raise ValueError(f"stage must be one of {', '.join(STAGES)}, not {stage!r}")
    counted = number(requests)
    if counted is None or not 0 <= counted <= LARGEST_QUANTITY or counted != int(counted):
        raise ValueError(f"requests must be a whole number from 0, not {requests!r}")
    return UsageReported(
        session=session,
        at=_time(at),
        stage=stage,  # type: ignore[arg-type]  # checked above
        provider=_name("provider", provider),
        model=_name("model", model),
        request="" if request is None else _name("request", request),
        speech=None if speech is None else _name("speech", speech),
        usage=used,
        requests=int(counted),
        cost_usd=None if cost_usd is None else _usd(cost_usd),
        phase=phase,
    )


def _name(argument: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{argument} must be a text that is not empty, not {value!r}")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"{argument} has {len(value)} characters, more than {LONGEST_TEXT}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{argument} is not valid Unicode: {value!r}") from None
    if "\0" in value:
        raise ValueError(f"{argument} contains a NUL: {value!r}")
    return value


def _time(at: object) -> float:
    now = time.time()
    if at is None:
        return now
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError(f"at must have a time zone, such as datetime.now(UTC); it is {at!r}")
        at = at.timestamp()
    seconds = number(at)
    if seconds is None or not EARLIEST <= seconds <= now + CLOCK_TOLERANCE_SECONDS:
        raise ValueError(
            f"at must be Unix seconds since 2020 and not in the future, or a datetime, not {at!r}"
        )
    return seconds


def _usd(cost: object) -> float:
    if not isinstance(cost, bool) and isinstance(cost, (int, float, str, Decimal)):
        with suppress(InvalidOperation):  # no number, or none that can be compared
            usd = Decimal(str(cost))
            if 0 <= usd <= MOST_USD:
                return float(usd)
    raise ValueError(f"cost_usd must be US dollars from 0 to {MOST_USD}, not {cost!r}")
