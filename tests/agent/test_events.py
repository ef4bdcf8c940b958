"""Events of a session become records: what was measured, what was used, and no sentinels."""

import json
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.agents import metrics
from livekit.agents.metrics.base import AvatarMetrics, DecisionMetrics, Metadata

from livekit_exporter.agent.events import EVENTS, RawMessage, read_event
from livekit_exporter.agent.fields import CLOCK_TOLERANCE_SECONDS, Moment, UnreadableError
from livekit_exporter.record import (
    AvailabilityChanged,
    MessageAdded,
    Record,
    RequestFailed,
    SessionClosed,
    ToolCalled,
    TurnCommitted,
    Usage,
    UsageReported,
    to_line,
)
from livekit_exporter.sidecar.decode import decode
from tests.records import AT

MOMENT = Moment(session="s1", now=AT, persona="sales", speech="speech-now", trace="ab" * 16)
METADATA = Metadata(model_name="gpt-4.1-mini", model_provider="api.openai.com")

REASONS = {
    "unknown_metrics",
    "unknown_item",
    "unknown_error",
    "malformed_quantity",
    "malformed_tools",
}


def llm(**changes: object) -> metrics.LLMMetrics:
    """Metrics of a language model's request."""
    given: dict[str, object] = {
        "label": "livekit.plugins.openai.llm.LLM",
        "request_id": "req-1",
        "timestamp": AT + 5,
        "duration": 1.2,
        "ttft": 0.4,
        "cancelled": False,
        "completion_tokens": 60,
        "prompt_tokens": 840,
        "prompt_cached_tokens": 512,
        "total_tokens": 900,
        "tokens_per_second": 50.0,
        "speech_id": "speech-1",
        "metadata": METADATA,
    }
    return metrics.LLMMetrics.model_validate(given | changes)


def stt(**changes: object) -> metrics.STTMetrics:
    """Metrics of a speech-to-text stream."""
    given: dict[str, object] = {
        "label": "livekit.plugins.deepgram.stt.STT",
        "request_id": "req-2",
        "timestamp": AT + 5,
        "duration": 0.0,
        "audio_duration": 5.0,
        "streamed": True,
    }
    return metrics.STTMetrics.model_validate(given | changes)


def tts(**changes: object) -> metrics.TTSMetrics:
    """Metrics of speech synthesis."""
    given: dict[str, object] = {
        "label": "livekit.plugins.cartesia.tts.TTS",
        "request_id": "req-3",
        "timestamp": AT + 5,
        "ttfb": 0.2,
        "duration": 0.9,
        "audio_duration": 2.5,
        "cancelled": False,
        "characters_count": 40,
        "streamed": True,
        "speech_id": "speech-1",
    }
    return metrics.TTSMetrics.model_validate(given | changes)


def realtime(**changes: object) -> metrics.RealtimeModelMetrics:
    """Metrics of a realtime model's response."""
    details = metrics.RealtimeModelMetrics
    given: dict[str, object] = {
        "request_id": "resp-1",
        "timestamp": AT + 5,
        "duration": 2.0,
        "ttft": 0.6,
        "input_tokens": 1000,
        "output_tokens": 200,
        "total_tokens": 1200,
        "tokens_per_second": 100.0,
        "input_token_details": details.InputTokenDetails(
            audio_tokens=700, text_tokens=300, cached_tokens=500
        ),
        "output_token_details": details.OutputTokenDetails(audio_tokens=150, text_tokens=50),
    }
    return metrics.RealtimeModelMetrics.model_validate(given | changes)


def eou(**changes: object) -> metrics.EOUMetrics:
    """Metrics of an end of utterance."""
    given: dict[str, object] = {
        "timestamp": AT + 5,
        "end_of_utterance_delay": 0.5,
        "transcription_delay": 0.3,
        "on_user_turn_completed_delay": 0.01,
        "speech_id": "speech-1",
    }
    return metrics.EOUMetrics.model_validate(given | changes)


def short(value: object) -> str:
    """A readable id of a test with a huge number."""
    return repr(value)[:12]


def read(name: str, event: object) -> Record:
    """The one record of an event."""
    (record,) = read_event(name, event, MOMENT)
    return record


