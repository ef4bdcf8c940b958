"""Records become counters, histograms, turns and calls."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livekit_exporter import contract
from livekit_exporter.contract import Kind
from livekit_exporter.prices import rules
from livekit_exporter.record import (
    AvailabilityChanged,
    CollectorReport,
    MessageAdded,
    ModelsDeclared,
    Record,
    RequestFailed,
    SessionClosed,
    ToolCalled,
    Usage,
    UsageReported,
)
from livekit_exporter.sidecar.config.settings import MetricsSettings
from livekit_exporter.sidecar.registry import Distribution
from tests.intake import Intake
from tests.records import (
    AT,
    LLM,
    STT,
    TTS,
    Writer,
    answered,
    asked,
    call,
    closed,
    committed,
    heard,
    spoken,
    started,
    thought,
)

WAITS = (
    contract.TURN_LATENCY,
    contract.EOU_DELAY,
    contract.TRANSCRIPTION_DELAY,
    contract.TURN_CALLBACK,
    contract.LLM_TTFT,
    contract.TTS_TTFB,
    contract.REALTIME_TTFT,
    contract.REQUEST_SECONDS,
    contract.CONNECTION_ACQUIRE,
    contract.TOKENS_PER_SECOND,
)


def test_a_call_is_counted_as_what_it_was(intake: Intake) -> None:
    """One question, one answer, three providers, one goodbye."""
    intake.take(*call())

    assert intake.counter(contract.SESSIONS, agent="support") == 1
    assert intake.counter(contract.SESSIONS_CLOSED, reason="user_initiated") == 1
    assert intake.counter(contract.TURNS) == 1
    assert intake.counter(contract.REQUESTS) == 3
    assert intake.counter(contract.TOKENS, kind="input") == 1000
    assert intake.counter(contract.TOKENS, kind="output") == 100
    assert intake.counter(contract.CHARACTERS) == 40
    assert intake.counter(contract.AUDIO_SECONDS, stage="stt") == 5
    assert intake.counter(contract.UNPRICED_REQUESTS) == 0
    assert intake.counter(contract.COST, stage="llm", provider="openai") > 0
    assert intake.counter(contract.RECORDS) == len(call())
    for family, seconds in (
        (contract.TURN_LATENCY, 0.9),
        (contract.EOU_DELAY, 0.3),
        (contract.TRANSCRIPTION_DELAY, 0.3),
        (contract.LLM_TTFT, 0.4),
        (contract.TTS_TTFB, 0.2),
        (contract.SESSION_SECONDS, 60.0),
    ):
        assert (intake.count(family), intake.sum(family)) == (1, seconds), family.name


def test_counters_and_histograms_equal_the_ledger(intake: Intake) -> None:
    """The page and the money say the same, whatever the mixture."""
    chance = random.Random(3)
    for number in range(12):
        session = f"s{number}"
        at = AT + number * 20_000
        records: list[Record] = [started(session, at=at, agent=chance.choice(("a", "b")))]
        for turn in range(chance.randrange(5)):
            speech = f"speech-{turn}"
            records += [
                heard(session, at=at + turn, seconds=chance.random() * 9),
                committed(session, at=at + turn, speech=speech, delay=chance.random()),
                asked(session, at=at + turn),
                thought(
                    session,
                    at=at + turn,
                    speech=speech,
                    model=chance.choice((LLM.model, "no-such-model")),
                    tokens=chance.randrange(500),
                    first=chance.random(),
                ),
                spoken(session, at=at + turn, speech=speech, characters=chance.randrange(200)),
                answered(session, at=at + turn, speech=speech, latency=chance.random()),
            ]
        intake.take(*records)

    for family, column in (
        (contract.COST, "cost_usd"),
        (contract.REQUESTS, "requests"),
        (contract.CHARACTERS, "characters"),
    ):
        expected = intake.figure(f"SELECT sum({column}) FROM usage")  # noqa: S608 - a list
        assert intake.counter(family) == pytest.approx(expected, abs=1e-9), family.name
        daily = intake.figure(f"SELECT sum({column}) FROM daily")  # noqa: S608 - a list
        assert daily == pytest.approx(expected, abs=1e-9), family.name
    assert intake.counter(contract.UNPRICED_REQUESTS) == intake.figure(
        "SELECT sum(requests) FROM usage WHERE status = 'unpriced'"
    )
    assert intake.counter(contract.TURNS) == intake.figure("SELECT sum(turns) FROM sessions")
    assert intake.sum(contract.SESSION_COST) == pytest.approx(
        intake.figure("SELECT sum(cost_usd) FROM sessions"), abs=1e-9
    )
    assert_waits_equal_the_ledger(intake)


def assert_waits_equal_the_ledger(intake: Intake) -> None:
    """Count and sum of each latency histogram are those of its ledger column."""
    for family, query in (
        (contract.LLM_TTFT, "first_seconds) FROM usage WHERE stage = 'llm'"),
        (contract.TTS_TTFB, "first_seconds) FROM usage WHERE stage = 'tts'"),
        (contract.REQUEST_SECONDS, "request_seconds) FROM usage"),
        (contract.EOU_DELAY, "eou_delay_seconds) FROM turns"),
        (contract.TRANSCRIPTION_DELAY, "transcription_delay_seconds) FROM turns"),
        (contract.TURN_LATENCY, "latency_seconds) FROM turns"),
    ):
        assert intake.count(family) == intake.figure(f"SELECT count({query}"), family.name
        assert intake.sum(family) == pytest.approx(intake.figure(f"SELECT sum({query}")), (
            family.name
        )


@pytest.mark.parametrize("seconds", [-1.0, -0.2, 60.5, 200.0, 1e300])
def test_a_latency_that_is_none_is_counted_and_stored_nowhere(
    intake: Intake, seconds: float
) -> None:
    """Another writer's sentinel spoils neither a histogram nor a report from the ledger."""
    intake.take(
        started(),
        replace(committed(), eou_delay_seconds=seconds, transcription_delay_seconds=None),
        asked(),
        replace(thought(), first_seconds=seconds, request_seconds=None),
        replace(spoken(), first_seconds=None, request_seconds=seconds),
        answered(latency=seconds),
    )

    assert intake.counter(contract.SAMPLES_REJECTED) == 4
    assert sum(intake.count(family) for family in WAITS) == 1  # tokens per second
    assert_waits_equal_the_ledger(intake)


