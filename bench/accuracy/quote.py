"""Output of `make accuracy ARGS=--quote`: figures as JSON, and the tables of the document."""

import json
from pathlib import Path
from typing import Any, Final

from bench.accuracy import report

_DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PAGE: Final = _DOCS / "accuracy.md"
FIGURES: Final = _DOCS / "accuracy.json"
BEGIN: Final = "<!-- accuracy:begin, written by make accuracy ARGS=--quote -->"
END: Final = "<!-- accuracy:end -->"


def write(told: report.JSON, page: Path = PAGE, figures: Path = FIGURES) -> None:
    """Write the figures to their file, and their tables between the markers.

    Raises:
        ValueError: The page has no such place.
    """
    written = between(page.read_text("utf-8"), report.as_page(told))
    figures.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    page.write_text(written, "utf-8")


def read(figures: Path = FIGURES) -> dict[str, Any]:
    """The figures that the document states."""
    told: dict[str, Any] = json.loads(figures.read_text("utf-8"))
    return told


def between(page: str, tables: str) -> str:
    """Replace the tables of the page.

    Raises:
        ValueError: The markers are missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"'{BEGIN}' or '{END}' is missing; add the markers")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"
