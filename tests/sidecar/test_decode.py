"""Decoding: a line is a record that can be stored, or has a reason why not."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.record import (
    LARGEST_QUANTITY,
    MAX_LINE_BYTES,
    CollectorReport,
    MessageAdded,
    Model,
    ModelsDeclared,
    SessionStarted,
    Usage,
    UsageReported,
    to_line,
)
from livekit_exporter.sidecar.decode import RejectedError, decode
from tests.records import AT, call, heard, started, thought

REASONS = {"not_json", "version", "kind", "invalid", "out_of_range"}


def line(**changes: object) -> bytes:
    """A usage line with some of its fields changed; `None` takes one away."""
    body = json.loads(to_line(thought())) | changes
    return json.dumps({name: value for name, value in body.items() if value is not None}).encode()


def reason(data: bytes) -> str:
    """Why a line is refused."""
    with pytest.raises(RejectedError) as caught:
        decode(data)
    return caught.value.reason


def outcome(data: bytes) -> str:
    """Why a line is refused, or `decoded`."""
    try:
        decode(data)
    except RejectedError as error:
        return error.reason
    return "decoded"


def test_what_an_agent_writes_is_read_as_it_was() -> None:
    """Every record of a whole call comes back equal."""
    for record in call():
        assert decode(to_line(record).removesuffix(b"\n")) == record


def test_fields_that_are_not_known_are_ignored() -> None:
    """A newer agent may say more."""
    assert decode(line(mood="good", more={"v": 2, "deep": [1, {}]})) == thought()


def test_a_field_at_its_default_may_be_left_out_or_written() -> None:
    """Writers in other languages need not know our defaults."""
    assert decode(line(cancelled=False, request="", rejected=[])) == decode(line())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"\x00\xff\xfe\x80",
        b'{"v":1,"kind":"usage"',
        b'{"v":1,"kind":"mess\xff"}',
        b"[" * 100_000,
        b'{"v":1,' * 1000,
        line() + b"}",
        line() + line(),
        b"\xef\xbb\xbf" + line(),
        b"\x1f\x8b\x08\x00garbage",
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    """Binary, torn, nested without end or two in one: all the same."""
    assert reason(data) == "not_json"


@pytest.mark.parametrize("version", [0, 2, -1, 10**30])
def test_another_version_is_refused(version: int) -> None:
    """Its meaning is unknown, even where it looks like a known one."""
    assert reason(line(v=version)) == "version"


@pytest.mark.parametrize("version", [None, "1", "2", 1.5, True, [1], {"v": 1}])
def test_a_line_that_does_not_say_its_version_is_refused(version: object) -> None:
    """The version stands in every line, as a whole number."""
    assert reason(line(v=version)) in {"version", "invalid"}


def test_the_version_may_stand_anywhere_in_the_line() -> None:
    """JSON objects have no order, and a field may have a `v` of its own."""
    body = json.loads(line())
    version = body.pop("v")

    assert decode(json.dumps({**body, "v": version}).encode()) == thought()
    assert decode(json.dumps({"more": {"v": 2}, **body, "v": version}).encode()) == thought()
    assert reason(json.dumps({**body, "v": 2}).encode()) == "version"
    assert reason(json.dumps({"more": {"v": 1}, **body, "v": 2}).encode()) == "version"


@pytest.mark.parametrize("kind", [None, "dream", "", 3])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    """A newer agent may have kinds that this sidecar does not know."""
    assert reason(line(kind=kind)) in {"kind", "invalid"}


@pytest.mark.parametrize(
    "changes",
    [
        {"session": None},
        {"at": None},
        {"at": "soon"},
        {"at": True},
        {"stage": "dream"},
        {"stage": None},
        {"provider": 3},
        {"model": ["gpt"]},
        {"requests": 1.5},
        {"requests": "1"},
        {"cancelled": 1},
        {"usage": []},
        {"usage": {"input_tokens": 1.5}},
        {"usage": {"input_tokens": "many"}},
        {"usage": {"input_tokens": True}},
        {"first_seconds": "0.4"},
        {"rejected": "negative"},
        {"rejected": [1]},
    ],
)
def test_a_value_of_the_wrong_type_is_refused(changes: dict[str, object]) -> None:
    """Nothing is guessed where money is counted."""
    assert reason(line(**changes)) == "invalid"


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_a_number_that_is_none_is_refused(number: bytes) -> None:
    """Python's writer makes such lines unless told otherwise."""
    assert reason(line().replace(b"0.4", number)) in {"not_json", "invalid"}


@pytest.mark.parametrize("data", [b"[]", b"3", b"null", b'"usage"', b"true", b"[{}]"])
def test_json_that_is_no_object_is_refused(data: bytes) -> None:
    """A line is one object."""
    assert reason(data) in {"invalid", "kind"}