@pytest.mark.parametrize("rate", [1e300, 1e9, -1.0])
def test_an_output_rate_that_is_none_is_counted(intake: Intake, rate: float) -> None:
    """One absurd value would spoil the sum for ever: the ledger keeps it."""
    intake.take(started(), replace(thought(), tokens_per_second=rate))

    assert intake.count(contract.TOKENS_PER_SECOND) == 0
    assert intake.counter(contract.SAMPLES_REJECTED) == 1


def test_series_of_declared_models_begin_at_zero(intake: Intake) -> None:
    """`rate()` misses the first value of a series that comes out of nowhere."""
    intake.take(started())

    for family, stages in (
        (contract.COST, {"stt", "llm", "tts"}),
        (contract.REQUESTS, {"stt", "llm", "tts"}),
        (contract.REQUEST_ERRORS, {"stt", "llm", "tts"}),
        (contract.UNPRICED_REQUESTS, {"stt", "llm", "tts"}),
        (contract.TOKENS, {"llm"}),
        (contract.CHARACTERS, {"tts"}),
        (contract.AUDIO_SECONDS, {"stt", "tts"}),
    ):
        initialised = intake.values(family)
        assert {labels[1] for labels in initialised} == stages, family.name
        assert set(initialised.values()) == {0.0}, family.name
    for family in (contract.LLM_TTFT, contract.TTS_TTFB, contract.TURN_LATENCY):
        assert len(intake.values(family)) == 1
        assert intake.count(family) == 0
    reasons = {labels[1] for labels in intake.values(contract.SESSIONS_CLOSED)}
    assert reasons == set(contract.CLOSE_REASONS)


