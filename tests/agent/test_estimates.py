"""Spans in, estimates out: what is billed and no event reports."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.agent.estimates.estimator import Estimator
from livekit_exporter.agent.estimates.prompts import Prompts
from livekit_exporter.agent.estimates.requests import Attempt, EndedRequest, read_metrics
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.record import (
    MessageAdded,
    Model,
    Record,
    RequestFailed,
    RequestTraced,
    SessionStarted,
    Usage,
    UsageEstimated,
    to_line,
)

AT = 1_795_000_000.0
GPT = Model(stage="llm", provider="api.openai.com", model="gpt-4.1-mini", label="openai.LLM")
OPENAI = Model(stage="llm", provider="openai", model=GPT.model)
"""The same model as a span names it."""
SONIC = Model(stage="tts", provider="Cartesia", model="sonic-3", label="cartesia.TTS")
OK = Attempt("", answered=True, seconds=2.0)
UNANSWERED = Attempt("", answered=False, seconds=0.3)


def said(model: Model, **fields: object) -> str:
    metadata = {"model_name": model.model, "model_provider": model.provider}
    common = {"label": model.label, "request_id": "r1", "duration": 2.0, "cancelled": False}
    return json.dumps({**common, **fields, "metadata": metadata})


def asked(
    step: int | None = 1, *, characters: int = 4000, metrics: str | None = None, **changed: object
) -> EndedRequest:
    ended = EndedRequest(
        session="s1",
        at=AT,
        step=step,
        model=OPENAI,
        speech="speech-1",
        metrics=read_metrics(metrics, OPENAI),
        prompt_characters=characters,
        attempts=(OK,),
    )
    return replace(ended, **changed)  # type: ignore[arg-type]


def answered(
    step: int = 1, *, characters: int = 4000, tokens: int = 1000, **fields: object
) -> EndedRequest:
    usage = {"prompt_tokens": tokens, "prompt_cached_tokens": 800, "completion_tokens": 100}
    metrics = said(GPT, **{"ttft": 0.5, **usage, **fields})
    return asked(step, characters=characters, metrics=metrics)


def cut(
    step: int = 2, *, characters: int = 4000, seconds: float = 1.0, **changed: object
) -> EndedRequest:
    metrics = said(GPT, ttft=0.5, duration=0.5 + seconds, cancelled=True)
    return asked(step, characters=characters, metrics=metrics, **changed)


def spoken(step: int | None, metrics: str | None = None, **changed: object) -> EndedRequest:
    ended = EndedRequest(
        session="s1",
        at=AT,
        step=step,
        model=SONIC,
        speech="speech-1",
        metrics=read_metrics(metrics, SONIC),
        attempts=(OK,),
    )
    return replace(ended, **changed)  # type: ignore[arg-type]


def known(estimator: Estimator, **changed: object) -> None:
    """Two replies of 100 tokens and 400 characters, in 1.5 s each, finished before."""
    for step in (1, 99):
        estimator.request_ended(answered(step, **changed))  # type: ignore[arg-type]
        estimator.step_ended(step, 400)


def estimates(records: object) -> list[UsageEstimated]:
    assert isinstance(records, list | tuple)
    return [record for record in records if isinstance(record, UsageEstimated)]


def test_a_request_that_reported_its_usage_is_measured_and_not_estimated() -> None:
    """Its sizes come when its text is known, which is when its step ends."""
    estimator = Estimator()

    assert estimator.request_ended(answered()) == ()
    records = estimator.step_ended(1, 400)

    assert records == [
        RequestTraced(
            session="s1",
            at=AT,
            stage="llm",
            provider=GPT.provider,
            model=GPT.model,
            label=GPT.label,
            request="r1",
            speech="speech-1",
            prompt_characters=4000,
            reply_characters=400,
            input_tokens=1000,
            cached_input_tokens=800,
            output_tokens=100,
            first_seconds=0.5,
            answering_seconds=1.5,
        )
    ]


def test_a_reply_that_was_cut_off_costs_its_prompt_and_what_it_had_written() -> None:
    """The span says how much that was; 4 characters a token, as before."""
    estimator = Estimator()
    known(estimator)

    estimator.request_ended(cut(written=(200, 150)))
    (one,) = estimates(estimator.step_ended(2, None))

    assert one.usage == Usage(
        input_tokens=1000, cached_input_tokens=800, output_tokens=50, total_tokens=1050
    )
    assert (one.reason, one.basis, one.provider) == ("interrupted", "call", GPT.provider)
    assert (one.prompt_characters, one.reply_characters) == (4000, 200)


def test_without_its_text_the_time_says_how_much_a_reply_had_written() -> None:
    """100 tokens in 1.5 s before, so 67 in a second."""
    estimator = Estimator()
    known(estimator)

    estimator.request_ended(cut(seconds=1.0))
    (one,) = estimates(estimator.step_ended(2, None))

    assert (one.usage.output_tokens, one.reply_characters) == (67, 268)


def test_a_longer_prompt_costs_what_it_grew_by() -> None:
    """Two prompts show 0.2 tokens a character; instructions and tools are in both."""
    estimator = Estimator()
    known(estimator)
    estimator.request_ended(answered(3, characters=5000, tokens=1200))
    estimator.step_ended(3, 400)

    estimator.request_ended(cut(characters=6000))
    (one,) = estimates(estimator.step_ended(2, None))

    assert one.usage.input_tokens == 1400


@pytest.mark.parametrize(
    ("tokens", "slope"),
    [
        pytest.param(200, 0.02, id="fewer tokens in the longer prompt"),
        pytest.param(9000, 0.5, id="more tokens than any language has"),
        pytest.param(1300, 0.3, id="in between"),
    ],
)
def test_what_prompts_grow_by_stays_within_what_a_language_can_have(
    tokens: int, slope: float
) -> None:
    """A history that was summed up, or tools that were added, bend the line through prompts."""
    prompts = Prompts()
    prompts.add(4000, 0, 1000, 0)
    prompts.add(5000, 4000, tokens, 0)

    assert prompts.tokens(7000) == tokens + round(2000 * slope)


def test_a_request_cut_off_before_its_first_token_costs_its_prompt() -> None:
    """There is no event for it; the span names the provider in its own way."""
    estimator = Estimator()
    known(estimator)

    estimator.request_ended(asked(2, attempts=(UNANSWERED,)))
    (one,) = estimates(estimator.step_ended(2, None))

    assert (one.usage.input_tokens, one.usage.output_tokens) == (1000, 0)
    assert one.provider == GPT.provider


def test_a_reply_made_ahead_of_its_turn_was_speculative() -> None:
    estimator = Estimator()
    known(estimator)

    estimator.request_ended(cut(heard=False))

    assert [one.reason for one in estimates(estimator.step_ended(2, None))] == ["speculative"]


@pytest.mark.parametrize(
    ("attempt", "billed"),
    [
        pytest.param(Attempt("APITimeoutError", answered=False, seconds=4), True, id="waited for"),
        pytest.param(Attempt("APIConnectionError", answered=True, seconds=1), True, id="broke off"),
        pytest.param(Attempt("APIConnectionError", answered=False, seconds=0.4), True, id="late"),
        pytest.param(Attempt("APIConnectionError", answered=False, seconds=0), False, id="away"),
        pytest.param(Attempt("APIStatusError", answered=False, seconds=0.1), False, id="refused"),
    ],
)
def test_an_attempt_that_failed_is_billed_when_the_vendor_had_taken_it_up(
    attempt: Attempt, *, billed: bool
) -> None:
    """Beside the one that answered in its place, which is reported."""
    estimator = Estimator()
    known(estimator)

    estimator.request_ended(replace(answered(2), attempts=(attempt, OK)))
    records = estimator.step_ended(2, 400)

    assert [one.reason for one in estimates(records)] == ["failed"] * billed
    assert len([record for record in records if isinstance(record, RequestTraced)]) == 1


def test_a_fallback_adapters_given_up_request_and_its_probe_are_two() -> None:
    """And the probe comes when the reply that it was made for is over."""
    estimator = Estimator()
    known(estimator)
    timeout = Attempt("APITimeoutError", answered=False, seconds=4.0)

    estimator.request_ended(asked(2, attempts=(timeout,)))
    first = estimates(estimator.step_ended(2, 400))
    later = estimates(estimator.request_ended(asked(2, attempts=(timeout,), recovery_probe=True)))

    assert [one.reason for one in (*first, *later)] == ["failed", "recovery_probe"]


def test_a_probe_that_is_answered_is_reported_and_marked() -> None:
    """Its text is nobody's, so nothing is calibrated on it."""
    estimator = Estimator()
    known(estimator)

    estimator.step_ended(2, 400)
    (traced,) = estimator.request_ended(replace(answered(2), recovery_probe=True))

    assert isinstance(traced, RequestTraced)
    assert traced.recovery_probe
    assert traced.reply_characters == 0
    assert Sizes.of(traced) == Sizes()