def used(measured: object) -> UsageReported:
    """What metrics become."""
    record = read("metrics_collected", SimpleNamespace(metrics=measured))
    assert isinstance(record, UsageReported)
    return record


def turned(measured: object) -> TurnCommitted:
    """What end-of-utterance metrics become."""
    record = read("metrics_collected", SimpleNamespace(metrics=measured))
    assert isinstance(record, TurnCommitted)
    return record


def unreadable(name: str, event: object) -> str:
    """Why an event is none."""
    with pytest.raises(UnreadableError) as caught:
        read_event(name, event, MOMENT)
    return caught.value.reason


def test_a_request_of_a_language_model_is_its_usage_and_its_times() -> None:
    """Every field of the record, from LiveKit's own class."""
    assert used(llm(cache_creation_tokens=100)) == UsageReported(
        session="s1",
        at=AT + 5,
        stage="llm",
        provider="api.openai.com",
        model="gpt-4.1-mini",
        label="livekit.plugins.openai.llm.LLM",
        request="req-1",
        speech="speech-1",
        persona="sales",
        trace="ab" * 16,
        usage=Usage(
            input_tokens=840,
            cached_input_tokens=512,
            cache_write_tokens=100,
            output_tokens=60,
            total_tokens=900,
        ),
        first_seconds=0.4,
        request_seconds=1.2,
        tokens_per_second=50.0,
    )


def test_a_component_hands_out_bare_metrics() -> None:
    """The same object, without the session's event around it."""
    assert read("metrics_collected", llm()) == used(llm())


def test_answer_without_a_token_has_no_ttft() -> None:
    """LiveKit reports -1 when no token came; that is not a latency."""
    record = used(llm(ttft=-1.0))

    assert record.first_seconds is None
    assert record.rejected == ("no_first_token",)
    assert record.usage.input_tokens == 840


def test_a_cancelled_request_keeps_its_first_token_only() -> None:
    """Where it was cut off says nothing about how long it would have taken."""
    record = used(llm(cancelled=True, completion_tokens=0, prompt_tokens=0, total_tokens=0))

    assert record.cancelled
    assert record.first_seconds == 0.4
    assert record.request_seconds is None
    assert record.tokens_per_second is None


def test_synthesis_without_a_byte_has_no_ttfb() -> None:
    """Cancelled before the first byte, billed in full."""
    record = used(tts(ttfb=-1.0, cancelled=True, audio_duration=0.0))

    assert record.first_seconds is None
    assert record.rejected == ("no_first_byte",)
    assert record.usage.characters == 40
    assert record.cancelled


def test_a_stream_has_no_length_of_a_request() -> None:
    """LiveKit reports 0.0 for it, and a zero is not a fast request."""
    record = used(stt())

    assert record.streamed
    assert record.request_seconds is None
    assert record.rejected == ()
    assert record.usage.audio_seconds == 5.0


def test_a_batch_transcription_has_one() -> None:
    """It is a request like any other."""
    assert used(stt(streamed=False, duration=0.7)).request_seconds == 0.7


def test_opening_a_connection_is_no_request() -> None:
    """It has a time of its own and no usage."""
    record = used(stt(request_id="", audio_duration=0.0, acquire_time=0.042))

    assert record.connection
    assert record.requests == 0
    assert record.acquire_seconds == 0.042


def test_usage_without_a_request_id_is_a_request() -> None:
    """Realtime transcription names none, and its tokens are billed."""
    record = used(stt(request_id="", audio_duration=0.0, input_tokens=30, input_audio_tokens=30))

    assert not record.connection
    assert record.requests == 1
    assert record.usage.input_audio_tokens == 30


def test_opening_a_realtime_connection_is_no_request() -> None:
    """Nor a response without a first token."""
    none = metrics.RealtimeModelMetrics
    record = used(
        realtime(
            request_id="",
            acquire_time=0.3,
            ttft=-1,
            duration=0.0,
            input_tokens=0,
            output_tokens=0,
            total_tokens=0,
            tokens_per_second=0.0,
            input_token_details=none.InputTokenDetails(),
            output_token_details=none.OutputTokenDetails(),
        )
    )

    assert (record.connection, record.requests, record.acquire_seconds) == (True, 0, 0.3)
    assert (record.rejected, record.first_seconds, record.request_seconds) == ((), None, None)


