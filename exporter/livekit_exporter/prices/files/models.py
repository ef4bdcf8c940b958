"""The parts of a price file: one provider, one entry, its dated prices.

pydantic checks each part by itself; `check` holds the parts of all files against one another.
The JSON Schema for editors is generated from these models, their descriptions included.
"""

from collections.abc import Iterator
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag

from livekit_exporter.prices.files.blocks import (
    CharacterBlock,
    Fault,
    FilePart,
    Said,
    TimeBlock,
    TokenBlock,
    table,
    tables,
)
from livekit_exporter.prices.files.words import (
    STAGES,
    WHY_REQUIRED,
    Amount,
    BasisWord,
    Count,
    Day,
    EntryId,
    Host,
    LabelPath,
    Pattern,
    StageWord,
    Written,
    day,
    fault,
    one_of,
    valid,
)
from livekit_exporter.prices.units import BASES

BILLED_KEYS: Final = (
    "basis", "prices", "fallback", "min_seconds_per_request", "round_up_seconds",
)  # fmt: skip


def _not_empty(blocks: object) -> object:
    # pydantic's own limit counts valid blocks, and would complain of a mistake in one again.
    if blocks in ([], ()):
        raise fault("'prices'; list at least one block of prices")
    return blocks


class _Tariff(FilePart):
    basis: BasisWord
    """What is billed. An entry has one, because plugins fill more than one usage field."""

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        last = ""
        for number, block in enumerate(tables(said.get("prices"))):
            start = valid(day, block.get("valid_from")) or ""
            if number and not start:
                text = "'valid_from' is missing; only the first block may do without"
                yield Fault(text, ("prices", number))
            elif number and start <= last:
                text = (
                    f"'valid_from' {start} does not come after {last or 'the block before'};"
                    " order the blocks by date, oldest first"
                )
                yield Fault(text, ("prices", number))
            last = start or last


class TokenTariff(_Tariff):
    """Dated prices of tokens."""

    basis: Annotated[BasisWord, Field(json_schema_extra={"enum": ["tokens"]})]
    """What is billed. An entry has one, because plugins fill more than one usage field."""
    prices: Annotated[
        tuple[TokenBlock, ...],
        BeforeValidator(_not_empty),
        Field(json_schema_extra={"minItems": 1}),
    ]
    """Dated prices, oldest first; only the first may lack 'valid_from'."""


class TimeTariff(_Tariff):
    """Dated prices of time."""

    basis: Annotated[
        BasisWord,
        Field(
            json_schema_extra={"enum": ["audio_time", "session_time", "call_time", "request_time"]}
        ),
    ]
    """What is billed. An entry has one, because plugins fill more than one usage field."""
    prices: Annotated[
        tuple[TimeBlock, ...],
        BeforeValidator(_not_empty),
        Field(json_schema_extra={"minItems": 1}),
    ]
    """Dated prices, oldest first; only the first may lack 'valid_from'."""


class CharacterTariff(_Tariff):
    """Dated prices of characters."""

    basis: Annotated[BasisWord, Field(json_schema_extra={"enum": ["characters"]})]
    """What is billed. An entry has one, because plugins fill more than one usage field."""
    prices: Annotated[
        tuple[CharacterBlock, ...],
        BeforeValidator(_not_empty),
        Field(json_schema_extra={"minItems": 1}),
    ]
    """Dated prices, oldest first; only the first may lack 'valid_from'."""


TariffPart: TypeAlias = TokenTariff | TimeTariff | CharacterTariff


def _basis(said: Said) -> str | None:
    return valid(one_of("basis", BASES), said.get("basis"))


def _kind(value: object) -> str:
    """Tag of the model that a table is read as; a table without a known basis is read as tokens.

    The mistake in its basis is then the one that is reported.
    """
    said = value if isinstance(value, dict) else {}
    if "free" in said:
        return "<free>"
    basis = said.get("basis")
    if basis == "characters":
        return "<characters>"
    return "<time>" if isinstance(basis, str) and basis.strip().endswith("_time") else "<tokens>"