def test_a_handoff_declares_the_models_of_the_next_agent(intake: Intake) -> None:
    """An agent may bring models of its own."""
    other = replace(LLM, model="gpt-4.1")
    intake.take(started(), ModelsDeclared(session="s1", at=AT, persona="sales", models=(other,)))

    assert {labels[2] for labels in intake.values(contract.LLM_TTFT)} == {LLM.model, "gpt-4.1"}


def test_use_adds_no_series_to_those_that_were_declared(intake: Intake) -> None:
    """Declared and used models have the same labels."""
    intake.take(started())
    initialised = {family: set(intake.values(family)) for family in contract.FAMILIES}
    intake.take(*call("s2"))

    for family in (contract.COST, contract.REQUESTS, contract.LLM_TTFT, contract.CHARACTERS):
        assert set(intake.values(family)) == initialised[family], family.name


def test_a_greeting_is_no_turn(intake: Intake) -> None:
    """Nobody asked."""
    intake.take(started(), answered(speech="greeting", latency=None), closed())

    assert intake.counter(contract.TURNS) == 0
    assert intake.count(contract.TURN_LATENCY) == 0
    assert intake.count(contract.TURN_COST) == 0


def test_an_answer_with_a_tool_call_is_one_turn(intake: Intake) -> None:
    """Two messages, two requests, one speech: the caller waited once."""
    intake.take(
        started(),
        asked(),
        thought(),
        spoken(),
        answered(),
        ToolCalled(session="s1", at=AT + 4, tool="lookup", speech="speech-1"),
        thought(at=AT + 5),
        spoken(at=AT + 5),
        answered(at=AT + 6, latency=None),
        closed(),
    )

    assert intake.counter(contract.TURNS) == 1
    assert intake.count(contract.TURN_LATENCY) == 1
    assert intake.count(contract.TURN_COST) == 1
    assert intake.sum(contract.TURN_COST) == pytest.approx(intake.counter(contract.COST))
    assert intake.counter(contract.TOOL_CALLS, tool="lookup") == 1
    assert intake.counter(contract.TOOL_ERRORS, tool="lookup") == 0
    assert intake.ask("SELECT tool_calls, answered FROM turns") == [(1, 1)]


def test_a_failed_tool_is_a_call_and_an_error(intake: Intake) -> None:
    """Attempts and failures are two counters."""
    failed = ToolCalled(session="s1", at=AT, tool="book", failed=True)
    intake.take(started(), failed, replace(failed, failed=False))

    assert intake.counter(contract.TOOL_CALLS, tool="book") == 2
    assert intake.counter(contract.TOOL_ERRORS, tool="book") == 1


@pytest.mark.parametrize("measured", [True, False])
def test_latency_is_derived_only_where_the_sdk_measures_none(
    intake: Intake, *, measured: bool
) -> None:
    """An SDK that measures and says nothing means that nobody waited."""
    intake.take(
        started(),
        committed(),
        asked(),
        thought(),
        spoken(),
        answered(latency=None, measured=measured),
    )

    assert intake.counter(contract.TURNS) == 1
    assert intake.count(contract.TURN_LATENCY) == (0 if measured else 1)
    assert intake.sum(contract.TURN_LATENCY) == pytest.approx(0 if measured else 0.3 + 0.4 + 0.2)
    assert intake.ask("SELECT derived FROM turns") == [(0 if measured else 1,)]


def test_a_derived_latency_needs_all_its_parts(intake: Intake) -> None:
    """A sum of two thirds would look like a fast answer."""
    intake.take(started(), committed(), asked(), thought(), answered(latency=None, measured=False))

    assert intake.count(contract.TURN_LATENCY) == 0


