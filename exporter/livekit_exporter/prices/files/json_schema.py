"""JSON Schema of a price file, for editors: completion, descriptions, and most mistakes.

Made from the words that the check knows, so that the two say the same.  What only all
files together show (an id that stands twice, a default that does not exist) is left to
`livekit-exporter prices check`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from livekit_exporter.prices.catalogue import DATE_MARK
from livekit_exporter.prices.files.blocks import (
    BLOCK_KEYS,
    SECTION_KEYS,
    TIER_KEYS,
    WINDOW_KEYS,
    price_keys,
)
from livekit_exporter.prices.files.page import AMOUNT, COUNT, DAY, STAGES, TIME_OF_DAY
from livekit_exporter.prices.files.schema import (
    BILLED_KEYS,
    ENTRY_ID,
    ENTRY_KEYS,
    FILE_KEYS,
    HOST,
    PROVIDER_ID,
    PROVIDER_KEYS,
    SCHEMA_VERSION,
    TARIFF_KEYS,
)
from livekit_exporter.prices.units import BASES, CONFIDENCES, KINDS, Basis

FILE: Final = Path(__file__).parent.parent / "prices.schema.json"

DESCRIPTIONS: Final = {
    "schema": "Version of the format.",
    "currency": "Of all prices of the file.",
    "providers": "Who is billed, by an id that becomes the provider label, and how events call it.",
    "entries": "What is priced. Over the shipped prices, an entry replaces what it says by id.",
    "hosts": "Hosts as events carry them, in lower case without port; '*.acme.com' for all below.",
    "names": "Display names as events carry them, without regard to case.",
    "labels": "Class paths of plugins that name no provider; '*' at the end for the rest.",
    "defaults": "Entry for models that the plugin does not name, by stage.",
    "usd_per_1m_credits": "What a million of the vendor's credits cost on the plan that is billed.",
    "source": "Where the price was read: a page, a contract.",
    "checked": "Day on which the source was read, as 2026-10-21.",
    "id": "provider/name, unique; kept with every cost.",
    "stage": "Stage of the events that it prices.",
    "match": (
        f"Models as plugins report them; '{DATE_MARK}' for the date of a snapshot, '*' at the end"
        " for the rest. Left out: the id's name. Empty: only as a provider's default."
    ),
    "free": "Why nobody bills it, for example self-hosted; in place of basis and prices.",
    "basis": "What is billed. An entry has one, because plugins fill more than one usage field.",
    "prices": "Dated prices, oldest first; only the first may lack 'valid_from'.",
    "fallback": "For requests that report nothing of the basis: another basis with its prices.",
    "min_seconds_per_request": "Least audio that a request which is no stream is billed for.",
    "round_up_seconds": "A call leg is rounded up once to whole steps of this.",
    "valid_from": "In force from midnight UTC of this day, as 2027-01-01.",
    "confidence": "medium or low where the sources disagree or are weak; high when left out.",
    "time_of_day": "Hours of every day, UTC, in which other prices hold.",
    "from": "First minute of the hours, as '16:30', UTC.",
    "until": "First minute after the hours, as '00:30', UTC; may lie behind midnight.",
    "per_1m": "USD per million tokens, for all modalities that have no prices of their own.",
    "audio_per_1m": "USD per million audio tokens; what is not listed then has no price.",
    "image_per_1m": "USD per million image tokens; what is not listed then has no price.",
    "above_input_tokens": "Prices of the whole request once its input is over a threshold.",
    "over": "Input tokens, cached ones included; the threshold itself is priced below.",
    "input": "USD per million input tokens.",
    "cached_input": "USD per million tokens read from a cache; the input price when left out.",
    "cache_write": "USD per million tokens written to a cache; the input price when left out.",
    "output": "USD per million output tokens, thinking included.",
    "per_second": "USD per second.",
    "per_minute": "USD per minute.",
    "per_hour": "USD per hour.",
    "credits_per_second": "Credits per second; the provider says what credits cost.",
    "per_1k_chars": "USD per thousand characters (Unicode code points).",
    "per_1m_chars": "USD per million characters (Unicode code points).",
    "credits_per_char": "Credits per character; the provider says what credits cost.",
}

_Schema: TypeAlias = dict[str, object]


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list(item: _Schema) -> _Schema:
    return {"type": "array", "items": item}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _written(pattern: re.Pattern[str], *kinds: str) -> _Schema:
    """Text of this form; what YAML reads as a number has no form to hold it to."""
    return {"type": list(kinds), "pattern": _whole(pattern.pattern)}


_AMOUNT: Final[_Schema] = {**_written(AMOUNT, "number", "string"), "minimum": 0}
_COUNT: Final[_Schema] = {**_written(COUNT, "integer", "string"), "minimum": 1}
_DAY: Final[_Schema] = {**_written(DAY, "string"), "format": "date"}
_TEXT: Final[_Schema] = {"type": ["string", "number"], "pattern": r"\S"}

_VALUES: Final[Mapping[str, _Schema]] = {
    "schema": {"const": SCHEMA_VERSION},
    "currency": {"const": "USD"},
    "providers": {
        "type": "object",
        "propertyNames": {"pattern": _whole(PROVIDER_ID.pattern)},
        "additionalProperties": _ref("provider"),
    },
    "entries": _list(_ref("entry")),
    "hosts": _list(_written(HOST, "string")),
    "names": _list(_TEXT),
    "labels": _list({"type": "string", "pattern": r"^[^*]+\*?$"}),
    "defaults": {
        "type": "object",
        "propertyNames": {"enum": list(STAGES)},
        "additionalProperties": _written(ENTRY_ID, "string"),
    },
    "source": _TEXT,
    "checked": _DAY,
    "id": _written(ENTRY_ID, "string"),
    "stage": {"enum": list(STAGES)},
    "match": _list({**_TEXT, "pattern": rf"^(?:[^*<>]+\*?|[^*<>]*{DATE_MARK}[^*<>]*)$"}),
    "free": _TEXT,
    "basis": {"enum": list(BASES)},
    "prices": {**_list(_ref("block")), "minItems": 1},
    "fallback": _ref("fallback"),
    "round_up_seconds": _COUNT,
    "valid_from": _DAY,
    "confidence": {"enum": list(CONFIDENCES)},
    "time_of_day": _list(_ref("hours")),
    "from": _written(TIME_OF_DAY, "string"),
    "until": _written(TIME_OF_DAY, "string"),
    "above_input_tokens": _list(_ref("tier")),
    "over": _COUNT,
    **{key: _ref("tokens") for key in SECTION_KEYS},
    "per_1m": {**_ref("tokens"), "required": ["input", "output"]},
}
"""What may stand behind a key; behind any other stands an amount."""


def json_schema() -> _Schema:
    """The schema, draft 2020-12.

    It holds for shipped files and for files of one's own alike, so what an entry or a
    provider may leave to the shipped one is not required.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A price file of livekit-exporter",
        **_table(FILE_KEYS, ["schema", "currency"]),
        "$defs": {
            "provider": _provider(),
            "entry": _entry(),
            "fallback": {**_table(TARIFF_KEYS, TARIFF_KEYS), "allOf": _by_basis()},
            "block": _table((*BLOCK_KEYS, *_all_price_keys()), ["source", "checked"]),
            "hours": _table((*WINDOW_KEYS, *_all_price_keys()), WINDOW_KEYS),
            "tier": _table(TIER_KEYS, ["over", "per_1m"]),
            "tokens": {**_table(KINDS), "minProperties": 1},
            **{f"bills_{basis}": _bills(basis) for basis in BASES},
        },
    }


