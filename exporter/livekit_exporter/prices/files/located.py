"""Text, lists and tables that know the line they stand on.

A price file is read into these: every scalar stays text, so that no price passes
through a float, and every mistake can be shown where it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar, as it was written."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    values: tuple["Located", ...]
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; `lines` has the line of each key."""

    values: Mapping[str, "Located"]
    lines: Mapping[str, int]
    line: int


Located: TypeAlias = Text | Items | Table


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a price file, with the place and the remedy."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class PriceFileError(Exception):
    """Price files cannot be used.

    Args:
        problems: Every mistake that was found.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