def test_a_derived_latency_takes_the_first_request_of_the_answer(intake: Intake) -> None:
    """After a tool call the caller has heard something already."""
    intake.take(
        started(),
        thought(first=0.4),
        committed(),
        asked(),
        thought(first=5.0),
        spoken(),
        answered(latency=None, measured=False),
    )

    assert intake.sum(contract.TURN_LATENCY) == pytest.approx(0.3 + 0.4 + 0.2)


def test_an_interrupted_answer_is_a_turn_and_an_interruption(intake: Intake) -> None:
    """Of those answered, talked over; and once, although both its messages say so."""
    intake.take(
        started(),
        asked(),
        answered(interrupted=True),
        answered(interrupted=True, latency=None),
        asked(),
        answered(speech="speech-2"),
    )

    assert intake.counter(contract.TURNS) == 2
    assert intake.counter(contract.TURNS_INTERRUPTED) == 1
    assert intake.ask("SELECT interrupted FROM sessions") == [(1,)]


def test_an_interrupted_greeting_is_no_interrupted_turn(intake: Intake) -> None:
    """Interrupted turns are part of the turns."""
    intake.take(started(), answered(speech="greeting", latency=None, interrupted=True))

    assert intake.counter(contract.TURNS_INTERRUPTED) == 0


def test_a_cancelled_request_is_a_request(intake: Intake) -> None:
    """Its first token came; its end did not."""
    intake.take(started(), thought(cancelled=True))

    assert intake.counter(contract.REQUESTS, stage="llm") == 1
    assert intake.counter(contract.REQUESTS_CANCELLED, stage="llm") == 1
    assert intake.count(contract.LLM_TTFT) == 1
    assert intake.count(contract.REQUEST_SECONDS) == 0


def test_a_connection_is_no_request_and_costs_nothing(intake: Intake) -> None:
    """It has a time of its own."""
    intake.take(
        started(),
        UsageReported(
            session="s1",
            at=AT,
            stage="stt",
            provider=STT.provider,
            model=STT.model,
            streamed=True,
            connection=True,
            acquire_seconds=0.042,
            requests=0,
        ),
    )

    assert intake.counter(contract.REQUESTS) == 0
    assert intake.counter(contract.COST) == 0
    assert intake.counter(contract.UNPRICED_REQUESTS) == 0
    assert intake.sum(contract.CONNECTION_ACQUIRE) == 0.042


def test_a_failed_attempt_is_a_request_and_an_error(intake: Intake) -> None:
    """LiveKit reports no metrics for it."""
    intake.take(
        started(),
        RequestFailed(
            session="s1",
            at=AT,
            stage="llm",
            provider=LLM.provider,
            model=LLM.model,
            error="Timeout",
        ),
    )

    assert intake.counter(contract.REQUESTS, model=LLM.model) == 1
    assert intake.counter(contract.REQUEST_ERRORS, model=LLM.model) == 1
    assert intake.ask("SELECT error, provider FROM failures") == [("Timeout", "openai")]


@pytest.mark.parametrize(("available", "fallbacks"), [(False, 1), (True, 0)])
def test_only_going_out_of_service_is_a_fallback(
    intake: Intake, *, available: bool, fallbacks: int
) -> None:
    """Coming back is good news."""
    intake.take(
        started(),
        AvailabilityChanged(
            session="s1",
            at=AT,
            stage="tts",
            provider=TTS.provider,
            model=TTS.model,
            available=available,
        ),
    )

    assert intake.counter(contract.FALLBACKS, stage="tts") == fallbacks