@pytest.mark.parametrize(
    "changes",
    [
        {"session": ""},
        {"at": 0},
        {"at": -1.0},
        {"at": 1e300},
        {"at": 12345.6},
        {"requests": -1},
        {"requests": 10**40},
        {"usage": {"input_tokens": -1}},
        {"usage": {"output_tokens": 10**40}},
        {"usage": {"audio_seconds": -0.5}},
        {"usage": {"connection_seconds": 1e300}},
        {"usage": {"characters": int(LARGEST_QUANTITY) + 1}},
        {"session": "s" * 5000},
        {"model": "m" * 5000},
        {"trace": "t" * 5000},
    ],
)
def test_what_no_database_or_metric_can_hold_is_refused(changes: dict[str, object]) -> None:
    """Clock errors, negative usage, more tokens than there are, books in place of names."""
    assert reason(line(**changes)) == "out_of_range"


@pytest.mark.parametrize("characters", [-1, 2**63, 10**40])
def test_a_message_of_impossible_length_is_refused(characters: int) -> None:
    """It would not fit into the ledger's integer, and one line must not stop them all."""
    record = MessageAdded(session="s1", at=AT, role="user", characters=characters)

    assert reason(to_line(record)) == "out_of_range"


@pytest.mark.parametrize("count", [10**13, 10**400])
def test_a_report_of_impossible_losses_is_refused(count: int) -> None:
    """It would not fit into a counter."""
    for record in (
        CollectorReport(session="s1", at=AT, dropped={"queue_full": count}),
        CollectorReport(session="s1", at=AT, rejected={"unknown_metrics": count}),
    ):
        assert reason(to_line(record)) in {"out_of_range", "not_json", "invalid"}


@pytest.mark.parametrize(
    "record",
    [
        replace(started(), agent="a" * 2000),
        replace(started(), labels={"tenant": "t" * 2000}),
        replace(started(), models=(Model(stage="llm", provider="p", model="m" * 2000),)),
        ModelsDeclared(
            session="s1", at=AT, models=(Model(stage="llm", provider="p" * 2000, model="m"),)
        ),
        CollectorReport(session="s1", at=AT, dropped={"r" * 2000: 1}),
        replace(thought(), rejected=("r" * 2000,)),
    ],
    ids=["agent", "label", "model", "provider", "reason", "rejected"],
)
def test_a_text_that_would_fill_the_page_is_refused(
    record: SessionStarted | ModelsDeclared | CollectorReport | UsageReported,
) -> None:
    """Each of these becomes a label value, on every series of its call."""
    assert reason(to_line(record)) == "out_of_range"


def test_a_first_line_may_be_long_as_a_whole() -> None:
    """A session may declare many models and labels; each of them is short."""
    models = tuple(Model(stage="llm", provider="p", model=f"m-{n}") for n in range(1000))
    record = replace(started(), models=models)

    assert decode(to_line(record)) == record


def test_a_text_with_a_null_character_is_refused() -> None:
    """PostgreSQL cannot hold one; a backslash before a `u` is no such character."""
    assert reason(line(model="m\x00")) == "invalid"
    assert decode(line(model="\\u0000")) == replace(thought(), model="\\u0000")


def test_whole_numbers_do_for_times_and_durations() -> None:
    """JavaScript writes 2 for 2.0."""
    assert decode(line(at=int(AT), first_seconds=2)) == replace(thought(at=AT), first_seconds=2.0)


@given(data=st.binary(max_size=300))
def test_no_bytes_do_anything_but_decode_or_be_refused(data: bytes) -> None:
    """The reason is always one of a closed set: it becomes a label value."""
    assert outcome(data) in {*REASONS, "decoded"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
FIELDS = sorted({name for record in call() for name in json.loads(to_line(record))} | {"rejected"})


@given(
    record=st.sampled_from(call()),
    changes=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
)
def test_no_values_do_anything_but_decode_or_be_refused(
    record: SessionStarted, changes: dict[str, object]
) -> None:
    """Whatever stands in a field."""
    data = json.dumps(json.loads(to_line(record)) | changes).encode()

    assert outcome(data) in {*REASONS, "decoded"}


QUANTITY = st.integers(0, int(LARGEST_QUANTITY))
SECONDS = st.floats(0, 1e9)


@given(
    usage=st.builds(
        Usage,
        input_tokens=QUANTITY,
        output_tokens=QUANTITY,
        characters=QUANTITY,
        audio_seconds=SECONDS,
        connection_seconds=SECONDS,
    ),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=100),
    first=st.none() | SECONDS,
)
def test_a_record_survives_the_journal(usage: Usage, name: str, first: float | None) -> None:
    """A quantity comes back as it was written, to the last digit."""
    record = replace(
        heard(), usage=usage, model=name, request=name, persona=name, first_seconds=first
    )

    data = to_line(record)

    assert len(data) < MAX_LINE_BYTES
    assert data.count(b"\n") == 1
    assert decode(data.removesuffix(b"\n")) == record
