"""The parts of a price file: one provider, one entry, its dated prices.

pydantic checks each part by itself; `check` holds the parts of all files against one another.
The JSON Schema for editors is generated from these models, their descriptions included.
"""

from typing import Annotated, Final, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from livekit_exporter.prices.files.blocks import (
    Block,
    CharacterBlock,
    Part,
    TimeBlock,
    TokenBlock,
    report,
)
from livekit_exporter.prices.files.words import (
    WHY_REQUIRED,
    Amount,
    BasisWord,
    Count,
    Day,
    EntryId,
    FaultError,
    Host,
    LabelPath,
    Pattern,
    StageWord,
    Written,
)

_DAY_SECONDS: Final = 86400
SECTIONS: Final = ("per_1m", "audio_per_1m", "image_per_1m")


def _not_empty(blocks: object) -> object:
    # pydantic's own limit counts valid blocks, and would complain of a mistake in one again.
    if blocks in ([], ()):
        raise FaultError("'prices'; list at least one block of prices")
    return blocks


class _Tariff(Part):
    basis: BasisWord
    """What is billed. An entry has one, because plugins fill more than one usage field."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        faults, last = [], ""
        for number, block in enumerate(tariff_blocks(self)):
            start = block.valid_from or ""
            if number and not start:
                text = "'valid_from' is missing; only the first block may do without"
                faults.append(FaultError(text, "prices", number))
            elif number and start <= last:
                text = (
                    f"'valid_from' {start} does not come after {last or 'the block before'};"
                    " order the blocks by date, oldest first"
                )
                faults.append(FaultError(text, "prices", number))
            last = start or last
        report(faults)
        return self


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


def tariff_blocks(tariff: _Tariff) -> list[Block]:
    """Dated prices of a tariff, whatever it bills."""
    if isinstance(tariff, TokenTariff | TimeTariff | CharacterTariff):
        return list(tariff.prices)
    return []


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


class _EntryHead(Part):
    id: EntryId
    """provider/name, unique; kept with every cost."""
    stage: StageWord
    """Stage of the events that it prices."""
    match: tuple[Pattern, ...] | None = None
    """Models as plugins report them; '<date>' for the date of a snapshot, '*' at the end for the
    rest. Left out: the id's name. Empty: only as a provider's default."""


class FreeEntry(_EntryHead):
    """An entry that nobody bills."""

    free: Written
    """Why nobody bills it, for example self-hosted; in place of basis and prices."""


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

    @model_validator(mode="after")
    def _fits_its_basis(self) -> Self:
        faults = []
        bases = {self.basis} | ({self.fallback.basis} if self.fallback else set())
        if self.fallback is not None and self.fallback.basis == self.basis:
            text = (
                f"the fallback bills '{self.basis}' like the entry; it is for requests that"
                " report nothing of the entry's basis"
            )
            faults.append(FaultError(text, "fallback"))
        if self.min_seconds_per_request and (self.stage != "stt" or "audio_time" not in bases):
            text = "'min_seconds_per_request' is for stt that bills 'audio_time'"
            faults.append(FaultError(text, "min_seconds_per_request"))
        if self.round_up_seconds and "call_time" not in bases:
            text = "'round_up_seconds' is for entries that bill 'call_time'"
            faults.append(FaultError(text, "round_up_seconds"))
        report(faults)
        return self

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
BILLED_KEYS: Final = (
    "basis", "prices", "fallback", "min_seconds_per_request", "round_up_seconds",
)  # fmt: skip


class ProviderPart(Part):
    """Whom events name and whose credits cost what."""

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

    @model_validator(mode="after")
    def _credits_have_a_source(self) -> Self:
        if self.usd_per_1m_credits is None:
            return self
        required = {"source": self.source, "checked": self.checked}
        report(
            [
                FaultError(f"'{key}' is missing{WHY_REQUIRED[key]}")
                for key, value in required.items()
                if value is None
            ]
        )
        return self