def test_an_unknown_model_is_unpriced_and_never_free(intake: Intake) -> None:
    """Ignorance is loud: no cost, one unpriced request, no zero in the ledger."""
    intake.take(started(), thought(model="no-such-model"))

    assert intake.counter(contract.UNPRICED_REQUESTS, model="no-such-model") == 1
    assert intake.counter(contract.COST) == 0
    assert intake.ask("SELECT status, cost_usd FROM usage") == [("unpriced", None)]
    assert intake.ask("SELECT unpriced_requests FROM sessions") == [(1,)]


def test_tokens_add_up_over_kinds_and_modalities(intake: Intake) -> None:
    """Parts exclude one another: their sum is the provider's total."""
    usage = Usage(
        input_tokens=1000,
        cached_input_tokens=400,
        input_audio_tokens=600,
        cached_audio_tokens=300,
        output_tokens=200,
        output_audio_tokens=150,
        total_tokens=1200,
    )
    intake.take(started(), replace(thought(), stage="realtime", usage=usage))

    counted = {
        labels[4:6]: value for labels, value in intake.values(contract.TOKENS).items() if value
    }
    assert counted == rules.token_buckets(usage)
    assert sum(counted.values()) == 1200  # type: ignore[arg-type]


def test_a_call_without_a_goodbye_is_lost(intake: Intake) -> None:
    """It lasted as long as its last record says."""
    intake.take(started(), heard(at=AT + 30))

    assert intake.counter(contract.SESSIONS_CLOSED, reason="lost") == 1
    assert intake.sum(contract.SESSION_SECONDS) == 30
    assert intake.ask("SELECT reason, closed_at FROM sessions") == [("lost", AT + 30)]


def test_a_lost_call_ends_with_its_newest_record(intake: Intake) -> None:
    """Its last line may be an older record than the line before."""
    intake.take(started(), heard(at=AT + 30), heard(at=AT + 10))

    assert intake.sum(contract.SESSION_SECONDS) == 30
    assert intake.ask("SELECT last_at, closed_at FROM sessions") == [(AT + 30, AT + 30)]


def test_usage_after_the_goodbye_belongs_to_the_call(intake: Intake) -> None:
    """A speech-to-text stream reports its last audio while it shuts down."""
    intake.take(started(), heard(seconds=60), closed(at=AT + 10), heard(at=AT + 12, seconds=60))

    assert intake.sum(contract.SESSION_COST) == pytest.approx(intake.counter(contract.COST))
    assert intake.sum(contract.SESSION_SECONDS) == 10
    assert intake.count(contract.SESSION_COST) == 1
    assert intake.counter(contract.SESSIONS_CLOSED, reason="user_initiated") == 1


def test_usage_of_a_call_that_ended_is_kept(intake: Intake) -> None:
    """A second journal of the same call, after its first was read to the end."""
    intake.take(*call())
    before = intake.counter(contract.COST)
    intake.take(started(), heard(at=AT + 90, seconds=60))

    assert intake.counter(contract.COST) > before
    assert intake.counter(contract.SESSIONS) == 1
    assert intake.counter(contract.SESSIONS_CLOSED) == 1
    assert intake.figure("SELECT cost_usd FROM sessions") == pytest.approx(
        intake.counter(contract.COST)
    )


def test_usage_without_a_beginning_is_counted(intake: Intake) -> None:
    """The first line may be torn; the money is spent all the same."""
    intake.take(heard(), thought())

    assert intake.counter(contract.SESSIONS, agent="unknown") == 1
    assert intake.counter(contract.COST, agent="unknown") > 0
    assert intake.counter(contract.SESSIONS_CLOSED, agent="unknown", reason="lost") == 1


def test_a_call_that_ends_before_it_begins_has_no_length(intake: Intake) -> None:
    """Somebody set the clock; a negative length would spoil the sum."""
    intake.take(started(), closed(at=AT - 100))

    assert intake.count(contract.SESSION_SECONDS) == 0
    assert intake.counter(contract.SAMPLES_REJECTED, reason="negative") == 1
    assert intake.counter(contract.SESSIONS_CLOSED) == 1


