"""Which part of a reply's cost nobody heard."""

from dataclasses import replace

import pytest

from livekit_exporter.calls.waste import Reason, reason, unheard
from livekit_exporter.ledger.rows import TurnRow, UsageRow
from livekit_exporter.record import Stage, Usage


def used(stage: Stage, usage: Usage, *, cost_usd: float, output_usd: float = 0.0) -> UsageRow:
    return UsageRow(
        session="s",
        at=0.0,
        agent="support",
        stage=stage,
        provider="acme",
        model="mind-1",
        reported_provider="acme",
        usage=usage,
        status="priced",
        cost_usd=cost_usd,
        output_usd=output_usd,
    )


LLM = used("llm", Usage(), cost_usd=0.010, output_usd=0.004)
TTS = used("tts", Usage(characters=400), cost_usd=0.020)


def reply(**changed: object) -> TurnRow:
    row = TurnRow(session="s", speech="x", at=0.0)
    for name, value in changed.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        pytest.param(reply(committed=True, spoken=True), None, id="said to its end"),
        pytest.param(reply(spoken=True, interrupted=True), "interrupted", id="talked over"),
        pytest.param(reply(committed=True), "interrupted", id="cut before a word"),
        pytest.param(reply(), "speculative", id="made ahead and thrown away"),
        pytest.param(reply(committed=True, tool_calls=1), None, id="acted, did not speak"),
    ],
)
def test_reason(turn: TurnRow, why: Reason | None) -> None:
    """A reply is for nothing when nobody heard it, or not all of it."""
    assert reason(turn) == why


def test_of_a_reply_that_was_talked_over_the_unheard_share_of_speech_and_text_is_waste() -> None:
    """100 of 400 characters heard: three quarters of the synthesis and of the output tokens."""
    lost = unheard(reply(spoken=True, interrupted=True, characters=100), [LLM, TTS])

    assert lost == pytest.approx([0.003, 0.015])


def test_of_a_reply_that_nobody_heard_everything_is_waste() -> None:
    """Its question was asked for nothing, too."""
    assert unheard(reply(), [LLM, TTS]) == [0.010, 0.020]


def test_a_reply_heard_to_its_end_wasted_nothing() -> None:
    """LiveKit may mark a reply interrupted at its last syllable."""
    assert unheard(reply(spoken=True, interrupted=True, characters=400), [LLM, TTS]) == [0, 0]


def test_without_synthesised_characters_the_share_is_not_known() -> None:
    """A realtime model speaks by itself: nothing is claimed."""
    assert unheard(reply(spoken=True, interrupted=True, characters=10), [LLM]) == [0]


def test_where_a_text_is_not_cut_to_its_audio_the_time_says_what_was_heard() -> None:
    """400 characters in 20 s of audio, of which 5 s were played: a quarter was heard."""
    cut = reply(spoken=True, interrupted=True, characters=400, spoken_seconds=5.0)

    lost = unheard(cut, [LLM, replace(TTS, usage=replace(TTS.usage, audio_seconds=20.0))])

    assert lost == pytest.approx([0.003, 0.015])


def test_a_voice_whose_audio_nobody_measured_speaks_as_voices_do() -> None:
    """15 characters a second; and what was heard is never more than what was said."""
    cut = reply(spoken=True, interrupted=True, characters=400, spoken_seconds=10.0)
    said = reply(spoken=True, interrupted=True, characters=100, spoken_seconds=1000.0)

    assert unheard(cut, [TTS]) == pytest.approx([0.020 * 250 / 400])
    assert unheard(said, [TTS]) == pytest.approx([0.015])


def test_a_request_that_was_made_again_takes_no_part_in_what_was_heard() -> None:
    """Its characters were sent twice and could be heard once."""
    failed = replace(TTS, wasted_usd=0.020)
    cut = reply(spoken=True, interrupted=True, characters=100)

    assert unheard(cut, [TTS, failed])[0] == pytest.approx(0.015)