def test_session_time_of_a_realtime_model_is_no_request() -> None:
    """Models billed by time report their session once, when it closes."""
    record = used(realtime(request_id="session_close", session_duration=93.5, ttft=-1))

    assert record.usage.connection_seconds == 93.5
    assert (record.requests, record.connection, record.rejected) == (0, False, ())
    assert record.request_seconds is None


@pytest.mark.parametrize("audio", [None, 400])
def test_cached_realtime_tokens_with_and_without_their_modality(audio: int | None) -> None:
    """Without a split the whole is known, and what is cached of audio is not."""
    details = metrics.RealtimeModelMetrics
    cached = None if audio is None else details.CachedTokenDetails(audio_tokens=audio)
    record = used(
        realtime(
            input_token_details=details.InputTokenDetails(
                audio_tokens=700, text_tokens=300, cached_tokens=500, cached_tokens_details=cached
            )
        )
    )

    assert record.usage == Usage(
        input_tokens=1000,
        cached_input_tokens=500,
        output_tokens=200,
        total_tokens=1200,
        input_audio_tokens=700,
        cached_audio_tokens=audio or 0,
        output_audio_tokens=150,
    )


def test_a_response_without_audio_has_no_ttft() -> None:
    """Text only, or a plugin that does not know."""
    record = used(realtime(ttft=-1))

    assert (record.first_seconds, record.rejected) == (None, ("no_first_token",))


def test_the_end_of_a_turn_is_its_delays() -> None:
    """As LiveKit measured them."""
    record = turned(eou(metadata=Metadata(model_name="multilingual", model_provider="livekit")))

    assert (record.eou_delay_seconds, record.transcription_delay_seconds) == (0.5, 0.3)
    assert (record.callback_seconds, record.speech) == (0.01, "speech-1")
    assert (record.provider, record.model) == ("livekit", "multilingual")


def test_an_end_of_speech_that_nobody_saw_has_no_delay() -> None:
    """Exactly zero means unknown, and is not the fastest turn of all."""
    record = turned(eou(end_of_utterance_delay=0.0, transcription_delay=0.0))

    assert record.eou_delay_seconds is None
    assert record.transcription_delay_seconds is None
    assert record.rejected == ("end_of_speech_unknown", "end_of_speech_unknown")


@pytest.mark.parametrize(
    ("value", "kept", "rejected"),
    [
        (0.0, 0.0, ()),
        (200.0, 200.0, ()),
        (2, 2.0, ()),
        (None, None, ()),
        (-1.0, None, ("no_first_token",)),
        (-1, None, ("no_first_token",)),
        (-0.2, None, ("negative",)),
        (float("nan"), None, ("not_a_number",)),
        (float("inf"), None, ("not_a_number",)),
        (float("-inf"), None, ("not_a_number",)),
        ("0.4", None, ("not_a_number",)),
        (True, None, ("not_a_number",)),
        ([0.4], None, ("not_a_number",)),
        (10**400, None, ("not_a_number",)),
    ],
    ids=short,
)
def test_only_a_finite_number_is_a_latency(
    value: object, kept: float | None, rejected: tuple[str, ...]
) -> None:
    """Anything else is named, and the usage beside it is kept."""
    event = SimpleNamespace(**llm().model_dump(exclude={"metadata"}) | {"ttft": value})

    record = used(event)

    assert (record.first_seconds, record.rejected) == (kept, rejected)
    assert record.usage.output_tokens == 60


@pytest.mark.parametrize(
    "value",
    [None, -1, 1.5, float("nan"), float("inf"), "60", True, [60], 10**13, 10**400, 1e300],
    ids=short,
)
def test_a_quantity_that_is_none_makes_the_event_unreadable(value: object) -> None:
    """Money is not guessed: the event is counted as not understood."""
    event = SimpleNamespace(**llm().model_dump() | {"completion_tokens": value})

    assert unreadable("metrics_collected", event) == "malformed_quantity"


