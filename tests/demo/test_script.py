"""The script of a call."""

from livekit_exporter.demo.products import (
    ELEVEN_TURBO,
    GPT_MINI,
    GPT_REALTIME,
    LLAMA,
    NOVA_3,
    SONIC,
    WHISPER,
)
from livekit_exporter.demo.script import CallScript, call_script


def scripts(count: int) -> list[CallScript]:
    """The first scripts of a demo."""
    return [call_script(1, number) for number in range(count)]


def test_same_seed_and_number_give_the_same_call() -> None:
    """A demo can be shown again."""
    assert call_script(3, 14) == call_script(3, 14)
    assert call_script(3, 14) != call_script(4, 14)
    assert call_script(3, 14) != call_script(3, 19)


def test_five_calls_meet_every_model() -> None:
    """A short demo fills every panel of a dashboard."""
    products = {
        product
        for script in scripts(5)
        for product in (script.stt, *script.llms, script.tts)
        if product is not None
    }

    assert products == {NOVA_3, WHISPER, GPT_MINI, LLAMA, SONIC, ELEVEN_TURBO, GPT_REALTIME}


def test_calls_have_everything_that_happens_in_calls() -> None:
    """Interruptions, tools, failures, transfers and afterthoughts, none of them always."""
    turns = [turn for script in scripts(100) for turn in script.turns]

    assert {turn.tool for turn in turns} == {None, "answers", "fails", "transfers"}
    assert {turn.failures for turn in turns} == {0, 1, 2}
    assert {len(turn.says) for turn in turns} == {1, 2}
    assert 0 < sum(turn.interrupted_after is not None for turn in turns) < len(turns) / 2


def test_last_reply_is_heard_to_its_end() -> None:
    """An interruption needs something to be said next."""
    assert all(script.turns[-1].interrupted_after is None for script in scripts(100))
