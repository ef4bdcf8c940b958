"""Scenarios of the calls: the faults in each, and their moments."""

from typing import Final

from bench.accuracy.script import Cut, Fault, Scenario, Step

_SHORT: Final = "Yes, your order has left the warehouse and comes on Thursday morning."
_PLAIN: Final = (
    "I have found it. The two chairs are in stock and can be with you on Friday between nine"
    " and noon, and the table follows in the week after. Would you like to have them together?"
)
_LONG: Final = (
    "Let me explain how that works, since there is more than one way to do it. First of all you"
    " can keep the table and we take a part of the price off, which is what most people choose"
    " when the scratch is below the top. If you would rather have a new one, we bring it to you"
    " in the following week and take the old one back at the same time, and you only need to be"
    " there once. The third possibility is that somebody from our workshop comes to your home and"
    " repairs it, which takes about an hour and costs you nothing, but the next free visit is in"
    " three weeks. Whatever you choose, I will write it down in your order, and you will get a"
    " letter that says the same. In the meantime please keep the packaging if you still have it,"
    " because the driver needs it for the way back. And if you have taken photographs already,"
    " send them to us by mail with the number of the order in the first line."
)

_EARLY: Final = Cut("writing", 0.1)
_LATE: Final = Cut("writing", 0.7)
_SENT: Final = Cut("sent")
_PLAYED: Final = Cut("played")
_ASKED: Final = Cut("asked")
_THINKING_SECONDS: Final = 3.0
"""Long enough for the caller to cut in before the first token."""


def _asks(
    *says: str,
    reply: str = _PLAIN,
    cut: Cut | None = None,
    tool: bool = False,
    faults: tuple[Fault, ...] = (),
    think: float | None = None,
) -> Step:
    return Step(says=says, reply=reply, cut=cut, tool=tool, faults=faults, think=think)


_PLAIN_TURN: Final = _asks("I am calling about my order, is there any news?")
_BYE: Final = _asks("all right, thank you very much", reply=_SHORT)
_TABLE: Final = "the table came with a scratch, what can I do about it?"

