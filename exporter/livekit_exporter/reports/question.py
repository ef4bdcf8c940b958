"""What is asked: a period, which calls and usage, and by what the answer is divided."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from livekit_exporter.reports.period import Period

FILTERS: Final = ("agent", "user", "stage", "provider", "model")

TIMES: Final = ("day", "hour")
DIMENSIONS: Final = (
    *TIMES,
    "agent",
    "stage",
    "provider",
    "model",
    "user",
    "persona",
    "session",
)
"""What an answer can be divided by, beside the labels of `attach(labels=…)`."""


class QuestionError(ValueError):
    """The question cannot be asked; the message says what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to the ledger.

    Args:
        period: When.
        by: Names of dimensions and labels, in the order of the columns; none for one line.
        only: Values that count, by field; a field that is not there may have any.
        labels: The same for labels.
        limit: Lines shown; the rest is in the total.
    """

    period: Period
    by: tuple[str, ...] = ()
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int | None = None

    @property
    def own_labels(self) -> tuple[str, ...]:
        """Names of labels that the answer is divided by."""
        return tuple(name for name in self.by if name not in DIMENSIONS)

    def title(self, subject: str) -> str:
        """The question in words, for the head of an answer."""
        divided = f" by {', '.join(self.by)}" if self.by else ""
        said = {**self.only, **self.labels}
        only = "".join(f", {name} {' or '.join(values)}" for name, values in said.items() if values)
        return f"{subject}{divided}, {self.period}{only}"

    def check_labels(self, known: Iterable[str]) -> None:
        """Refuse labels that no call has.

        Args:
            known: Labels that calls of the period have.

        Raises:
            QuestionError: A label is not among them.
        """
        known = set(known)
        for name in (*self.own_labels, *self.labels):
            if name not in known:
                raise QuestionError(_unknown(name, known))


def dimensions(text: str | None) -> tuple[str, ...]:
    """Read a list of dimensions, `day,model`; a word twice counts once."""
    names = [name.strip() for name in (text or "").split(",")]
    return tuple(dict.fromkeys(name for name in names if name))


def pairs(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read `key=value` texts; the same key twice allows either value.

    Raises:
        QuestionError: One has another form.
    """
    read: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals):
            raise QuestionError(f"'{text}' is not of the form 'label=value'")
        read[name.strip()] = (*read.get(name.strip(), ()), value)
    return read


def closest(name: str, known: Iterable[str]) -> str:
    """End of a message that names what may have been meant, or nothing."""
    close = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _unknown(name: str, labels: set[str]) -> str:
    known = (*DIMENSIONS, *sorted(labels))
    return (
        f"'{name}' is no dimension, and no call of the period has a label of this name"
        f"{closest(name, known) or '; there are ' + ', '.join(known)}"
    )