def test_speech_cut_off_is_due_for_every_character_sent() -> None:
    """Of markup nothing is sent: 90 characters of 100 before."""
    estimator = Estimator()
    known(estimator)
    estimator.step_ended(3, 100)
    estimator.request_ended(spoken(3, said(SONIC, characters_count=90)))

    estimator.request_ended(answered(2))
    estimator.request_ended(spoken(2))
    (one,) = estimates(estimator.step_ended(2, 300))

    assert (one.stage, one.usage) == ("tts", Usage(characters=270))


def test_speech_of_a_text_that_was_cut_off_itself_is_due_for_what_there_was() -> None:
    estimator = Estimator()
    known(estimator)

    estimator.request_ended(spoken(2))
    estimator.request_ended(cut(written=(200, 150)))
    records = estimates(estimator.step_ended(2, None))

    assert [one.stage for one in records] == ["llm", "tts"]
    assert records[1].usage.characters == 200


def test_speech_without_a_text_and_speech_that_was_finished_cost_nothing_more() -> None:
    """LiveKit opens a stream for a step that only calls a tool, too."""
    estimator = Estimator()
    known(estimator)

    estimator.request_ended(spoken(2))
    assert estimates(estimator.step_ended(2, 0, called_tool=True)) == []
    assert estimates(estimator.request_ended(spoken(1, finished=True))) == []