def test_every_answered_turn_has_its_cost_observed(intake: Intake) -> None:
    """Also when many replies were made and thrown away before the next answer."""
    intake.take(
        started(),
        asked(),
        thought(speech="speech-0"),
        answered(speech="speech-0"),
        *(thought(speech=f"thrown-away-{n}") for n in range(20)),
        asked(),
        thought(speech="speech-1"),
        answered(speech="speech-1"),
        closed(),
    )

    assert intake.counter(contract.TURNS) == 2
    assert intake.count(contract.TURN_COST) == 2
    one = intake.counter(contract.COST) / 22
    assert intake.sum(contract.TURN_COST) == pytest.approx(2 * one)


def test_batches_and_restarts_change_no_sum(data_dir: Path) -> None:
    """Timing alone decides at which record a transaction ends."""
    records = [
        started(),
        *(
            record
            for turn in range(12)
            for record in (
                heard(),
                asked(),
                thought(speech=f"speech-{turn}"),
                answered(speech=f"speech-{turn}"),
                thought(speech=f"speech-{max(0, turn - 10)}"),
            )
        ),
        closed(),
    ]
    with running(data_dir / "at once") as intake:
        intake.take(*records)
        expected = sums(intake)
    with Writer(data_dir / "one by one") as journal:
        for record in records:
            journal.put(record)
            with running(data_dir / "one by one") as intake:
                intake.passes()
    with running(data_dir / "one by one") as intake:
        intake.passes()

        assert sums(intake) == pytest.approx(expected)


@contextmanager
def running(data_dir: Path, metrics: MetricsSettings | None = None) -> Iterator[Intake]:
    """An intake that is closed at the end of the block."""
    intake = Intake(data_dir, metrics)
    yield intake
    intake.ingest.close()


def sums(intake: Intake) -> dict[str, float]:
    """Every counter and histogram about agents, by family."""
    return {
        family.name: intake.counter(family) + intake.sum(family) + intake.count(family)
        for family in contract.FAMILIES
        if family.about_agents
    }


def test_what_a_collector_lost_is_on_the_page(intake: Intake) -> None:
    """Loud ignorance: what is missing is counted where somebody looks."""
    intake.take(
        started(),
        CollectorReport(
            session="s1",
            at=AT,
            dropped={"queue_full": 3, "directory_full": 0},
            rejected={"unknown_metrics": 2},
        ),
        CollectorReport(session="s1", at=AT, dropped={"queue_full": 4}),
    )

    assert intake.counter(contract.RECORDS_DROPPED, reason="queue_full") == 7
    assert intake.counter(contract.RECORDS_DROPPED) == 7
    assert intake.counter(contract.RECORDS_REJECTED, reason="unknown_metrics") == 2


def test_a_full_label_becomes_other_and_is_counted(data_dir: Path) -> None:
    """The cap is visible, and what is over it is not lost."""
    with running(data_dir, MetricsSettings(label_values_of={"model": 2})) as intake:
        intake.take(replace(started(), models=()), *(thought(model=f"m-{n}") for n in range(5)))

        models = {labels[3]: value for labels, value in intake.values(contract.REQUESTS).items()}
        assert models == {"m-0": 1, "m-1": 1, "other": 3}
        assert intake.counter(contract.LABEL_VALUES_CAPPED, label="model") == 3
        assert intake.figure("SELECT count(DISTINCT model) FROM usage") == 5


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
ANY_RECORD: st.SearchStrategy[Record] = st.one_of(
    st.builds(started, agent=NAMES),
    st.builds(thought, model=NAMES, provider=NAMES, speech=st.none() | NAMES),
    st.builds(lambda name: ToolCalled(session="s1", at=AT, tool=name), NAMES),
    st.builds(lambda name: SessionClosed(session="s1", at=AT, reason=name), NAMES),
    st.builds(lambda name: replace(thought(), rejected=(name,)), NAMES),
    st.builds(lambda name: replace(committed(), provider=name, model=name), NAMES),
    st.builds(
        lambda name: CollectorReport(session="s1", at=AT, dropped={name: 1}, rejected={name: 1}),
        NAMES,
    ),
    st.builds(
        lambda name: RequestFailed(session="s1", at=AT, stage="stt", provider=name, model=name),
        NAMES,
    ),
    st.builds(lambda name: MessageAdded(session="s1", at=AT, role="assistant", speech=name), NAMES),
)


