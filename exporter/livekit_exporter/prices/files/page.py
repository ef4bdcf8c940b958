"""Reading a price file: located text in, values out, and every mistake noted on the way."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Final, TypeVar, get_args

from livekit_exporter.prices.files.located import Items, Located, Problem, Table, Text
from livekit_exporter.prices.units import BASES, CONFIDENCES, Basis, Confidence
from livekit_exporter.record import Stage

STAGES: Final[tuple[Stage, ...]] = get_args(Stage)

WHY_REQUIRED: Final = {
    "source": "; say where the price was read",
    "checked": "; say on which day the source was read, as 2026-10-21",
    "basis": f"; say what is billed: {', '.join(BASES)}, or 'free' with the reason",
    "stage": f"; say one of {', '.join(STAGES)}",
    "id": "; name the entry as 'provider/model'",
    "prices": "; list at least one block of prices",
    "per_1m": "; give USD per million tokens, as {input: 0.40, output: 1.60}",
}

_MEANT: Final = {
    "as_of": "checked",
    "date": "checked",
    "url": "source",
    "model": "match",
    "models": "match",
    "cached": "cached_input",
    "cache_read": "cached_input",
    "per_1m_tokens": "per_1m",
    "per_1k_tokens": "per_1m",
    "per_1m_characters": "per_1m_chars",
    "per_1k_characters": "per_1k_chars",
    "minute": "audio_time",
    "time": "audio_time",
    "chars": "characters",
    "token": "tokens",
}

# Few enough digits that a product of usage and price stays exact.
AMOUNT: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,12})?")
COUNT: Final = re.compile(r"[1-9][0-9]{0,8}")
DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME_OF_DAY: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")

T = TypeVar("T")
W = TypeVar("W", bound=str)


def remedy(word: str, known: Iterable[str]) -> str:
    """What to write in place of an unknown word."""
    known = tuple(known)
    meant = _MEANT.get(word)
    close = [meant] if meant in known else get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"


@dataclass(slots=True)
class Page:
    """One price file as it is read.

    A reader returns `None` for what cannot be read, after noting why.

    Args:
        file: What messages call it.
        problems: Where mistakes are noted, those of other files among them.
        owner: What the mistakes are about.
    """

    file: str
    problems: list[Problem]
    owner: str = ""

    def about(self, owner: str) -> "Page":
        """The same file, with messages about one of its parts."""
        return Page(self.file, self.problems, f"{owner}: ")

    def wrong(self, line: int, message: str) -> None:
        """Note a mistake."""
        self.problems.append(Problem(self.file, line, f"{self.owner}{message}"))

    def known_keys(self, table: Table, known: Sequence[str]) -> None:
        """Note every key that is not known."""
        for key in table.values:
            if key not in known:
                self.wrong(table.lines[key], f"key '{key}' is not known; {remedy(key, known)}")

    def required(
        self, table: Table, key: str, read: Callable[[Located, str], T | None]
    ) -> T | None:
        """Read a value that must be there."""
        if key in table.values:
            return read(table.values[key], f"'{key}'")
        self.wrong(table.line, f"'{key}' is missing{WHY_REQUIRED.get(key, '')}")
        return None

    def table(self, node: Located, what: str) -> Table | None:
        """Read keys and values."""
        if isinstance(node, Table):
            return node
        self.wrong(node.line, f"{what} must be a table of keys and values")
        return None

    def members(self, table: Table, key: str) -> Iterator[tuple[str, int, Located]]:
        """Yield key, line and value of a table that may be left out."""
        if key not in table.values:
            return
        inner = self.table(table.values[key], f"'{key}'")
        if inner is not None:
            for name, node in inner.values.items():
                yield name, inner.lines[name], node

    def items(self, node: Located, what: str) -> tuple[Located, ...] | None:
        """Read a list."""
        if isinstance(node, Items):
            return node.values
        self.wrong(node.line, f"{what} must be a list, '- ...' on lines of their own or [...]")
        return None

    def text(self, node: Located, what: str) -> str | None:
        """Read text that says something."""
        if isinstance(node, Text) and node.value.strip():
            return node.value.strip()
        self.wrong(node.line, f"{what} must be text, and not empty")
        return None

    def texts(self, table: Table, key: str) -> list[tuple[str, int]]:
        """Read a list of texts that may be left out, with their lines."""
        if key not in table.values:
            return []
        found = []
        for node in self.items(table.values[key], f"'{key}'") or ():
            text = self.text(node, f"'{key}'")
            if text is not None:
                found.append((text, node.line))
        return found

    def amount(self, node: Located, what: str) -> str | None:
        """Read a price or a length; it stays text."""
        text = self.text(node, what)
        if text is None or AMOUNT.fullmatch(text):
            return text
        if text.startswith("-"):
            self.wrong(node.line, f"{what} is '{text}'; it cannot be negative")
        else:
            self.wrong(
                node.line,
                f"{what} is '{text}', which is no number; write digits with a point, as 0.0048",
            )
        return None

    def count(self, node: Located, what: str) -> int | None:
        """Read a whole number above zero."""
        text = self.text(node, what)
        if text is None:
            return None
        if COUNT.fullmatch(text):
            return int(text)
        self.wrong(node.line, f"{what} is '{text}'; write a whole number above zero")
        return None

    def day(self, node: Located, what: str) -> str | None:
        """Read a date; it stays text."""
        text = self.text(node, what)
        if text is None:
            return None
        try:
            if DAY.fullmatch(text):
                return date.fromisoformat(text).isoformat()
        except ValueError:
            pass
        self.wrong(node.line, f"{what} is '{text}', which is no day; write it as 2026-10-21")
        return None

    def time_of_day(self, node: Located, what: str) -> str | None:
        """Read a time of day, UTC; it stays text."""
        text = self.text(node, what)
        if text is None or TIME_OF_DAY.fullmatch(text):
            return text
        self.wrong(node.line, f"{what} is '{text}', no time of day (UTC); write it as '16:30'")
        return None

    def stage(self, node: Located, what: str) -> Stage | None:
        """Read a stage of a call."""
        return self._word(node, what, "stage", STAGES)

    def basis(self, node: Located, what: str) -> Basis | None:
        """Read a billing basis."""
        return self._word(node, what, "basis", BASES)

    def confidence(self, node: Located, what: str) -> Confidence | None:
        """Read how far a price can be trusted."""
        return self._word(node, what, "confidence", CONFIDENCES)

    def _word(self, node: Located, what: str, kind: str, known: tuple[W, ...]) -> W | None:
        """Read one of a closed set of words."""
        text = self.text(node, what)
        for word in known:
            if text == word:
                return word
        if text is not None:
            self.wrong(node.line, f"{kind} '{text}' is not known; {remedy(text, known)}")
        return None