def test_words_that_were_said_and_cut_off_are_due_for_what_was_heard() -> None:
    """Their text is in no span; of more than was heard nobody knows."""
    estimator = Estimator()
    message = MessageAdded(
        session="s1", at=AT, role="assistant", speech="speech-1", characters=120, interrupted=True
    )

    assert estimator.request_ended(spoken(None)) == []
    (one,) = estimates(estimator.derive(message))

    assert one.usage == Usage(characters=120)
    assert estimator.derive(message) == ()


def test_a_call_of_a_tool_says_nothing_of_the_speed_of_words() -> None:
    """Its arguments come all at once."""
    estimator = Estimator()
    known(estimator)
    estimator.request_ended(answered(3, ttft=1.999, completion_tokens=500))
    estimator.step_ended(3, 0, called_tool=True)

    estimator.request_ended(cut(seconds=1.0))
    (one,) = estimates(estimator.step_ended(2, None))

    assert one.usage.output_tokens == 67


def test_the_first_reply_waits_for_one_that_finishes() -> None:
    """Its speech does not: what there was of its text is known."""
    estimator = Estimator()

    estimator.request_ended(cut(written=(200, 150)))
    estimator.request_ended(spoken(2))
    at_once = estimates(estimator.step_ended(2, None))
    estimator.request_ended(answered(1))
    later = estimates(estimator.step_ended(1, 400))

    assert [(one.stage, one.usage.characters) for one in at_once] == [("tts", 200)]
    assert [(one.stage, one.basis) for one in later] == [("llm", "call")]
    assert estimator.flush() == []


def test_where_its_text_is_not_recorded_its_speech_waits_with_it() -> None:
    """100 tokens of 400 characters in 1.5 s, and it answered for 1 s."""
    estimator = Estimator()

    estimator.request_ended(cut())
    estimator.request_ended(spoken(2))
    assert estimates(estimator.step_ended(2, None)) == []
    estimator.request_ended(answered(1))
    records = estimates(estimator.step_ended(1, 400))

    assert [(one.stage, one.usage.characters) for one in records] == [("llm", 0), ("tts", 268)]


def test_how_much_of_a_prompt_is_remembered_the_next_finished_one_says() -> None:
    """The first of a call says nothing of that: there was none before it."""
    estimator = Estimator()
    estimator.request_ended(answered(1, prompt_cached_tokens=0))
    estimator.step_ended(1, 400)

    estimator.request_ended(cut(2, written=(200, 150), characters=5000))
    assert estimates(estimator.step_ended(2, None)) == []
    estimator.request_ended(answered(3, characters=5000, tokens=1200, prompt_cached_tokens=960))
    (one,) = estimates(estimator.step_ended(3, 400))

    assert one.usage.input_tokens == 1200
    # Four fifths of the prompt before, which was four fifths of this one.
    assert one.usage.cached_input_tokens == round(1200 * 0.8 * 0.8)


