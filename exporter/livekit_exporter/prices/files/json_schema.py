"""JSON Schema of a price file, for editors: completion, descriptions, and most mistakes.

Generated from the models that the check uses, so that the two say the same.  What only all
files together show (an id that stands twice, a default that does not exist) is left to
`livekit-exporter prices check`.
"""

import json
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

from livekit_exporter.prices.files.blocks import (
    CharacterBlock,
    CharacterHours,
    TimeBlock,
    TimeHours,
)
from livekit_exporter.prices.files.check import SCHEMA_VERSION
from livekit_exporter.prices.files.models import (
    CharacterEntry,
    FreeEntry,
    ProviderPart,
    TimeEntry,
    TokenEntry,
)
from livekit_exporter.prices.files.words import PROVIDER_ID

FILE: Final = Path(__file__).parent.parent / "prices.schema.json"


class _Generator(GenerateJsonSchema):
    """Leaves out what a person who writes a file has no use for: nulls, defaults and titles."""

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


class _Document(BaseModel):
    model_config = ConfigDict(
        extra="forbid", title="A price file of livekit-exporter", use_attribute_docstrings=True
    )

    schema_: Annotated[int, Field(alias="schema", json_schema_extra={"const": SCHEMA_VERSION})]
    """Version of the format."""
    currency: Literal["USD"]
    """Of all prices of the file."""
    providers: dict[str, ProviderPart] = {}
    """Who is billed, by an id that becomes the provider label, and how events call it."""
    entries: list[TokenEntry | TimeEntry | CharacterEntry | FreeEntry] = []
    """What is priced. Over the shipped prices, an entry replaces what it says by id."""


def json_schema() -> JsonSchemaValue:
    """Generate the schema, draft 2020-12.

    It holds for shipped files and for files of one's own alike, so what an entry or a
    provider may leave to the shipped one is not required.
    """
    schema = _Document.model_json_schema(schema_generator=_Generator)
    parts: dict[str, JsonSchemaValue] = schema["$defs"]
    schema["properties"]["providers"] |= {
        "propertyNames": {"pattern": f"^(?:{PROVIDER_ID.pattern})$"},
        "additionalProperties": {"$ref": "#/$defs/ProviderPart"},
    }
    # One that is known by its id alone has nothing to say.
    parts["ProviderPart"]["type"] = ["object", "null"]
    parts["ProviderPart"]["dependentRequired"] = {"usd_per_1m_credits": ["source", "checked"]}
    parts["FreeEntry"]["required"] = ["id", "free"]
    for name in ("TokenEntry", "TimeEntry", "CharacterEntry"):
        parts[name]["required"] = ["id"]
        parts[name]["dependentSchemas"] = {
            "min_seconds_per_request": {"properties": {"stage": {"const": "stt"}}}
        }
    for model in (TimeBlock, TimeHours, CharacterBlock, CharacterHours):
        parts[model.__name__]["oneOf"] = [{"required": [key]} for key in model.price_keys()]
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def rendered() -> str:
    """Return the text of the schema's file."""
    return json.dumps(json_schema(), indent=2) + "\n"