@pytest.mark.parametrize("value", [None, -0.5, float("nan"), "5", True, 1e300, 10**400], ids=short)
def test_an_audio_time_that_is_none_makes_the_event_unreadable(value: object) -> None:
    """It is what speech-to-text is billed by."""
    event = SimpleNamespace(**stt().model_dump() | {"audio_duration": value})

    assert unreadable("metrics_collected", event) == "malformed_quantity"


@pytest.mark.parametrize("value", [0, 0.0])
def test_nothing_is_zero_however_it_is_written(value: object) -> None:
    """A float that is whole counts."""
    event = SimpleNamespace(**llm().model_dump() | {"prompt_cached_tokens": value})

    assert used(event).usage.cached_input_tokens == 0


def test_metrics_of_a_name_only_are_readable() -> None:
    """Whatever an old version lacks is absent, not an error."""
    for kind in ("llm_metrics", "stt_metrics", "tts_metrics", "realtime_model_metrics"):
        record = used(SimpleNamespace(type=kind))
        assert (record.usage, record.first_seconds, record.at) == (Usage(), None, AT)
        assert (record.provider, record.model) == ("", "")


def test_a_monotonic_timestamp_is_replaced_by_the_time_of_receipt() -> None:
    """One plugin reports seconds since boot."""
    assert used(llm(timestamp=2362.9)).at == AT


@pytest.mark.parametrize("direction", [-1, 1], ids=["behind", "ahead"])
def test_a_timestamp_may_differ_from_the_clock_by_the_tolerance(direction: int) -> None:
    """By an hour and no more, whether the vendor's clock is behind or ahead."""
    farthest = AT + direction * CLOCK_TOLERANCE_SECONDS
    beyond = farthest + direction

    assert used(llm(timestamp=farthest)).at == farthest
    assert used(llm(timestamp=beyond)).at == AT
    assert turned(eou(timestamp=farthest)).at == farthest
    assert turned(eou(timestamp=beyond)).at == AT
    for at, kept in ((farthest, farthest), (beyond, AT)):
        error = SimpleNamespace(error=SimpleNamespace(type="llm_error"), created_at=at)
        assert read("error", error).at == kept


def test_a_speech_that_metrics_do_not_name_is_the_current_one() -> None:
    """Realtime metrics never name one."""
    assert used(llm(speech_id=None)).speech == "speech-now"
    assert used(realtime()).speech == "speech-now"
    assert used(stt()).speech is None


@pytest.mark.parametrize(
    "silent",
    [
        metrics.VADMetrics(
            label="silero",
            timestamp=AT,
            idle_time=1,
            inference_duration_total=0.1,
            inference_count=9,
        ),
        AvatarMetrics(timestamp=AT, playback_latency=0.4),
        metrics.InterruptionMetrics(
            timestamp=AT,
            total_duration=0.1,
            prediction_duration=0.1,
            detection_delay=0.1,
            num_interruptions=0,
            num_backchannels=0,
            num_requests=0,
        ),
    ],
    ids=lambda item: item.type,
)
def test_metrics_without_cost_or_wait_say_nothing(silent: object) -> None:
    """Known, and not worth a record."""
    assert read_event("metrics_collected", SimpleNamespace(metrics=silent), MOMENT) == ()


def test_interruption_requests_are_counted_in_batches() -> None:
    """LiveKit reports how many there were since its last event."""
    record = used(
        metrics.InterruptionMetrics(
            timestamp=AT,
            total_duration=0.1,
            prediction_duration=0.05,
            detection_delay=0.2,
            num_interruptions=1,
            num_backchannels=0,
            num_requests=7,
        )
    )

    assert (record.stage, record.requests, record.request_seconds) == ("interruption", 7, 0.1)


def test_a_decision_without_tokens_is_a_request() -> None:
    """They are optional there."""
    record = used(
        DecisionMetrics(label="d", request_id="r", timestamp=AT, duration=0.3, metadata=METADATA)
    )

    assert (record.stage, record.usage, record.request_seconds) == ("llm", Usage(), 0.3)


