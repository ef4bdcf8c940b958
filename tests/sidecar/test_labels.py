"""Label values: never empty, never too many, and never fewer after a restart."""

from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.contract import LABEL_VALUES_CAPPED, OTHER, UNKNOWN
from livekit_exporter.sidecar.labels import LabelValues
from livekit_exporter.sidecar.registry import Registry
from livekit_exporter.sidecar.transaction import Transaction


def transaction(values: LabelValues) -> Transaction:
    """Begin one on an empty page."""
    return Transaction(Registry(), values)


def capped(changes: Transaction, label: str) -> object:
    """Number of times that a label was full in a transaction."""
    return changes.changed[LABEL_VALUES_CAPPED].get((label,), 0.0)


def test_an_empty_value_is_unknown() -> None:
    """An empty label equals an absent one in PromQL."""
    values = LabelValues(lambda _: 1)
    changes = transaction(values)

    assert [changes.admit("tenant", value) for value in (None, "")] == [UNKNOWN, UNKNOWN]
    assert capped(changes, "tenant") == 0


def test_the_first_values_are_admitted_and_stay() -> None:
    """The others are one value, and counted."""
    values = LabelValues(lambda _: 2)
    changes = transaction(values)

    admitted = [changes.admit("tenant", value) for value in ("a", "b", "c", "a", "d", "b")]

    assert admitted == ["a", "b", OTHER, "a", OTHER, "b"]
    assert capped(changes, "tenant") == 2


def test_every_label_has_a_cap_of_its_own() -> None:
    """Many tenants take no place from models."""
    values = LabelValues({"tenant": 1, "model": 2}.__getitem__)
    changes = transaction(values)

    for label in ("tenant", "model"):
        assert [changes.admit(label, value) for value in ("a", "b")] == (
            ["a", OTHER] if label == "tenant" else ["a", "b"]
        )


def test_a_raised_cap_admits_more() -> None:
    """Without a restart: the configuration can be loaded again."""
    caps = {"tenant": 1}
    values = LabelValues(caps.__getitem__)
    changes = transaction(values)
    changes.admit("tenant", "a")
    assert changes.admit("tenant", "b") == OTHER
    caps["tenant"] = 2

    assert changes.admit("tenant", "b") == "b"


def test_values_on_the_page_are_known_even_beyond_the_cap() -> None:
    """They have series already; a lowered cap only keeps new ones out."""
    values = LabelValues(lambda _: 1)
    changes = transaction(values)
    values.know("tenant", ("a", "b"))

    assert [changes.admit("tenant", value) for value in "abc"] == ["a", "b", OTHER]


def test_stand_in_values_take_no_place() -> None:
    """A restart, which learns the values from the page, leaves as much room as there was."""
    values = LabelValues(lambda _: 2)
    changes = transaction(values)
    values.know("tenant", (UNKNOWN, OTHER, "a"))

    assert changes.admit("tenant", "b") == "b"


@given(
    cap=st.integers(1, 5),
    known=st.lists(st.text(max_size=3), max_size=4),
    asked=st.lists(st.none() | st.text(max_size=3), max_size=40),
)
def test_there_are_never_more_values_than_the_cap(
    cap: int, known: list[str], asked: list[str | None]
) -> None:
    """Beside those that were on the page, and the two that stand for others."""
    values = LabelValues(lambda _: cap)
    changes = transaction(values)
    values.know("tenant", known)

    admitted = {changes.admit("tenant", value) for value in asked}

    assert "" not in admitted
    assert len(admitted - {UNKNOWN, OTHER} - set(known)) <= cap
