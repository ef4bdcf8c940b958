"""Hold the shipped prices against pinned public lists: `make prices-check`.

python -m tests.prices.reviewed MAP    genai-prices as installed, and a LiteLLM price map

Fails on a difference that `allowed_differences.yaml` does not explain, and on a line of
that file which explains nothing any more.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, ValidationError

from livekit_exporter.prices.catalogue import from_compiled
from livekit_exporter.prices.compare import genai, litellm, output
from livekit_exporter.prices.compare.differences import Difference, Place, compare
from livekit_exporter.prices.compare.price_list import PriceListError, stated
from livekit_exporter.prices.files import compile as price_files
from livekit_exporter.prices.files.blocks import FilePart
from livekit_exporter.prices.files.located import PriceFileError, Problem, key_line, plain
from livekit_exporter.prices.files.messages import mistakes
from livekit_exporter.prices.files.words import Amount, Count, Day, Written, one_of
from livekit_exporter.prices.units import BASIS_UNIT, TOKEN_UNIT

ALLOWED: Final = Path(__file__).with_name("allowed_differences.yaml")

_KINDS: Final = (genai.KIND, litellm.KIND)
_UNITS: Final = (*TOKEN_UNIT.values(), *dict.fromkeys(BASIS_UNIT.values()))


@dataclass(frozen=True, slots=True)
class Allowed:
    """One explained difference; prices as a vendor's page states them."""

    kind: str
    """The list that differs."""
    place: Place
    ours: Decimal
    theirs: Decimal
    line: int

    def explains(self, kind: str, one: Difference) -> bool:
        """Whether it is about this difference, down to both figures."""
        unit = self.place.unit
        return (
            (kind, one.place) == (self.kind, self.place)
            and stated(one.ours, unit) == self.ours
            and stated(one.theirs, unit) == self.theirs
        )


@dataclass(frozen=True, slots=True)
class Review:
    """The allow list."""

    day: date
    """Day whose prices are compared: that of the pinned lists, which know no later one."""
    allowed: tuple[Allowed, ...]


class _Pair(FilePart):
    ours: Amount
    theirs: Amount


class _Line(FilePart):
    id: Written
    source: Annotated[str, BeforeValidator(one_of("source", _KINDS))]
    above_input_tokens: Count | None = None
    prices: dict[Annotated[str, BeforeValidator(one_of("unit", _UNITS))], _Pair] = Field(
        default_factory=dict
    )
    reason: Written


class _List(FilePart):
    day: Day
    allowed: tuple[_Line, ...]
    to_correct: tuple[_Line, ...]


def read(path: Path) -> Review:
    """Read an allow list.

    Raises:
        OSError: It cannot be read.
        PriceFileError: There are mistakes; it carries all of them.
    """
    file = price_files.read(path, path.name)
    try:
        review = _List.model_validate(plain(file.root))
    except ValidationError as error:
        found = mistakes(error, file.root, "an allow list")
        raise PriceFileError(
            [Problem(file.name, line, message) for line, message in found]
        ) from error
    allowed = [
        Allowed(
            line.source,
            Place(line.id, unit, line.above_input_tokens or 0),
            Decimal(pair.ours),
            Decimal(pair.theirs),
            key_line(file.root, (part, number, "prices", unit)),
        )
        for part in ("allowed", "to_correct")
        for number, line in enumerate(getattr(review, part))
        for unit, pair in line.prices.items()
    ]
    return Review(date.fromisoformat(review.day), tuple(allowed))


def unexplained(
    differences: Mapping[str, Sequence[Difference]], allowed: Sequence[Allowed]
) -> tuple[dict[str, list[Difference]], list[Allowed]]:
    """Differences by list that nothing explains, and lines that explain none of them."""
    rest = {
        kind: [one for one in found if not any(line.explains(kind, one) for line in allowed)]
        for kind, found in differences.items()
    }
    stale = [
        line
        for line in allowed
        if not any(line.explains(kind, one) for kind, found in differences.items() for one in found)
    ]
    return rest, stale


def main(price_map: Path, allow_list: Path = ALLOWED) -> int:
    """Print what is wrong; the exit status is 1 where something is."""
    try:
        review = read(allow_list)
        noon = datetime.combine(review.day, time(12), UTC)
        lists = genai.read(noon), litellm.read(price_map)
        catalogue = from_compiled(price_files.compiled(price_files.shipped()))
    except (OSError, PriceFileError, PriceListError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    comparisons = {one.kind: compare(catalogue, one, noon.timestamp()) for one in lists}
    rest, stale = unexplained(
        {kind: comparison.differ for kind, comparison in comparisons.items()}, review.allowed
    )
    for one in lists:
        output.show(comparisons[one.kind].differ)
        print(output.counts(comparisons[one.kind], one, review.day), end="\n\n")
        if rest[one.kind]:
            print(f"{allow_list.name} does not explain, and no price may differ unexplained:")
            output.show(rest[one.kind])
    for line in stale:
        print(
            f"{allow_list.name}:{line.line}: {line.kind} no longer differs so from"
            f" '{line.place.price_id}', {output.unit_of(line.place)}; remove or correct the line"
        )
    return 1 if stale or any(rest.values()) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