def rendered() -> str:
    """The text of the schema's file."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _table(keys: Iterable[str], required: Sequence[str] = ()) -> _Schema:
    return {
        "type": "object",
        "properties": {
            key: {"description": DESCRIPTIONS[key], **_VALUES.get(key, _AMOUNT)} for key in keys
        },
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


def _provider() -> _Schema:
    return {
        **_table(PROVIDER_KEYS),
        # One that is known by its id alone has nothing to say.
        "type": ["object", "null"],
        "dependentRequired": {"usd_per_1m_credits": ["source", "checked"]},
    }


def _entry() -> _Schema:
    billed: _Schema = {"anyOf": [{"required": [key]} for key in BILLED_KEYS]}
    return {
        **_table(ENTRY_KEYS, ["id"]),
        "oneOf": [
            {"title": "free", "required": ["free"], "not": billed},
            {"title": "billed", "not": {"required": ["free"]}},
        ],
        "dependentSchemas": {
            "min_seconds_per_request": {"properties": {"stage": {"const": "stt"}}},
        },
        "allOf": _by_basis(),
    }


def _by_basis() -> list[_Schema]:
    """Hold the blocks of a tariff to the prices that its basis is written with."""
    return [
        {
            "if": {"properties": {"basis": {"const": basis}}, "required": ["basis"]},
            "then": {"properties": {"prices": {"items": _ref(f"bills_{basis}")}}},
        }
        for basis in BASES
    ]


def _bills(basis: Basis) -> _Schema:
    """What a block of this basis has, in addition to what every block has."""
    keys = price_keys(basis)
    price: _Schema = (
        {"required": ["per_1m"]}
        if basis == "tokens"
        else {"oneOf": [{"required": [key]} for key in keys]}
    )
    hours: _Schema = {"propertyNames": {"enum": [*WINDOW_KEYS, *keys]}, **price}
    return {
        "propertyNames": {"enum": [*BLOCK_KEYS, *keys]},
        **price,
        "properties": {"time_of_day": {"items": hours}},
    }


def _all_price_keys() -> list[str]:
    return list(dict.fromkeys(key for basis in BASES for key in price_keys(basis)))
