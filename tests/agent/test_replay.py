"""A recorded stream becomes the same journals as a live session."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livekit_exporter import contract, files
from livekit_exporter.agent.replay import replay
from livekit_exporter.contract import Kind
from livekit_exporter.record import Record, UsageReported
from livekit_exporter.sidecar.decode import decode
from tests.intake import Intake

DATA = Path(__file__).parents[1] / "data"
STREAM = DATA / "stream.jsonl"
SENTINELS = DATA / "sentinels.jsonl"


def journalled(data_dir: Path) -> list[Record]:
    """Every record in every journal; all of them must be readable."""
    return [
        decode(line)
        for journal in sorted(files.journals(data_dir).glob("*.jsonl"))
        for line in journal.read_bytes().splitlines()
    ]


def stream(tmp_path: Path, *lines: str | dict[str, object]) -> Path:
    """A recorded stream with these lines."""
    path = tmp_path / "stream.jsonl"
    path.write_text(
        "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    )
    return path


def test_a_stream_is_a_session_from_its_start_to_its_close(data_dir: Path) -> None:
    """One journal, in the order of the stream, with a beginning of our own."""
    result = replay(STREAM, data_dir, agent="lamps")

    records = journalled(data_dir)
    assert (result.lines, result.sessions, result.records) == (28, 1, len(records))
    assert result.unread == {}
    assert len({record.session for record in records}) == 1
    assert records[0].kind == "session_started"
    assert records[-1].kind == "session_closed"
    assert Counter(record.kind for record in records) == {
        "session_started": 1,
        "usage": 12,
        "turn_committed": 3,
        "message": 7,
        "tool_call": 1,
        "request_failed": 1,
        "session_closed": 1,
    }
    personas = {record.persona for record in records if isinstance(record, UsageReported)}
    assert personas == {"reception"}


def test_two_closes_are_two_sessions(data_dir: Path, tmp_path: Path) -> None:
    """What follows a close belongs to the next call."""
    lines = STREAM.read_text().splitlines()
    result = replay(stream(tmp_path, *lines, *lines), data_dir)

    assert result.sessions == 2
    assert len({record.session for record in journalled(data_dir)}) == 2


def test_a_stream_without_a_close_is_a_lost_session(
    data_dir: Path, tmp_path: Path, intake: Intake
) -> None:
    """As if the process had been killed."""
    replay(stream(tmp_path, *STREAM.read_text().splitlines()[:-1]), data_dir)
    intake.passes()

    assert intake.counter(contract.SESSIONS_CLOSED, reason="lost") == 1


def test_a_replayed_stream_is_on_the_page(data_dir: Path, intake: Intake) -> None:
    """Cost, usage, turns and waits of the recorded call."""
    replay(STREAM, data_dir, agent="lamps")
    intake.passes()

    assert intake.counter(contract.SESSIONS, agent="lamps") == 1
    assert intake.counter(contract.TURNS) == 3
    assert intake.counter(contract.TURNS_INTERRUPTED) == 1
    assert intake.counter(contract.TOOL_CALLS, tool="stock_level") == 1
    assert intake.counter(contract.REQUESTS, stage="llm") == 5
    assert intake.counter(contract.REQUEST_ERRORS, stage="llm") == 1
    assert intake.counter(contract.REQUESTS_CANCELLED, stage="llm") == 1
    assert intake.counter(contract.TOKENS, kind="cached_input") == 768
    assert intake.counter(contract.TOKENS, kind="input") == 420 + 96 + 146
    assert intake.counter(contract.CHARACTERS) == 90
    assert intake.counter(contract.AUDIO_SECONDS, stage="stt") == pytest.approx(18.2)
    assert intake.counter(contract.UNPRICED_REQUESTS) == 0
    for stage in ("stt", "llm", "tts"):
        assert intake.counter(contract.COST, stage=stage) > 0
    assert intake.count(contract.TURN_LATENCY) == 3
    assert intake.sum(contract.TURN_LATENCY) == pytest.approx(0.88 + 1.62 + 0.97)
    assert intake.count(contract.CONNECTION_ACQUIRE) == 1
    assert intake.sum(contract.SESSION_SECONDS) == pytest.approx(25)
    assert intake.counter(contract.SAMPLES_REJECTED) == 0


def test_sentinels_change_nothing_but_the_count_of_rejected_samples(
    data_dir: Path, intake: Intake
) -> None:
    """-1, 0.0 and 200 s are no measurements, all the way from the event to the page."""
    replay(SENTINELS, data_dir)
    intake.passes()

    of_a_call = {contract.SESSION_SECONDS, contract.SESSION_COST, contract.TURN_COST}
    observed = {
        family.name: intake.count(family)
        for family in contract.FAMILIES
        if family.kind is Kind.HISTOGRAM and family.about_agents and family not in of_a_call
    }
    assert observed == dict.fromkeys(observed, 0)
    rejected = {
        labels[0]: value
        for labels, value in intake.values(contract.SAMPLES_REJECTED).items()
        if value
    }
    assert rejected == {
        "end_of_speech_unknown": 2,
        "no_first_token": 2,
        "no_first_byte": 1,
        "negative": 3,
        "too_long": 4,
    }
    assert intake.counter(contract.TURNS) == 1
    assert intake.counter(contract.RECORDS_REJECTED) == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "malformed_line"),
        ("[]", "malformed_line"),
        ('{"data": {}}', "malformed_line"),
        ('{"event": 3, "data": {}}', "malformed_line"),
        ("[" * 100_000, "malformed_line"),
        ('{"event": "metrics_collected"}', "unknown_metrics"),
        (
            '{"event": "metrics_collected", "data": {"metrics": {"type": "dream"}}}',
            "unknown_metrics",
        ),
        ('{"event": "error", "data": null}', "unknown_error"),
        ('{"event": "function_tools_executed", "data": []}', "malformed_tools"),
    ],
    ids=lambda text: text[:60],
)
def test_a_line_that_cannot_be_read_is_counted(
    data_dir: Path, tmp_path: Path, line: str, reason: str
) -> None:
    """And the lines around it are taken."""
    around = STREAM.read_text().splitlines()
    result = replay(stream(tmp_path, around[0], line, *around[1:]), data_dir)

    assert result.unread == {reason: 1}
    assert result.records == 26
    reports = [record for record in journalled(data_dir) if record.kind == "collector"]
    assert len(reports) <= 1


DEEP = '{"a":' * 700 + "1" + "}" * 700


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "llm_availability_changed", "data": null}',
        '{"event": "tts_availability_changed", "data": [1]}',
        '{"event": "error", "data": ' + DEEP + "}",
        '{"event": "close", "data": {"created_at": NaN}}',
        '{"event": "close", "data": {"created_at": Infinity}}',
        '{"event": "close", "data": {"created_at": -5}}',
        '{"event": "close", "data": {"created_at": true}}',
        '{"event": "close", "data": {"created_at": 1' + "0" * 400 + "}}",
        '{"event": "metrics_collected", "data": {"metrics": {"type": "llm_metrics", "ttft": 1'
        + "0" * 400
        + "}}}",
        '{"event": "function_tools_executed", "data": {"function_calls": [{"call_id": []}]}}',
        "",
        "   ",
    ],
    ids=lambda line: line[:48],
)
def test_no_line_ends_a_replay(data_dir: Path, tmp_path: Path, line: str) -> None:
    """Whatever it holds; and every record that it leaves can be read."""
    around = STREAM.read_text().splitlines()

    result = replay(stream(tmp_path, line, *around, line), data_dir)

    assert result.records >= 26
    records = journalled(data_dir)
    assert sum(record.kind == "usage" for record in records) >= 12
    started = {record.session for record in records if record.kind == "session_started"}
    assert started == {record.session for record in records}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["metrics_collected", "conversation_item_added", "error", "close", "?"]),
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["metrics", "item", "type", "created_at", "error", "reason"])
                | st.text(max_size=4),
                inner,
                max_size=4,
            )
        ),
    ),
)
def test_no_json_ends_a_replay(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: object
) -> None:
    """What LiveKit never dumped is counted or ignored."""
    folder = tmp_path_factory.mktemp("replay")

    result = replay(stream(folder, {"event": name, "data": data}), folder / "data")

    assert result.lines == 1
    journalled(folder / "data")


def test_bytes_that_are_no_text_are_no_event(data_dir: Path, tmp_path: Path) -> None:
    """A file of another kind is read to its end."""
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\n" * 10)

    result = replay(path, data_dir)

    assert result.sessions == 0
    assert result.unread == {"malformed_line": result.lines}


def test_a_long_stream_loses_nothing(data_dir: Path, tmp_path: Path) -> None:
    """A file is read faster than it is written, and the queue is bounded."""
    lines = STREAM.read_text().splitlines()[:-1]
    result = replay(stream(tmp_path, *(lines * 600)), data_dir)

    assert result.records == len(journalled(data_dir)) == 24 * 600 + 1


def test_a_stream_that_is_not_there_raises(data_dir: Path, tmp_path: Path) -> None:
    """And leaves no journal."""
    with pytest.raises(FileNotFoundError):
        replay(tmp_path / "none.jsonl", data_dir)

    assert not data_dir.exists()