@pytest.mark.parametrize("kind", [None, "", "dream_metrics", 3, ["llm_metrics"]])
def test_metrics_of_an_unknown_kind_are_unreadable(kind: object) -> None:
    """A version that nobody has seen yet."""
    event = SimpleNamespace(metrics=SimpleNamespace(type=kind))

    assert unreadable("metrics_collected", event) == "unknown_metrics"
    assert unreadable("metrics_collected", SimpleNamespace(metrics=None)) == "unknown_metrics"


def message(**changes: object) -> SimpleNamespace:
    """A message as `conversation_item_added` carries it."""
    given: dict[str, object] = {
        "type": "message",
        "id": "item-1",
        "role": "assistant",
        "content": ["Good morning.", "Bye."],
        "interrupted": False,
        "metrics": {"e2e_latency": 0.9, "llm_node_ttft": 0.4, "tts_node_ttfb": 0.2},
    }
    return SimpleNamespace(item=SimpleNamespace(**given | changes))


def test_a_message_is_its_length_and_its_latency() -> None:
    """Never its text."""
    record = read("conversation_item_added", message(interrupted=True))

    assert record == MessageAdded(
        session="s1",
        at=AT,
        role="assistant",
        message="item-1",
        speech="speech-now",
        persona="sales",
        trace="ab" * 16,
        characters=17,
        interrupted=True,
        latency_seconds=0.9,
        first_token_seconds=0.4,
        first_byte_seconds=0.2,
    )
    assert b"morning" not in to_line(record)


def test_a_message_of_an_sdk_that_does_not_measure_says_so() -> None:
    """Before 1.3.1 there is no report; then the sidecar adds the stages up."""
    event = message()
    del event.item.metrics
    record = read("conversation_item_added", event)

    assert isinstance(record, MessageAdded)
    assert (record.measured, record.latency_seconds) == (False, None)


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        (0.0, 0.0),
        (2.5, 2.5),
        (CLOCK_TOLERANCE_SECONDS, CLOCK_TOLERANCE_SECONDS),
        (-0.5, None),
        (CLOCK_TOLERANCE_SECONDS + 1, None),
    ],
)
def test_a_message_was_spoken_from_its_beginning_to_its_end(
    seconds: float, kept: float | None
) -> None:
    """Times in the wrong order, or hours apart, are no length of speech."""
    times = {"started_speaking_at": AT, "stopped_speaking_at": AT + seconds}
    record = read("conversation_item_added", message(metrics=times))

    assert isinstance(record, MessageAdded)
    assert record.spoken_seconds == kept


@pytest.mark.parametrize("value", [-1.0, float("nan"), "0.9", True])
def test_a_message_without_a_real_latency_has_none(value: object) -> None:
    """And says why."""
    record = read("conversation_item_added", message(metrics={"e2e_latency": value}))

    assert isinstance(record, MessageAdded)
    assert record.latency_seconds is None
    assert len(record.rejected) == 1


def test_a_realtime_message_names_its_requests() -> None:
    """That is how it is joined to its usage."""
    event = message(metrics={"provider_request_ids": ["resp-1", None, 3, "resp-2"]})
    record = read("conversation_item_added", event)

    assert isinstance(record, MessageAdded)
    assert record.requests == ("resp-1", "resp-2")


@pytest.mark.parametrize("item", ["agent_handoff", "function_call", "function_call_output"])
def test_other_items_of_a_conversation_say_nothing(item: str) -> None:
    """They have events of their own."""
    assert read_event("conversation_item_added", message(type=item), MOMENT) == ()
    assert read_event("conversation_item_added", message(role="system"), MOMENT) == ()


def test_an_unknown_item_is_unreadable() -> None:
    """Nor is one without a kind."""
    assert unreadable("conversation_item_added", message(type="dream")) == "unknown_item"
    assert unreadable("conversation_item_added", SimpleNamespace()) == "unknown_item"


