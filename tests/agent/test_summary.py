"""A call's lines in its agent's log: the ledger's figures, and nothing that hurts the call."""

import logging
import random
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from livekit_exporter import contract
from livekit_exporter.agent.prices import Prices
from livekit_exporter.agent.summary import SLOW_TURN_SECONDS, Summary
from livekit_exporter.record import (
    Record,
    ToolCalled,
    TurnCommitted,
    Usage,
    UsageReported,
)
from livekit_exporter.sidecar import prices_in_force
from livekit_exporter.sidecar.config import settings as config
from tests.agent.accounts import Followed, summarise
from tests.agent.agreement import assert_agrees
from tests.agent.logs import Lines, logged
from tests.intake import Intake
from tests.records import (
    AT,
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


def follow(
    records: Iterable[Record],
    slow: float | None = SLOW_TURN_SECONDS,
    *,
    prices: Prices | None = None,
) -> Lines:
    """What a call with these records logs."""
    with logged() as lines:
        summarise("s1", records, slow, prices)
    return lines


def question(number: int, *, latency: float | None = 0.9) -> list[Record]:
    """A question, its answer, and what they used."""
    speech = f"speech-{number}"
    return [
        heard(),
        committed(speech=speech),
        asked(),
        thought(speech=speech),
        spoken(speech=speech),
        answered(speech=speech, latency=latency),
    ]


def test_a_call_reads_like_this() -> None:
    """One question, one answer, three providers."""
    lines = follow(call())

    turn, block = lines.texts()
    assert turn == (
        "turn 1: 0.90 s, $0.002960 | stt 5.0 s, $0.000400"
        " | llm 1,000 in, 100 out, ttft 0.40 s, $0.000560"
        " | tts 40 characters, ttfb 0.20 s, $0.002000"
    )
    assert block.splitlines() == [
        "call s1: 1 turn in 1 min 0 s, $0.002960",
        "  stt  deepgram/nova-3      5.0 s              $0.000400",
        "  llm  openai/gpt-4.1-mini  1,000 in, 100 out  $0.000560",
        "  tts  cartesia/sonic-3     40 characters      $0.002000",
        "  by stage: stt $0.000400, llm $0.000560, tts $0.002000",
        "  turn latency: average 0.90 s, p95 0.90 s",
    ]


def test_programs_are_told_the_same() -> None:
    """The documented fields of a turn and of a call."""
    lines = follow(call())

    stages: dict[str, dict[str, Any]] = {
        "stt": {"requests": 1, "audio_seconds": 5.0, "cost_usd": 0.0004},
        "llm": {
            "requests": 1,
            "tokens": {"input_text": 1000, "output_text": 100},
            "cost_usd": 0.00056,
        },
        "tts": {"requests": 1, "characters": 40, "audio_seconds": 2.5, "cost_usd": 0.002},
    }
    names = {"stt": "deepgram/nova-3", "llm": "openai/gpt-4.1-mini", "tts": "cartesia/sonic-3"}
    assert lines.fields("turn") == [
        {
            "kind": "turn",
            "session": "s1",
            "turn": 1,
            "speech": "speech-1",
            "latency_seconds": 0.9,
            "ttft_seconds": 0.4,
            "ttfb_seconds": 0.2,
            "interrupted": False,
            "tool_calls": 0,
            "cost_usd": 0.00296,
            "unpriced_requests": 0,
            "stages": stages,
        }
    ]
    assert lines.fields("call") == [
        {
            "kind": "call",
            "session": "s1",
            "reason": "user_initiated",
            "seconds": 60.0,
            "turns": 1,
            "interrupted": 0,
            "latency_seconds": {"count": 1, "average": 0.9, "p95": 0.9},
            "cost_usd": 0.00296,
            "estimated_usd": 0.0,
            "estimated_requests": 0,
            "outside_turns_usd": 0.0,
            "unpriced_requests": 0,
            "stages": {"stt": 0.0004, "llm": 0.00056, "tts": 0.002},
            "models": [
                {"stage": stage, "provider": provider, "model": model, **stages[stage]}
                for stage, name in names.items()
                for provider, model in [name.split("/")]
            ],
        }
    ]


def test_a_turn_is_logged_when_the_next_answer_begins() -> None:
    """Until then a tool may make it longer; this one does."""
    with logged() as lines:
        followed = Followed()
        followed.followers.append(Summary("s1", followed.account, None))
        records: list[Record] = [
            started(),
            *question(1),
            ToolCalled(session="s1", at=AT + 4, tool="look_up", speech="speech-1"),
            thought(at=AT + 5),
            answered(at=AT + 6, latency=None),
            heard(at=AT + 7),
            asked(at=AT + 8),
            thought(at=AT + 9, speech="speech-2"),
        ]
        followed.take(*records)
        assert lines.texts() == []
        followed.take(answered(at=AT + 10, speech="speech-2"))

    (turn,) = lines.fields("turn")
    assert turn["tool_calls"] == 1
    assert turn["stages"]["llm"]["requests"] == 2
    assert turn["cost_usd"] == pytest.approx(0.0004 + 2 * 0.00056 + 0.002, abs=1e-12)
    assert "1 tool call" in lines.texts()[0]


def test_what_was_heard_since_an_answer_belongs_to_the_next_one() -> None:
    """And what was heard since the last one is in the call only."""
    lines = follow([started(), *question(1), heard(seconds=7), *question(2), heard(seconds=3)])

    first, second = lines.fields("turn")
    (whole,) = lines.fields("call")
    assert first["stages"]["stt"]["audio_seconds"] == 5
    assert second["stages"]["stt"]["audio_seconds"] == 12
    assert whole["models"][0]["audio_seconds"] == 20
    assert whole["outside_turns_usd"] == pytest.approx(3 * 0.0048 / 60, abs=1e-12)
    assert "  outside turns: $0.000240" in lines.texts()[-1]


def test_a_greeting_is_no_turn_and_costs() -> None:
    """Nobody asked, somebody pays."""
    lines = follow([started(), spoken(speech="hello"), answered(speech="hello", latency=None)])

    assert lines.fields("turn") == []
    (whole,) = lines.fields("call")
    assert whole["turns"] == 0
    assert whole["latency_seconds"] == {"count": 0, "average": None, "p95": None}
    assert whole["outside_turns_usd"] == whole["cost_usd"] == 0.002
    assert whole["reason"] is None


def test_a_model_without_a_price_is_named_and_never_free() -> None:
    """Its cost is unknown: null for programs, `unpriced` for people."""
    unknown = thought(provider="openrouter.ai", model="auto")
    lines = follow([started(), asked(), unknown, spoken(), answered()])

    (turn,), (whole,) = lines.fields("turn"), lines.fields("call")
    assert turn["stages"]["llm"]["cost_usd"] is None
    assert (turn["cost_usd"], turn["unpriced_requests"]) == (0.002, 1)
    assert (whole["cost_usd"], whole["unpriced_requests"]) == (0.002, 1)
    assert whole["models"][0]["cost_usd"] is None
    line, block = lines.texts()
    assert line.startswith("turn 1: 0.90 s, $0.002000 and unpriced |")
    assert "ttft 0.40 s, unpriced |" in line
    assert block.endswith("  unpriced: llm openrouter/auto (1 request)")


def test_a_request_that_reported_no_usage_is_not_said_to_be_free() -> None:
    """LiveKit reports no tokens of a reply that was cut off; the vendor bills some."""
    cut_off = replace(thought(cancelled=True), usage=Usage())
    lines = follow([started(), asked(), cut_off, answered(interrupted=True)])

    assert lines.texts()[0] == (
        "turn 1: 0.90 s, no usage, talked over | llm 1 request, ttft 0.40 s, no usage"
    )


def test_a_realtime_reply_shows_its_tokens_by_modality() -> None:
    """Parts exclude one another, as in the tokens metric."""
    usage = Usage(
        input_tokens=2000,
        cached_input_tokens=1024,
        cached_audio_tokens=500,
        input_audio_tokens=1200,
        output_tokens=300,
        output_audio_tokens=220,
    )
    reply = replace(
        thought(provider="api.openai.com", model="gpt-realtime"), stage="realtime", usage=usage
    )
    lines = follow([started(), asked(), reply, answered()])

    (turn,) = lines.fields("turn")
    assert turn["ttft_seconds"] == 0.4
    assert turn["stages"]["realtime"]["tokens"] == {
        "input_text": 276,
        "input_audio": 700,
        "cached_input_text": 524,
        "cached_input_audio": 500,
        "output_text": 80,
        "output_audio": 220,
    }
    assert (
        "realtime 800 text + 1,200 audio in (1,024 cached), 80 text + 220 audio out, ttft 0.40 s"
    ) in lines.texts()[0]


OWN = """\
schema: 1
currency: USD
providers:
  acme: {names: [Acme]}
entries:
  - id: acme/gpu
    stage: llm
    basis: request_time
    prices:
      - {per_hour: 3.60, source: our own machine, checked: 2026-11-01}
  - id: acme/ears
    stage: stt
    free: self-hosted
"""


@pytest.mark.parametrize("seconds", [60.0, 60.5])
def test_prices_and_legs_of_the_operator_hold_in_the_log(
    tmp_path: Path, data_dir: Path, intake: Intake, seconds: float
) -> None:
    """They are beside the journals, where the sidecar left them; a leg is rounded up once."""
    (tmp_path / "own.yaml").write_text(OWN)
    legs = {"livekit/agent-session": "all", "twilio/us-inbound-local": "channel=phone"}
    settings = config.Config(
        data_dir=data_dir,
        prices=config.Prices(file=tmp_path / "own.yaml"),
        platform=config.Platform(legs=legs),
    )
    intake.ingest.configure(settings, *prices_in_force.load(settings))
    own = replace(thought(provider="Acme", model="gpu"), request_seconds=1.25)
    records: list[Record] = [
        replace(started(), labels={"channel": "phone"}),
        replace(heard(), provider="Acme", model="ears"),
        asked(),
        own,
        replace(own, request_seconds=90.0),
        answered(),
        replace(closed(), at=AT + seconds),
    ]
    intake.take(*records)
    lines = follow(records, prices=Prices(data_dir))

    assert_agrees(lines, intake, "s1")
    (turn,), (whole,) = lines.fields("turn"), lines.fields("call")
    assert turn["stages"]["stt"]["cost_usd"] == 0
    minutes = 1 if seconds == 60.0 else 2
    assert whole["stages"]["platform"] == pytest.approx(minutes * 0.0185, abs=1e-12)
    assert whole["outside_turns_usd"] == whole["stages"]["platform"]


def test_a_platform_leg_has_a_line_in_the_block() -> None:
    """What `call.record` adds counts like what LiveKit reports."""
    leg = UsageReported(
        session="s1",
        at=AT + 50,
        stage="platform",
        provider="livekit",
        model="agent-session",
        usage=Usage(connection_seconds=60.0),
    )
    lines = follow([*call()[:-1], leg, closed()])

    (whole,) = lines.fields("call")
    assert whole["stages"]["platform"] > 0
    assert "  platform  livekit/agent-session  60.0 s connected" in lines.texts()[-1]


@pytest.mark.parametrize(
    ("delays", "largest"),
    [
        pytest.param((0.6, 0.5, None), "ttft", id="model"),
        pytest.param((3.0, 2.5, None), "transcription_delay", id="transcript"),
        pytest.param((3.2, 0.1, None), "eou_delay", id="endpointing"),
        pytest.param((0.3, 0.2, 2.9), "callback", id="callback"),
        pytest.param((None, None, None), "other", id="nothing known of the end"),
    ],
)
def test_a_slow_turn_is_a_warning_that_says_where_the_time_went(
    delays: tuple[float | None, float | None, float | None], largest: str
) -> None:
    """It comes with the answer: the wait is over, and its cost is of no interest."""
    eou, transcription, callback = delays
    turn = TurnCommitted(
        session="s1",
        at=AT,
        speech="speech-1",
        eou_delay_seconds=eou,
        transcription_delay_seconds=transcription,
        callback_seconds=callback,
    )
    first = 2.4 if largest == "ttft" else 0.2
    reply = (thought(first=first), spoken(), answered(latency=4.2))
    with logged(logging.WARNING) as lines:
        followed = Followed()
        followed.followers.append(Summary("s1", followed.account, 3.5, has_lines=False))
        followed.take(started(), turn, asked(), *reply)

    (told,) = lines.fields("slow_turn")
    other = max(4.2 - sum(part or 0 for part in (eou, callback, first, 0.2)), 0)
    assert told == {
        "kind": "slow_turn",
        "session": "s1",
        "turn": 1,
        "speech": "speech-1",
        "latency_seconds": 4.2,
        "slow_turn_seconds": 3.5,
        "eou_delay_seconds": eou,
        "transcription_delay_seconds": transcription,
        "callback_seconds": callback,
        "ttft_seconds": first,
        "ttfb_seconds": 0.2,
        "other_seconds": pytest.approx(other, abs=1e-9),
        "largest_part": largest,
    }
    assert lines.records[0].levelno == logging.WARNING


def test_a_slow_turn_reads_like_this() -> None:
    """Of synthesis that was cut off there is no report, but the message knows."""
    slow = replace(answered(latency=4.2, interrupted=True), first_byte_seconds=0.25)
    lines = follow([started(), committed(), asked(), thought(first=3.1), slow])

    (warning,) = lines.texts(logging.WARNING)
    assert warning == (
        "slow turn 1: 4.20 s, more than 3.5 s, largest part ttft | eou delay 0.30 s,"
        " of it transcription 0.30 s, ttft 3.10 s, ttfb 0.25 s, other 0.55 s"
    )
    assert lines.fields("turn")[0]["ttfb_seconds"] is None, "the ledger has none either"


@pytest.mark.parametrize(
    ("latency", "slow"),
    [(3.5, 3.5), (None, 3.5), (4.0, None), (61.0, 3.5)],
    ids=["at the objective", "unknown", "no objective", "clock error"],
)
def test_a_turn_that_is_not_known_to_be_slow_is_no_warning(
    latency: float | None, slow: float | None
) -> None:
    """What the histograms refuse is no latency here."""
    lines = follow([started(), *question(1, latency=latency)], slow)

    assert lines.fields("slow_turn") == []


def test_the_objective_is_a_bound_of_the_latency_histogram() -> None:
    """So that warnings can be counted in Prometheus."""
    assert SLOW_TURN_SECONDS in contract.LATENCY_BUCKETS


def test_p95_is_the_wait_that_95_of_100_turns_stayed_within() -> None:
    """A latency that occurred, never one in between."""
    latencies = random.Random(1).sample(range(1, 101), 100)
    records = [
        record
        for number, latency in enumerate(latencies)
        for record in question(number, latency=latency / 50)
    ]
    (whole,) = follow([started(), *records], None).fields("call")

    assert whole["turns"] == 100
    assert whole["latency_seconds"]["p95"] == 95 / 50
    assert whole["latency_seconds"]["average"] == pytest.approx(50.5 / 50)


@pytest.mark.parametrize(
    ("level", "slow", "kinds"),
    [
        (logging.INFO, 3.5, {"turn", "call", "slow_turn"}),
        (logging.INFO, None, {"turn", "call"}),
        (logging.WARNING, 3.5, {"slow_turn"}),
        (logging.WARNING, None, None),
        (logging.ERROR, 3.5, None),
    ],
)
def test_nothing_is_added_up_that_nobody_would_see(
    level: int, slow: float | None, kinds: set[str] | None
) -> None:
    """Prices are not even read for warnings alone."""
    prices = Prices()
    with logged(level) as lines:
        followed = Followed(prices)
        summary = Summary.wanted("s1", followed.account, slow)
        if summary is not None:
            followed.followers.append(summary)
            followed.take(started(), *question(1, latency=4.0))
            summary.end()

    assert (summary is None) == (kinds is None)
    assert {record.livekit_exporter["kind"] for record in lines.records} == (kinds or set())  # type: ignore[attr-defined]
    assert prices.loaded == ("turn" in (kinds or ()))


def test_what_comes_after_a_turn_is_over_is_in_the_call(intake: Intake) -> None:
    """A recovery probe of a fallback adapter ends when it likes; the turn's line was there."""
    probe = thought(at=AT + 30)
    records = [started(), *question(1), *question(2), probe, closed()]
    intake.take(*records)
    lines = follow(records)

    first, _ = lines.fields("turn")
    (whole,) = lines.fields("call")
    assert first["stages"]["llm"]["requests"] == 1
    assert whole["outside_turns_usd"] == pytest.approx(0.00056, abs=1e-12)
    told = sum(turn["cost_usd"] for turn in lines.fields("turn"))
    assert told == pytest.approx(intake.sum(contract.TURN_COST), abs=1e-9)


def test_names_from_outside_cannot_break_a_line() -> None:
    """A model's name is whatever a plugin says, and a terminal may know ASCII only."""
    strange = thought(model="gpt\n2026-11-26 ERROR all is lost \x1b[31m caf\u00e9")
    lines = follow([started(), asked(), strange, answered()])

    assert len(lines.texts()[0].splitlines()) == 1
    block = lines.texts()[1]
    assert block.isascii()
    assert "\x1b" not in block
    assert len(block.splitlines()) == 5


def test_a_long_call_needs_no_more_memory_than_a_short_one() -> None:
    """1 000 turns, with replies that were thrown away between them: eight bytes a turn."""
    with logged(logging.ERROR):
        followed = Followed()
        followed.followers.append(Summary("s1", followed.account, 3.5))
        followed.take(started())

        def turns(numbers: range) -> None:
            for number in numbers:
                followed.take(thought(speech=f"thrown-away-{number}"), *question(number))

        tracemalloc.start()
        try:
            turns(range(200))
            before, _ = tracemalloc.get_traced_memory()
            turns(range(200, 1200))
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert after - before < 50_000


MODELS = (
    ("api.openai.com", "gpt-4.1-mini"),
    ("api.groq.com", "llama-3.3-70b-versatile"),
    ("openrouter.ai", "auto"),
)


def eventful(session: str, chance: random.Random) -> list[Record]:
    """A call in which everything may happen at any time."""
    records: list[Record] = [started(session)]
    for number in range(chance.randrange(8)):
        speech = chance.choice((f"speech-{number}", f"speech-{number}", None))
        at = AT + 10 * number

        def usage(at: float = at, speech: str | None = speech) -> Record:
            provider, model = chance.choice(MODELS)
            tokens = chance.randrange(500)
            made = chance.choice(
                (
                    thought(session, at=at, speech=speech, provider=provider, model=model,
                            tokens=tokens, first=chance.choice((None, 0.4, 90.0))),
                    spoken(session, at=at, speech=speech, characters=chance.randrange(300)),
                    heard(session, at=at, seconds=chance.random() * 20),
                    replace(thought(session, at=at, speech=speech, cancelled=True), usage=Usage()),
                )
            )  # fmt: skip
            return replace(made, requests=chance.choice((1, 1, 3)))

        records += [usage(speech=f"thrown-away-{number}")] * chance.randrange(2)
        records += [committed(session, at=at, speech=speech, delay=chance.random() * 2)]
        records += [asked(session, at=at)] * chance.randrange(3)
        for step in range(chance.randrange(4)):
            records += [usage() for _ in range(chance.randrange(4))]
            records.append(
                answered(
                    session,
                    at=at + step,
                    speech=speech,
                    latency=chance.choice((None, chance.random() * 5, 70.0)),
                    interrupted=chance.random() < 0.2,
                    measured=chance.random() < 0.7,
                )
            )
            if speech is not None and chance.random() < 0.5:
                records.append(ToolCalled(session=session, at=at, tool="look_up", speech=speech))
    return [*records, heard(session), closed(session, at=AT + 200)]


def test_the_log_agrees_with_the_ledger_whatever_happens(intake: Intake) -> None:
    """Turn by turn and call by call, to a billionth of a dollar."""
    turns = 0
    for number in range(60):
        session = f"s{number}"
        records = eventful(session, random.Random(number))
        intake.take(*records)
        with logged() as lines:
            summarise(session, records, 3.5)
        assert_agrees(lines, intake, session)
        turns += len(lines.fields("turn"))

    assert turns > 100
    assert turns == intake.count(contract.TURN_COST)