@settings(max_examples=40)
@given(records=st.lists(ANY_RECORD, max_size=25))
def test_no_label_has_an_empty_value_or_more_values_than_it_may(records: Sequence[Record]) -> None:
    """Whatever the records contain; and the page can be written in both formats."""
    cap = 3
    metrics = MetricsSettings(label_values=cap)
    with TemporaryDirectory() as folder, running(Path(folder), metrics) as intake:
        intake.take(*records)
        for family in contract.FAMILIES:
            for position, name in enumerate(intake.registry.label_names(family)):
                values = {labels[position] for labels in intake.values(family)}
                assert "" not in values
                allowed = closed_set(name) or values
                assert values <= allowed
                if closed_set(name) is None:
                    assert len(values - OWN_WORDS) <= cap
        assert intake.page()
        assert intake.page("application/openmetrics-text").endswith("# EOF\n")


def closed_set(label: str) -> set[str] | None:
    """Values that a label may have, where they are known beforehand."""
    return {
        "stage": set(contract.STAGES),
        "kind": {"input", "cached_input", "cache_write", "output", *contract.RECORDS.values},
        "modality": {"text", "audio", "image"},
        "label": {"agent", "provider", "model", "tool", "reason"},
    }.get(label)


OWN_WORDS = {contract.OTHER, contract.UNKNOWN, *contract.CLOSE_REASONS}.union(
    *(family.values for family in contract.FAMILIES),
    *contract.WASTE_REASONS.values(),
    *contract.GAP_REASONS.values(),
)
"""Values of the contract do not count against a cap, even when an agent sends them."""


def test_close_reasons_of_livekit_are_never_capped(data_dir: Path) -> None:
    """They are on the page from the start, so they take no place from others, nor lose theirs."""
    with running(data_dir, MetricsSettings(label_values=2)) as intake:
        for number, reason in enumerate(contract.CLOSE_REASONS):
            session = f"s{number}"
            intake.take(
                started(session), *([closed(session, reason=reason)] if reason != "lost" else [])
            )

        assert {
            labels[1]: value for labels, value in intake.values(contract.SESSIONS_CLOSED).items()
        } == dict.fromkeys(contract.CLOSE_REASONS, 1.0)


def test_gauges_by_agent_add_up_when_agents_are_capped(data_dir: Path) -> None:
    """Spend of agents beyond the cap stands under `other`: budgets are held against the sum."""
    now = time.time()
    with running(data_dir, MetricsSettings(label_values_of={"agent": 1})) as intake:
        for number in range(3):
            session = f"s{number}"
            intake.take(
                started(session, at=now, agent=f"agent-{number}"),
                heard(session, at=now, seconds=600),
            )
        spent = intake.figure("SELECT sum(cost_usd) FROM usage")
        shown = [
            float(line.rpartition(" ")[2])
            for line in intake.page().splitlines()
            if line.startswith("livekit_agent_period_cost_usd{") and 'period="month"' in line
        ]

        assert spent > 0
        assert sum(shown) == pytest.approx(spent)


def test_no_family_is_fed_with_the_wrong_kind(intake: Intake) -> None:
    """Counters hold numbers, histograms distributions."""
    intake.take(*call())

    for family in contract.FAMILIES:
        for value in intake.values(family).values():
            assert isinstance(value, Distribution) is (family.kind is Kind.HISTOGRAM)
