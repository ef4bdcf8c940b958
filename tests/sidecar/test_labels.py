"""Label values: never empty, never too many, and never fewer after a restart."""

from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.contract import LABEL_VALUES_CAPPED, OTHER, UNKNOWN
from livekit_exporter.sidecar.labels import LabelValues
from livekit_exporter.sidecar.registry import Registry, Staged


def staged() -> Staged:
    """A batch on an empty page."""
    return Registry().stage()


def capped(batch: Staged, label: str) -> object:
    """How often a label was full in a batch."""
    return batch.touched.get(LABEL_VALUES_CAPPED, {}).get((label,), 0.0)


def test_an_empty_value_is_unknown() -> None:
    """An empty label equals an absent one in PromQL."""
    values, batch = LabelValues(lambda _: 1), staged()

    assert [values.admit("tenant", value, batch) for value in (None, "")] == [UNKNOWN, UNKNOWN]
    assert capped(batch, "tenant") == 0


def test_the_first_values_are_admitted_and_stay() -> None:
    """The others are one value, and counted."""
    values, batch = LabelValues(lambda _: 2), staged()

    admitted = [values.admit("tenant", value, batch) for value in ("a", "b", "c", "a", "d", "b")]

    assert admitted == ["a", "b", OTHER, "a", OTHER, "b"]
    assert capped(batch, "tenant") == 2


def test_every_label_has_a_cap_of_its_own() -> None:
    """Many tenants take no place from models."""
    values, batch = LabelValues({"tenant": 1, "model": 2}.__getitem__), staged()

    for label in ("tenant", "model"):
        assert [values.admit(label, value, batch) for value in ("a", "b")] == (
            ["a", OTHER] if label == "tenant" else ["a", "b"]
        )


def test_a_raised_cap_admits_more() -> None:
    """Without a restart: the configuration can be loaded again."""
    caps = {"tenant": 1}
    values, batch = LabelValues(caps.__getitem__), staged()
    values.admit("tenant", "a", batch)
    assert values.admit("tenant", "b", batch) == OTHER
    caps["tenant"] = 2

    assert values.admit("tenant", "b", batch) == "b"


def test_values_on_the_page_are_known_even_beyond_the_cap() -> None:
    """They have series already; a lowered cap only keeps new ones out."""
    values, batch = LabelValues(lambda _: 1), staged()
    values.know("tenant", ("a", "b"))

    assert [values.admit("tenant", value, batch) for value in "abc"] == ["a", "b", OTHER]


def test_stand_in_values_take_no_place() -> None:
    """A restart, which learns the values from the page, leaves as much room as there was."""
    values, batch = LabelValues(lambda _: 2), staged()
    values.know("tenant", (UNKNOWN, OTHER, "a"))

    assert values.admit("tenant", "b", batch) == "b"


@given(
    cap=st.integers(1, 5),
    known=st.lists(st.text(max_size=3), max_size=4),
    asked=st.lists(st.none() | st.text(max_size=3), max_size=40),
)
def test_there_are_never_more_values_than_the_cap(
    cap: int, known: list[str], asked: list[str | None]
) -> None:
    """Beside those that were on the page, and the two that stand for others."""
    values, batch = LabelValues(lambda _: cap), staged()
    values.know("tenant", known)

    admitted = {values.admit("tenant", value, batch) for value in asked}

    assert "" not in admitted
    assert len(admitted - {UNKNOWN, OTHER} - set(known)) <= cap
