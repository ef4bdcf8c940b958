"""A CSV file as people and vendors write it: named columns, numbered lines.

What is wrong with a line is for whoever reads it to say; a file of which nothing can be
used is refused here.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

_DELIMITERS: Final = ",;\t"
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,20})?")


class CsvError(Exception):
    """Nothing of the file can be used; the message says why and what to do."""


class LineError(Exception):
    """One line cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The lines of a file.

    Args:
        name: Of the file, for messages.
        columns: Names on its first line.
        rows: Number of each line in the file with its cells; blank lines are not there.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def require(self, column: str, remedy: str) -> None:
        """See to it that there is one column of this name.

        Raises:
            CsvError: There is none, or there are two.
        """
        if self.columns.count(column) != 1:
            said = "is missing" if column not in self.columns else "is there twice"
            raise CsvError(f"{self.name}:1: column '{column}' {said}; {remedy}")

    def line(self, cells: Sequence[str]) -> Mapping[str, str]:
        """Cells by the names of their columns.

        Raises:
            LineError: They are more or fewer than the columns.
        """
        if len(cells) != len(self.columns):
            raise LineError(f"{len(cells)} cells where the first line names {len(self.columns)}")
        return dict(zip(self.columns, cells, strict=True))


def load(file: Path) -> CsvTable:
    """Read a file.

    Raises:
        CsvError: It cannot be read, is no text, or has no first line.
    """
    try:
        return parse(file.read_text("utf-8"), str(file))
    except OSError as error:
        raise CsvError(f"cannot read '{file}': {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CsvError(f"{file}: it is no text in UTF-8; save it as CSV") from error


def parse(text: str, name: str) -> CsvTable:
    """Read the text of a file; its first line names the columns and shows the delimiter.

    Raises:
        CsvError: There is no first line.
    """
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    head = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    rows = _rows(text, delimiter)
    columns = next(rows, (1, ()))[1]
    if not any(columns):
        raise CsvError(f"{name}:1: the first line must name the columns; it is empty")
    return CsvTable(name, columns, tuple(row for row in rows if any(row[1])))


def amount(text: str, column: str) -> Decimal:
    """Read a number.

    Raises:
        LineError: It is none.
    """
    if not _DECIMAL.fullmatch(text):
        raise LineError(f"'{column}' is '{text}', no amount; write it as 1234.50")
    return Decimal(text)


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # A cell without end, say: no line of this table, and reading goes on behind it.
            cells = ["\0"]
        yield number, tuple(cell.strip() for cell in cells)