class _EntryHead(FilePart):
    id: EntryId
    """provider/name, unique; kept with every cost."""
    stage: StageWord
    """Stage of the events that it prices."""
    match: tuple[Pattern, ...] | None = None
    """Models as plugins report them; '<date>' for the date of a snapshot, '*' at the end for the
    rest. Left out: the id's name. Empty: only as a provider's default."""

    @classmethod
    def _keys(cls) -> list[str]:
        """Keys of an entry that is free, and of one that is billed."""
        return [*_EntryHead.model_fields, "free", *BILLED_KEYS]


class FreeEntry(_EntryHead):
    """An entry that nobody bills."""

    free: Written
    """Why nobody bills it, for example self-hosted; in place of basis and prices."""

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        for key in said:
            if key in BILLED_KEYS:
                text = f"'{key}' stands beside 'free'; an entry has a price or is free, remove one"
                yield Fault(text, (key,), "unknown_key")


_Fallback: TypeAlias = Annotated[
    Annotated[TokenTariff, Tag("<tokens>")]
    | Annotated[TimeTariff, Tag("<time>")]
    | Annotated[CharacterTariff, Tag("<characters>")],
    Discriminator(_kind),
]


class _BilledEntry(_EntryHead, _Tariff):
    fallback: _Fallback | None = None
    """For requests that report nothing of the basis: another basis with its prices."""
    min_seconds_per_request: Amount | None = None
    """Least audio that a request which is no stream is billed for."""
    round_up_seconds: Count | None = None
    """A call leg is rounded up once to whole steps of this."""

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        basis, fallback = _basis(said), _basis(table(said.get("fallback")))
        if basis is None or ("fallback" in said and fallback is None):
            return
        if fallback == basis:
            text = (
                f"the fallback bills '{basis}' like the entry; it is for requests that"
                " report nothing of the entry's basis"
            )
            yield Fault(text, ("fallback",))
        bases = {basis, fallback}
        stage = valid(one_of("stage", STAGES), said.get("stage")) or "stt"
        if "min_seconds_per_request" in said and (stage != "stt" or "audio_time" not in bases):
            text = "'min_seconds_per_request' is for stt that bills 'audio_time'"
            yield Fault(text, ("min_seconds_per_request",))
        if "round_up_seconds" in said and "call_time" not in bases:
            text = "'round_up_seconds' is for entries that bill 'call_time'"
            yield Fault(text, ("round_up_seconds",))

    def tariffs(self) -> list[TariffPart]:
        """The billing basis with its prices, then the fallback's."""
        own: list[TariffPart] = []
        if isinstance(self, TokenTariff | TimeTariff | CharacterTariff):
            own.append(self)
        return own if self.fallback is None else [*own, self.fallback]


class TokenEntry(TokenTariff, _BilledEntry):
    """An entry that bills tokens."""


class TimeEntry(TimeTariff, _BilledEntry):
    """An entry that bills time."""


class CharacterEntry(CharacterTariff, _BilledEntry):
    """An entry that bills characters."""


Entry: TypeAlias = Annotated[
    Annotated[FreeEntry, Tag("<free>")]
    | Annotated[TokenEntry, Tag("<tokens>")]
    | Annotated[TimeEntry, Tag("<time>")]
    | Annotated[CharacterEntry, Tag("<characters>")],
    Discriminator(_kind),
]


class ProviderPart(FilePart):
    """A provider: its names in events, its defaults, the price of its credits."""

    hosts: tuple[Host, ...] = ()
    """Hosts as events carry them, in lower case without port; '*.acme.com' for all below."""
    names: tuple[Written, ...] = ()
    """Display names as events carry them, without regard to case."""
    labels: tuple[LabelPath, ...] = ()
    """Class paths of plugins that name no provider; '*' at the end for the rest."""
    defaults: dict[StageWord, EntryId] = Field(default_factory=dict)
    """Entry for models that the plugin does not name, by stage."""
    usd_per_1m_credits: Amount | None = None
    """What a million of the vendor's credits cost on the plan that is billed."""
    source: Written | None = None
    """Where the price was read: a page, a contract."""
    checked: Day | None = None
    """Day on which the source was read, as 2026-10-21."""

    @classmethod
    def _faults(cls, said: Said) -> Iterator[Fault]:
        yield from super()._faults(said)
        if "usd_per_1m_credits" in said:
            for key in ("source", "checked"):
                if key not in said:
                    yield Fault(f"'{key}' is missing{WHY_REQUIRED[key]}")