PLAIN: Final = Scenario(
    name="plain turns",
    about="three answers, heard to their end",
    steps=(_PLAIN_TURN, _asks("and how about the lamp?", reply=_SHORT), _BYE),
    requests=("complete", "complete", "complete"),
)
TOOL: Final = Scenario(
    name="tool turn",
    about="an answer that needs a look at the order first",
    steps=(_PLAIN_TURN, _asks("it is A 1024, could you look it up?", tool=True), _BYE),
    requests=("complete", "complete", "complete", "complete"),
)
CUT_EARLY: Final = Scenario(
    name="cut early",
    about="the caller cuts in when a tenth of a long reply is written",
    steps=(_PLAIN_TURN, _asks(_TABLE, reply=_LONG, cut=_EARLY), _BYE),
    requests=("complete", "cut", "complete"),
)
CUT_LATE: Final = Scenario(
    name="cut late",
    about="the caller cuts in when most of a long reply is written",
    steps=(_PLAIN_TURN, _asks(_TABLE, reply=_LONG, cut=_LATE), _BYE),
    requests=("complete", "cut", "complete"),
)
CUT_SENT: Final = Scenario(
    name="cut in synthesis",
    about="the caller cuts in when all is written and the voice is still making audio of it",
    steps=(_PLAIN_TURN, _asks(_TABLE, reply=_LONG, cut=_SENT), _BYE),
    requests=("complete", "complete", "complete"),
)
CUT_PLAYED: Final = Scenario(
    name="cut in playback",
    about="the caller cuts in when all audio is made and is being played",
    steps=(_PLAIN_TURN, _asks(_TABLE, reply=_LONG, cut=_PLAYED), _BYE),
    requests=("complete", "complete", "complete"),
)
CUT_UNSAID: Final = Scenario(
    name="cut before a token",
    about="the caller goes on while the model has read the prompt and written nothing",
    steps=(_PLAIN_TURN, _asks(_TABLE, reply=_LONG, cut=_ASKED, think=_THINKING_SECONDS), _BYE),
    requests=("complete", "unsaid", "complete"),
)
FIRST_CUT: Final = Scenario(
    name="first reply cut",
    about="the first reply of the call is cut off, so nothing in it was finished before",
    steps=(_asks(_TABLE, reply=_LONG, cut=_LATE), _BYE),
    requests=("cut", "complete"),
)
ONLY_CUT: Final = Scenario(
    name="only reply cut",
    about="the caller hangs up during the only reply of the call",
    steps=(_asks(_TABLE, reply=_LONG),),
    hang_up=_LATE,
    requests=("cut",),
)
SPECULATIVE: Final = Scenario(
    name="speculative",
    about="the agent answers ahead of time, the caller goes on, and the answer is thrown away",
    steps=(
        _PLAIN_TURN,
        _asks(
            "the table came with a scratch",
            "and one of the chairs wobbles",
            reply=_LONG,
            cut=_PLAYED,
        ),
        _BYE,
    ),
    requests=("complete", "cut", "complete", "complete"),
)
SAY_CUT: Final = Scenario(
    name="say cut off",
    about="words that the agent speaks unasked are cut off",
    steps=(_PLAIN_TURN, Step(reply=_LONG, cut=_SENT), _BYE),
    requests=("complete", "complete"),
)
DROP_BEFORE: Final = Scenario(
    name="drop, retried",
    about="the vendor closes the connection before the first token, and is asked again",
    steps=(_PLAIN_TURN, _asks(_TABLE, faults=("drop_before_text",)), _BYE),
    requests=("complete", "dropped", "complete", "complete"),
)
DROP_AFTER: Final = Scenario(
    name="drop in reply",
    about="the vendor closes the connection after twenty tokens",
    steps=(_PLAIN_TURN, _asks(_TABLE, reply=_LONG, faults=("drop_after_text",)), _BYE),
    requests=("complete", "dropped", "complete"),
)
REFUSED: Final = Scenario(
    name="refused, retried",
    about="the vendor answers with an error, which is free, and is asked again",
    steps=(_PLAIN_TURN, _asks(_TABLE, faults=("refused",)), _BYE),
    requests=("complete", "complete", "complete"),
)
PROBE_BACK: Final = Scenario(
    name="fallback, probe works",
    about="the first model is silent until the adapter gives up; its recovery probe is answered",
    steps=(_PLAIN_TURN, _asks(_TABLE, faults=("silent", "none")), _BYE),
    fallback=True,
    requests=("complete", "unsaid", "complete", "complete", "complete"),
)
PROBE_FAILS: Final = Scenario(
    name="fallback, probe fails",
    about="the first model is silent, and so is it to the recovery probe",
    steps=(_PLAIN_TURN, _asks(_TABLE, faults=("silent", "silent")), _BYE),
    fallback=True,
    requests=("complete", "unsaid", "complete", "unsaid", "complete", "complete"),
)
BARGE_IN_CALL: Final = Scenario(
    name="barge-in call",
    about="twelve turns; the caller cuts seven replies off, at all moments",
    steps=(
        _PLAIN_TURN,
        _asks(_TABLE, reply=_LONG, cut=_LATE),
        _asks("no wait, I do not want to keep it", reply=_LONG, cut=_LATE),
        _asks("sorry, what does the new one cost?", reply=_PLAIN),
        _asks("and who carries it upstairs?", reply=_LONG, cut=_PLAYED),
        _asks("I see, I see, and when would that be?", reply=_LONG, cut=_EARLY),
        _asks("no, I mean the repair, when would that be?", reply=_LONG, cut=_EARLY),
        _asks("that is too late for me", reply=_SHORT, tool=True),
        _asks(
            "what about the week after next?",
            reply=_LONG,
            cut=_ASKED,
            think=_THINKING_SECONDS,
        ),
        _asks("or on a Saturday, if that is easier?", reply=_LONG, cut=_LATE),
        _asks("fine, then let us do it like that", reply=_SHORT),
        _BYE,
    ),
    requests=(
        "complete",
        "cut",
        "cut",
        "complete",
        "complete",
        "cut",
        "cut",
        "complete",
        "complete",
        "unsaid",
        "cut",
        "complete",
        "complete",
    ),
)

ALL: Final = (
    PLAIN,
    TOOL,
    CUT_EARLY,
    CUT_LATE,
    CUT_SENT,
    CUT_PLAYED,
    CUT_UNSAID,
    FIRST_CUT,
    ONLY_CUT,
    SPECULATIVE,
    SAY_CUT,
    DROP_BEFORE,
    DROP_AFTER,
    REFUSED,
    PROBE_BACK,
    PROBE_FAILS,
    BARGE_IN_CALL,
)
