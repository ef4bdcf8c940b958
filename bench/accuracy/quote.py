"""The part of `docs/accuracy.md` that `make accuracy` writes."""

from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
BEGIN: Final = "<!-- accuracy:begin -->"
END: Final = "<!-- accuracy:end -->"


def block(table: str, circumstances: str) -> str:
    """The Markdown between the markers, markers included."""
    return f"{BEGIN}\n{table}\n\n{circumstances}\n{END}"


def write(text: str, page: Path = PAGE) -> None:
    """Put a block between the markers.

    Raises:
        ValueError: The page has no such place.
    """
    written = page.read_text("utf-8")
    before, begin, rest = written.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: '{BEGIN}' or '{END}' is missing; add the markers")
    page.write_text(f"{before}{text}{after}", "utf-8")