def test_a_failure_names_the_class_of_its_exception_only() -> None:
    """An error's text may name people, keys and addresses."""
    event = SimpleNamespace(
        created_at=AT + 1,
        error=SimpleNamespace(
            type="tts_error", recoverable=True, label="cartesia", error=TimeoutError("secret")
        ),
        source=SimpleNamespace(provider="Cartesia", model="sonic-3", label=""),
    )
    record = read("error", event)

    assert isinstance(record, RequestFailed)
    assert (record.stage, record.provider, record.model) == ("tts", "Cartesia", "sonic-3")
    assert (record.error, record.recoverable, record.label) == ("TimeoutError", True, "cartesia")
    assert b"secret" not in to_line(record)
    assert unreadable("error", SimpleNamespace(error=None)) == "unknown_error"


def test_every_call_of_a_tool_is_a_record() -> None:
    """Failed where its output says so; an output may be missing."""
    event = SimpleNamespace(
        created_at=AT + 1,
        function_calls=[
            SimpleNamespace(call_id="1", name="lookup"),
            SimpleNamespace(call_id="2", name="book"),
            SimpleNamespace(call_id="3", name="silent"),
        ],
        function_call_outputs=[
            SimpleNamespace(call_id="1", is_error=False),
            SimpleNamespace(call_id="2", is_error=True),
            None,
        ],
    )
    records = read_event("function_tools_executed", event, MOMENT)

    assert [
        (record.tool, record.failed) for record in records if isinstance(record, ToolCalled)
    ] == [
        ("lookup", False),
        ("book", True),
        ("silent", False),
    ]
    assert unreadable("function_tools_executed", SimpleNamespace()) == "malformed_tools"


@pytest.mark.parametrize("stage", ["llm", "stt", "tts"])
def test_a_component_out_of_service_is_named(stage: str) -> None:
    """By the adapter's event, which holds the component under its stage."""
    component = SimpleNamespace(provider="Deepgram", model="nova-3", label="x")
    event = SimpleNamespace(**{stage: component}, available=False)
    record = read(f"{stage}_availability_changed", event)

    assert isinstance(record, AvailabilityChanged)
    assert (record.stage, record.model, record.available) == (stage, "nova-3", False)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (SimpleNamespace(value="job_shutdown"), "job_shutdown"),
        ("user_initiated", "user_initiated"),
        (None, "unknown"),
    ],
)
def test_a_close_has_livekits_reason(given: object, reason: str) -> None:
    """An enumeration's value, where it is one."""
    record = read("close", SimpleNamespace(created_at=AT, reason=given, error=None))

    assert isinstance(record, SessionClosed)
    assert record.reason == reason


def test_long_texts_are_cut() -> None:
    """A hostile name must not fill a disk."""
    record = used(llm(request_id="r" * 10_000, label="l" * 10_000))

    assert (len(record.request), len(record.label)) == (200, 200)


@pytest.mark.parametrize("name", ["nul\x00", "half of a pair \ud800"])
def test_a_text_that_no_journal_can_carry_does_not_cost_the_usage(name: str) -> None:
    """The sidecar would refuse the line, and with it what the request cost."""
    record = used(llm(request_id=name, label=name))

    assert decode(to_line(record).removesuffix(b"\n")) == record
    assert record.usage.output_tokens == 60


@pytest.mark.parametrize("identity", [["1"], {"id": 1}])
def test_a_tool_call_without_a_proper_id_is_still_a_call(identity: object) -> None:
    """Or unreadable; never an exception of another kind."""
    call = SimpleNamespace(call_id=identity, name="lookup")
    output = SimpleNamespace(call_id=identity, is_error=True)
    event = SimpleNamespace(function_calls=[call], function_call_outputs=[output])

    assert_understood(outcome("function_tools_executed", event))


class Hostile:
    """An object whose every attribute is itself."""

    def __getattr__(self, name: str) -> "Hostile":
        if name.startswith("__"):
            raise AttributeError(name)
        return self


