"""The lines of a call in its agent's log: text for people, fields for programs.

`docs/logs.md` describes the fields.  An unknown figure is `None` there and said in the
text; it is never zero.  The text is ASCII, so that a terminal of any encoding takes it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final, TypeAlias, get_args

from livekit_exporter.calls.account import Account, Spent, TurnAccount, total
from livekit_exporter.calls.turns import plausible
from livekit_exporter.record import Model, Stage

Line: TypeAlias = tuple[str, dict[str, object]]
"""Text and fields."""

_STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
_LEAST_SHOWN_USD: Final = Decimal("0.000001")


def of_turn(turn: TurnAccount) -> Line:
    """Describe a turn that is over: usage, cost, and how long the caller waited."""
    stages = {stage: turn.spent[stage] for stage in _STAGES if stage in turn.spent}
    whole = total(stages.values())
    fields: dict[str, object] = {
        "turn": turn.number,
        "speech": turn.speech,
        "latency_seconds": turn.latency_seconds,
        "ttft_seconds": turn.first_token_seconds,
        "ttfb_seconds": turn.first_byte_seconds,
        "interrupted": turn.interrupted,
        "tool_calls": turn.tool_calls,
        "cost_usd": float(whole.cost),
        "unpriced_requests": whole.unpriced,
        "stages": {stage: _fields(spent) for stage, spent in stages.items()},
    }
    latency = turn.latency_seconds
    head = ["latency unknown" if latency is None else f"{latency:.2f} s", _cost(whole)]
    if turn.tool_calls:
        head.append(_count(turn.tool_calls, "tool call"))
    if turn.interrupted:
        head.append("talked over")
    parts = [", ".join(head), *(_stage(turn, stage, spent) for stage, spent in stages.items())]
    return f"turn {turn.number}: {' | '.join(parts)}", fields


def of_slow_turn(turn: TurnAccount, objective: float) -> Line:
    """Take a turn apart that took too long.

    Args:
        turn: The turn; its latency is known.
        objective: Seconds that it should have taken at most.
    """
    latency = turn.latency_seconds or 0.0
    eou, transcription = turn.eou_delay_seconds, turn.transcription_delay_seconds
    ttft, ttfb = turn.first_token_seconds, turn.first_byte_seconds
    if turn.message is not None:
        # Its message knows of waits that no request reported.
        ttft = plausible(turn.message.first_token_seconds) if ttft is None else ttft
        ttfb = plausible(turn.message.first_byte_seconds) if ttfb is None else ttfb
    # The end of a turn is decided after its transcript has come.
    until_transcript = transcription or 0.0
    shares = {
        "transcription_delay": until_transcript,
        "eou_delay": max((eou or 0.0) - until_transcript, 0.0),
        "callback": turn.callback_seconds or 0.0,
        "ttft": ttft or 0.0,
        "ttfb": ttfb or 0.0,
    }
    other = shares["other"] = max(latency - sum(shares.values()), 0.0)
    largest = max(shares, key=lambda part: shares[part])
    fields: dict[str, object] = {
        "turn": turn.number,
        "speech": turn.speech,
        "latency_seconds": latency,
        "slow_turn_seconds": objective,
        "eou_delay_seconds": eou,
        "transcription_delay_seconds": transcription,
        "callback_seconds": turn.callback_seconds,
        "ttft_seconds": ttft,
        "ttfb_seconds": ttfb,
        "other_seconds": other,
        "largest_part": largest,
    }
    parts = (
        ("eou delay", eou),
        ("of it transcription", transcription),
        ("callback", turn.callback_seconds),
        ("ttft", ttft),
        ("ttfb", ttfb),
        ("other", other),
    )
    known = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts if seconds is not None)
    head = f"slow turn {turn.number}: {latency:.2f} s, more than {objective:g} s"
    return f"{head}, largest part {largest.replace('_', ' ')} | {known}", fields


def of_call(session: str, account: Account, name: Callable[[Model], Model]) -> Line:
    """Describe a call that is over: usage by model, cost by stage, waits.

    Args:
        session: Its id.
        account: Its account.
        name: Names a model as metrics do.
    """
    models = _by_model(account.spent, name)
    stages: dict[Stage, Spent] = {}
    for model, spent in models:
        stages.setdefault(model.stage, Spent()).add(spent)
    whole, estimated = total(stages.values()), total(account.estimated.values())
    fields: dict[str, object] = {
        "reason": account.reason,
        "seconds": account.seconds,
        "turns": account.turns,
        "interrupted": account.interrupted,
        "latency_seconds": {
            "count": account.latency_count,
            "average": account.average_latency,
            "p95": account.p95_latency,
        },
        "cost_usd": float(whole.cost),
        "estimated_usd": float(estimated.cost),
        "estimated_requests": estimated.requests,
        "outside_turns_usd": float(account.outside_turns),
        "unpriced_requests": whole.unpriced,
        "stages": {stage: _usd(spent) for stage, spent in stages.items()},
        "models": [
            {
                "stage": model.stage,
                "provider": model.provider,
                "model": model.model,
                **_fields(spent),
            }
            for model, spent in models
        ],
    }
    return _text_of_call(session, account, models, stages), fields


def _by_model(
    spent: Mapping[Model, Spent], name: Callable[[Model], Model]
) -> list[tuple[Model, Spent]]:
    """Add up by the names that metrics have for models, in the order of the stages."""
    merged: dict[Model, Spent] = {}
    for model, part in spent.items():
        merged.setdefault(replace(name(model), label=""), Spent()).add(part)
    return sorted(merged.items(), key=lambda item: _STAGES.index(item[0].stage))


def _text_of_call(
    session: str,
    account: Account,
    models: Sequence[tuple[Model, Spent]],
    stages: Mapping[Stage, Spent],
) -> str:
    whole, estimated = total(stages.values()), total(account.estimated.values())
    turns = _count(account.turns, "turn")
    if account.interrupted:
        turns += f" ({account.interrupted:,} talked over)"
    text = [f"call {session}: {turns} in {_duration(account.seconds)}, {_cost(whole)}"]
    text += _table(_row(model, spent) for model, spent in models)
    by_stage = [f"{stage} {_cost(spent)}" for stage, spent in stages.items() if spent.used]
    if by_stage:
        text.append(f"  by stage: {', '.join(by_stage)}")
    if account.outside_turns >= _LEAST_SHOWN_USD:
        text.append(f"  outside turns: {_dollars(account.outside_turns)}")
    if estimated.requests:
        text.append(
            f"  not reported: about {_cost(estimated)} in"
            f" {_count(estimated.requests, 'request')}, estimated"
        )
    average, p95 = account.average_latency, account.p95_latency
    if average is not None and p95 is not None:
        text.append(f"  turn latency: average {average:.2f} s, p95 {p95:.2f} s")
    unpriced = [
        f"{model.stage} {_name(model)} ({_count(spent.unpriced, 'request')})"
        for model, spent in models
        if spent.unpriced
    ]
    if unpriced:
        text.append(f"  unpriced: {', '.join(unpriced)}")
    return "\n".join(text)


def _fields(spent: Spent) -> dict[str, object]:
    """Quantities and cost; zero quantities are left out."""
    quantities = {
        "tokens": {f"{kind}_{modality}": n for (kind, modality), n in spent.tokens.items()},
        "characters": spent.characters,
        "audio_seconds": spent.audio_seconds,
        "connection_seconds": spent.connection_seconds,
        "unpriced_requests": spent.unpriced,
    }
    used = {name: amount for name, amount in quantities.items() if amount}
    return {"requests": spent.requests, **used, "cost_usd": _usd(spent)}


def _usd(spent: Spent) -> float | None:
    """Priced cost, `None` where nothing that was used has a price."""
    return None if spent.unpriced and not spent.cost else float(spent.cost)


def _cost(spent: Spent) -> str:
    if not spent.used:
        return "no usage"
    if not spent.unpriced:
        return _dollars(spent.cost)
    return f"{_dollars(spent.cost)} and unpriced" if spent.cost else "unpriced"


def _dollars(usd: Decimal) -> str:
    return f"<${_LEAST_SHOWN_USD}" if 0 < usd < _LEAST_SHOWN_USD else f"${usd:,.6f}"


def _stage(turn: TurnAccount, stage: Stage, spent: Spent) -> str:
    said = [_quantities(spent)]
    if stage in ("llm", "realtime") and turn.first_token_seconds is not None:
        said.append(f"ttft {turn.first_token_seconds:.2f} s")
    elif stage == "tts" and turn.first_byte_seconds is not None:
        said.append(f"ttfb {turn.first_byte_seconds:.2f} s")
    said.append(_cost(spent))
    return f"{stage} {', '.join(said)}"


def _quantities(spent: Spent) -> str:
    said = []
    if spent.tokens:
        asked, cached, answered = Counter[str](), 0, Counter[str]()
        for (kind, modality), tokens in spent.tokens.items():
            (answered if kind == "output" else asked)[modality] += tokens
            cached += tokens if kind == "cached_input" else 0
        said += [
            f"{_tokens(asked)} in" + (f" ({cached:,} cached)" if cached else ""),
            f"{_tokens(answered)} out",
        ]
    if spent.characters:
        said.append(_count(spent.characters, "character"))
    elif spent.audio_seconds:
        said.append(f"{spent.audio_seconds:,.1f} s")
    if spent.connection_seconds:
        said.append(f"{spent.connection_seconds:,.1f} s connected")
    return ", ".join(said) or _count(spent.requests, "request")


def _tokens(counted: Counter[str]) -> str:
    """Count tokens; modalities are named unless all are text."""
    if set(counted) <= {"text"}:
        return f"{counted['text']:,}"
    named = (modality for modality in ("text", "audio", "image") if modality in counted)
    return " + ".join(f"{counted[modality]:,} {modality}" for modality in named)


def _row(model: Model, spent: Spent) -> tuple[str, str, str, str]:
    return model.stage, _name(model), _quantities(spent), _cost(spent)


def _table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Align rows into columns, the last one to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *cells, last in rows:
        left = (cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
        yield f"  {'  '.join(left)}  {last.rjust(widths[-1])}"


def _name(model: Model) -> str:
    """Provider and model; names come from outside and must not break a line."""
    return f"{model.provider}/{model.model}".encode("unicode_escape").decode()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest} s" if minutes else f"{rest} s"