def test_a_vendor_that_takes_whole_sentences_was_sent_no_half_ones() -> None:
    """Cartesia's plugin keeps the rest back; 150 of the 200 characters are sentences."""
    estimator = Estimator()
    known(estimator)
    sonic = replace(SONIC, label="livekit.plugins.cartesia.tts.TTS")

    estimator.derive(SessionStarted(session="s1", at=AT, agent="a", models=(sonic,)))
    estimator.request_ended(cut(written=(200, 150)))
    estimator.request_ended(spoken(2))
    records = estimates(estimator.step_ended(2, None))

    assert [(one.stage, one.usage.characters) for one in records] == [("llm", 0), ("tts", 150)]


def test_speech_of_a_reply_whose_tokens_were_reported_though_it_was_cut_off() -> None:
    """Gemini says with every piece of text what it has used."""
    estimator = Estimator()
    known(estimator)
    metrics = said(GPT, ttft=0.5, prompt_tokens=1000, completion_tokens=50, cancelled=True)

    estimator.request_ended(asked(2, metrics=metrics, written=(200, 150)))
    estimator.request_ended(spoken(2))
    records = estimates(estimator.step_ended(2, None))

    assert [(one.stage, one.usage.characters) for one in records] == [("tts", 200)]


def test_what_nothing_can_be_calibrated_on_is_counted_and_not_estimated() -> None:
    estimator = Estimator()
    estimator.request_ended(cut(written=(200, 150)))
    estimator.step_ended(2, None)

    (one,) = estimates(estimator.flush())

    assert (one.basis, one.usage, one.requests) == (None, Usage(), 1)


def test_the_ledger_knows_models_that_finished_in_other_calls() -> None:
    """By the names of the plugin, which the session declared; nothing came before to be cached."""
    sizes = Sizes(4000, 1000, 500, 1.5, 100, 400, 100, 1, 0.5)
    estimator = Estimator(lambda model: sizes if model == GPT else None)
    estimator.derive(SessionStarted(session="s1", at=AT, agent="a", models=(GPT,)))

    estimator.request_ended(cut(written=(200, 150), characters=2000))
    (one,) = estimates(estimator.step_ended(2, None))

    assert one.basis == "ledger"
    assert one.usage == Usage(
        input_tokens=500, cached_input_tokens=0, output_tokens=50, total_tokens=550
    )


def test_a_failure_says_by_which_name_a_plugin_goes() -> None:
    estimator = Estimator()
    failure = RequestFailed(
        session="s1", at=AT, stage="llm", provider="api.groq.com", model="llama", label="groq.LLM"
    )
    timeout = Attempt("APITimeoutError", answered=False, seconds=4.0)
    llama = Model(stage="llm", provider="groq", model="llama")
    estimator.derive(failure)

    estimator.request_ended(asked(2, model=llama, attempts=(timeout,)))
    estimator.step_ended(2, None)
    (one,) = estimates(estimator.flush())

    assert (one.provider, one.label) == ("api.groq.com", "groq.LLM")


NUMBERS = st.one_of(
    st.integers(-5, 10**15), st.floats(), st.none(), st.booleans(), st.text(max_size=3)
)


@given(
    fields=st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "ttft", "duration", "cancelled"])
        | st.sampled_from(["prompt_cached_tokens", "characters_count", "metadata", "label"]),
        NUMBERS,
    ),
    characters=st.integers(0, 10**9),
    written=st.none() | st.integers(0, 10**6),
    raw=st.none() | st.sampled_from(["", "[]", "1", '{"metadata": 3}', "{"]),
)
def test_whatever_a_span_says_an_estimate_can_be_written(
    fields: dict[str, object], characters: int, written: int | None, raw: str | None
) -> None:
    """Nothing negative, nothing endless, and no exception."""
    estimator = Estimator()
    known(estimator)
    metrics = raw if raw is not None else json.dumps({**fields, "request_id": 7})
    text = None if written is None else (written, 0)
    stages = (
        asked(2, characters=characters, metrics=metrics, written=text),
        spoken(2, metrics),
    )

    records: list[Record] = []
    for ended in stages:
        records += estimator.request_ended(ended)
    records += estimator.step_ended(2, written)
    records += estimator.flush()

    for record in records:
        to_line(record)
        usage = record.usage if isinstance(record, UsageEstimated) else None
        if usage is not None:
            assert min(usage.input_tokens, usage.output_tokens, usage.characters) >= 0
            assert usage.cached_input_tokens <= usage.input_tokens