EXAMPLES: tuple[Callable[..., Any], ...] = (llm, stt, tts, realtime, eou)
KEYS = st.sampled_from(
    sorted(
        {name for made in EXAMPLES for name in type(made()).model_fields}
        | {"item", "metrics", "error", "source", "reason", "function_calls", "call_id", "name"}
        | {"function_call_outputs", "is_error", "created_at", "available", "llm", "stt", "tts"}
        | {"role", "content", "id", "interrupted", "model_name", "model_provider", "value"}
        | {"provider", "model", "recoverable", "num_requests", "cached_tokens_details"}
    )
)
TEXTS = st.text(max_size=12) | st.text(st.characters(categories=["Cs", "Cc", "Lu"]), max_size=4)
VALUES: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**12)
    | st.just(10**400)
    | st.floats()
    | TEXTS
    | st.binary(max_size=4)
    | st.just(Hostile())
    | st.builds(ValueError, TEXTS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS, inner, max_size=3)
        | st.builds(
            lambda given: SimpleNamespace(**given), st.dictionaries(KEYS, inner, max_size=6)
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(
    (
        *(f"{name}_metrics" for name in ("llm", "stt", "tts", "realtime_model", "eou", "vad")),
        *(f"{name}_metrics" for name in ("decision", "interruption", "eot_inference")),
        *("message", "llm_error", "stt_error", "agent_handoff"),
    )
)


def outcome(name: str, event: object) -> tuple[Record, ...] | str:
    """The records of an event, or why there are none."""
    try:
        return read_event(name, event, MOMENT)
    except UnreadableError as error:
        return error.reason


def assert_understood(found: tuple[Record, ...] | str) -> None:
    """Either a reason of a closed set, or records that the sidecar reads as they are."""
    if isinstance(found, str):
        assert found in REASONS
        return
    for record in found:
        assert decode(to_line(record).removesuffix(b"\n")) == record


@given(
    name=st.sampled_from(sorted(EVENTS)),
    attributes=st.dictionaries(KEYS, VALUES),
    kind=KINDS,
    wrapped=st.sampled_from([None, "metrics", "item", "error"]),
)
def test_no_event_does_anything_but_become_records_or_be_unreadable(
    name: str, attributes: dict[str, object], kind: str, wrapped: str | None
) -> None:
    """Whatever attributes it has; and each record survives the journal."""
    event = SimpleNamespace(**attributes | {"type": kind})

    assert_understood(
        outcome(name, SimpleNamespace(**{wrapped: event}) if wrapped is not None else event)
    )


@given(made=st.sampled_from(EXAMPLES), changes=st.dictionaries(KEYS, VALUES, max_size=4))
def test_no_change_to_real_metrics_breaks_them(
    made: Callable[..., Any], changes: dict[str, object]
) -> None:
    """Near misses find more than noise."""
    event = SimpleNamespace(**dict(made()) | changes | {"type": made().type})

    assert_understood(outcome("metrics_collected", event))


@pytest.mark.parametrize("name", sorted(EVENTS))
@pytest.mark.parametrize(
    "event", [None, 3, "text", [], {}, Hostile()], ids=lambda event: type(event).__name__
)
def test_what_is_no_event_is_understood_as_such(name: str, event: object) -> None:
    """Not even an object of LiveKit's."""
    assert_understood(outcome(name, event))


def test_a_recorded_event_reads_like_a_live_one() -> None:
    """Fields are read by name, so a dump does as well as the object."""
    for made in EXAMPLES:
        live = made(metadata=METADATA)
        recorded = json.loads(
            live.model_dump_json(), object_hook=lambda fields: SimpleNamespace(**fields)
        )
        assert read("metrics_collected", SimpleNamespace(metrics=recorded)) == read(
            "metrics_collected", SimpleNamespace(metrics=live)
        )


class Words(list[str]):
    """A list that tells when nobody keeps it."""


def test_an_item_is_measured_once_and_its_text_let_go() -> None:
    """By whichever thread asks first; the item itself may change meanwhile."""
    words = Words(["Where is my order?"])
    kept = weakref.ref(words)
    item = SimpleNamespace(type="message", role="user", id="item_1", content=words, metrics={})
    added = RawMessage(item, Moment("s-1", AT))
    item.role = "assistant"
    del item, words

    (message,) = added.records()

    assert isinstance(message, MessageAdded)
    assert (message.role, message.characters) == ("user", len("Where is my order?"))
    assert added.records() == (message,)
    assert kept() is None


def test_what_is_no_item_is_unreadable() -> None:
    """Before anything is put for another thread."""
    with pytest.raises(UnreadableError, match="unknown_item"):
        RawMessage(None, Moment("s-1", AT))
