"""The part of the README that `make bench` writes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.figures import Answer, table

README: Final = Path(__file__).resolve().parent.parent / "README.md"
BEGIN: Final = "<!-- bench:begin -->"
END: Final = "<!-- bench:end -->"

_HEAD: Final = "## Cost of measuring"
_NEXT: Final = "## Where a change goes"


def block(answers: Sequence[Answer], circumstances: str) -> str:
    """The Markdown between the markers, markers included."""
    rows = [
        (quote.what, quote.measured, quote.against, quote.ratio)
        for answer in answers
        for quote in answer.quotes
    ]
    lines = table(("what", "measured", "compared with", "ratio"), rows)
    return f"{BEGIN}\n{lines}\n\n{circumstances}\n{END}"


def write(text: str, readme: Path = README) -> None:
    """Put a block between the markers; make them where they are missing.

    Raises:
        ValueError: There is no place for them.
    """
    page = readme.read_text("utf-8")
    if BEGIN not in page:
        before, heading, rest = page.partition(_NEXT)
        if not heading:
            raise ValueError(f"{readme}: neither '{BEGIN}' nor '{_NEXT}' is there; add one of them")
        page = f"{before}{_HEAD}\n\n{BEGIN}\n{END}\n\n{heading}{rest}"
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{readme}: '{END}' is missing after '{BEGIN}'")
    readme.write_text(f"{before}{text}{after}", "utf-8")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
