"""A question to the ledger: period, filters and groups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from livekit_exporter.reports.period import Period, suggestion

FILTERS: Final = ("agent", "user", "stage", "provider", "model")

OF_A_REQUEST: Final = ("stage", "provider", "model")
"""Dimensions of a request within a call, that the call as a whole does not have."""

TIMES: Final = ("day", "hour")
DIMENSIONS: Final = (
    *TIMES,
    "agent",
    "stage",
    "provider",
    "model",
    "user",
    "persona",
    "phase",
    "session",
)
"""Dimensions to group by, beside the labels of `attach(labels=…)`."""


class QuestionError(ValueError):
    """A question that cannot be asked; the message says what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to the ledger.

    Args:
        period: Begin and end.
        by: Dimensions and labels to group by, in the order of the columns; none for one line.
        only: Allowed values by field; other fields may have any value.
        labels: Allowed values by label.
        limit: Lines to show; the total counts all.
    """

    period: Period
    by: tuple[str, ...] = ()
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int | None = None

    @property
    def own_labels(self) -> tuple[str, ...]:
        """Names of the labels to group by."""
        return tuple(name for name in self.by if name not in DIMENSIONS)

    def title(self, subject: str) -> str:
        """Return the question in words, for the head of a report."""
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
    """Return the end of a message that suggests a known name, or nothing."""
    meant = suggestion(name, sorted(known))
    return f"; {meant}" if meant else ""


def _unknown(name: str, labels: set[str]) -> str:
    known = (*DIMENSIONS, *sorted(labels))
    return (
        f"'{name}' is no dimension, and no call of the period has a label of this name"
        f"{closest(name, known) or '; there are ' + ', '.join(known)}"
    )
