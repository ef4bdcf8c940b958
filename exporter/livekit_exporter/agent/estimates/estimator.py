"""What vendors bill and no event of LiveKit reports, estimated from spans.  Pure.

A reply that the caller cut off reports no tokens, or nothing; an attempt that failed, or
that a fallback adapter gave up on, never reports anything.  Their spans show that they
were made, how long they ran and how much they were asked.  What that is in tokens and
characters, finished requests of the same model say: those of this call, or else those
in the ledger.  `docs/accuracy.md` has the method and how far off it is.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple, TypeAlias

from livekit_exporter.agent.estimates.prompts import Prompts
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.record import (
    LARGEST_QUANTITY,
    Basis,
    Gap,
    MessageAdded,
    Model,
    ModelsDeclared,
    Record,
    RequestFailed,
    RequestTraced,
    SessionStarted,
    Stage,
    Usage,
    UsageEstimated,
)

_STEPS_AT_HAND: Final = 64
"""Steps of replies whose text may still be asked for."""

_HELD: Final = 64
"""Requests that may wait for something to calibrate on."""

_SENDS_SENTENCES: Final = ("livekit.plugins.cartesia.", "livekit.plugins.elevenlabs.")
"""Plugins that send a text to their vendor by whole sentences, as read in their source (1.8.9);
others send it word by word."""

_TAKEN_UP: Final = 0.3
"""Part of the usual time to a first token after which a vendor whose connection breaks had
begun to work."""

Spoken: TypeAlias = Literal["llm", "tts"]


class Attempt(NamedTuple):
    """One try of a request.

    Args:
        error: Class of what ended it, empty where nothing did or it was cut off.
        answered: The vendor had answered with an id.
        seconds: How long it ran.
    """

    error: str
    answered: bool
    seconds: float

    def billed(self, waited: float) -> bool:
        """Whether the vendor had taken it up.

        No vendor says what it bills for a broken request.  Assumed is that a refusal is free,
        and so is a connection that broke at once; a request that was cut off, waited for in
        vain, or broke off when an answer was due, is not.

        Args:
            waited: Seconds to a first token as a rule, 0 where that is not known.
        """
        if not self.error or self.answered or "Timeout" in self.error:
            return True
        broken = "Connection" in self.error
        return broken and 0 < waited * _TAKEN_UP <= self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnded:
    """The span of a provider request ended.

    Args:
        step: Key of the step of the reply whose text it made or speaks; `None` where there
            is none, as for `session.say`.
        provider: As the span names it, which is not always how the plugin does.
        metrics: The metrics that LiveKit put on the span, as JSON; `None` without an event.
        written: Characters that the model had written, also where it was cut off, and of them
            those in whole sentences; `None` where the span does not say.
        finished: It came to its end by itself.
        streamed: Text went to it bit by bit.
        recovery_probe: A fallback adapter tried whether the provider is back.
        heard: Its reply was meant for the caller by then.
        prompt_characters: Length of what the model was asked.
        before: The same of the request to the model before it.
        attempts: Its tries, the last one at the end.
    """

    stage: Spoken
    session: str
    at: float
    step: int | None
    provider: str
    model: str
    label: str = ""
    speech: str | None = None
    persona: str | None = None
    trace: str | None = None
    metrics: str | None = None
    written: tuple[int, int] | None = None
    finished: bool = False
    streamed: bool = True
    recovery_probe: bool = False
    heard: bool = True
    prompt_characters: int = 0
    before: int = 0
    attempts: tuple[Attempt, ...] = ()


@dataclass(slots=True)
class _Step:
    """One step of a reply: what the model wrote, which speech synthesis then speaks.

    Args:
        ended: No more of it comes.
        characters: Of its text, estimated where it was cut off; `None` until then.
        sentences: Of them those in whole sentences, where it was cut off.
        called: It called a tool, whose arguments come all at once and are not spoken.
    """

    ended: bool = False
    characters: int | None = None
    sentences: int | None = None
    called: bool = False
    waiting: list[RequestEnded] = field(default_factory=list)


class _Metrics(NamedTuple):
    """What an event said, as far as estimates need it."""

    named: Model
    request: str
    cancelled: bool
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    characters: int
    first_seconds: float | None
    seconds: float

    @property
    def reported(self) -> bool:
        """Whether it carries what is billed."""
        return bool(self.input_tokens or self.output_tokens or self.characters)

    @property
    def answering_seconds(self) -> float:
        """From the first token to the last."""
        first = self.first_seconds
        return 0.0 if first is None else max(self.seconds - first, 0.0)


class Estimator:
    """Reads the spans of one call, in their order, on one thread.

    Args:
        known: What the ledger knows of a model.
    """

    def __init__(self, known: Callable[[Model], Sizes | None] = lambda _: None) -> None:
        self._known = known
        self._sizes: dict[Model, Sizes] = {}
        self._prompts: dict[str, Prompts] = {}
        self._steps: OrderedDict[int, _Step] = OrderedDict()
        self._held: list[tuple[RequestEnded, _Step | None]] = []
        self._said: OrderedDict[str, RequestEnded] = OrderedDict()
        self._names: dict[tuple[str, str], Model] = {}

    def derive(self, record: Record) -> Sequence[Record]:
        """What follows from another record of the call."""
        match record:
            case SessionStarted() | ModelsDeclared():
                self._learn(record.models)
            case RequestFailed():
                # A plugin and its spans have different names for a provider.
                self._learn((_model(record.stage, record.provider, record.model, record.label),))
            case MessageAdded(speech=str(speech)) if speech in self._said:
                heard = _Step(ended=True, characters=record.characters)
                return self._gaps(self._said.pop(speech), heard)
        return ()

    def request(self, ended: RequestEnded) -> Sequence[Record]:
        """A request ended."""
        if ended.stage == "llm":
            before = self._prompts_of(ended).asked(ended.prompt_characters)
            ended = replace(ended, before=before)
        if ended.step is None:
            return self._read(ended, None)
        step = self._step(ended.step)
        if not step.ended:
            step.waiting.append(ended)
            return ()
        return self._read(ended, step)

    def step(self, key: int, characters: int | None, *, called: bool = False) -> Sequence[Record]:
        """A step of a reply ended.

        Args:
            key: Which one.
            characters: Length of what the model wrote, `None` where it was cut off.
            called: It called a tool.
        """
        step = self._step(key)
        step.ended, step.characters, step.called = True, characters, called
        return self._read_waiting(step)

    def rest(self) -> Sequence[Record]:
        """The call is over: what waited for more is estimated with what there is."""
        records = [record for step in self._steps.values() for record in self._read_waiting(step)]
        held, self._held = self._held, []
        for ended, step in held:
            records += self._gaps(ended, step, last=True)
        return records

    def _learn(self, models: Iterable[Model]) -> None:
        for model in models:
            self._names[model.stage, model.model] = model

    def _step(self, key: int) -> _Step:
        step = self._steps.get(key)
        if step is None:
            step = self._steps[key] = _Step()
            if len(self._steps) > _STEPS_AT_HAND:
                self._steps.popitem(last=False)
        return step

    def _read_waiting(self, step: _Step) -> list[Record]:
        # Text before speech: what is spoken of it depends on how much there was.
        waiting, step.waiting = sorted(step.waiting, key=lambda ended: ended.stage != "llm"), []
        return [record for ended in waiting for record in self._read(ended, step)]

    def _read(self, ended: RequestEnded, step: _Step | None) -> list[Record]:
        metrics = _metrics(ended)
        records: list[Record] = []
        if metrics is not None:
            self._learn((metrics.named,))
            if metrics.reported:
                records.append(self._finished(ended, metrics, step))
        records += self._gaps(ended, step)
        if metrics is not None and metrics.reported:
            records += self._let_go(metrics.named)
        return records

    def _let_go(self, model: Model) -> list[Record]:
        """Estimate what waited for the first finished request of its model."""
        held, self._held = self._held, []
        records: list[Record] = []
        # Text before speech, as always; what still has nothing to go by is held again.
        for ended, step in sorted(held, key=lambda item: item[0].stage != "llm"):
            if ended.stage == "tts" or self._named(ended) == model:
                records += self._gaps(ended, step)
            else:
                self._held.append((ended, step))
        return records

    def _finished(self, ended: RequestEnded, metrics: _Metrics, step: _Step | None) -> Record:
        """Remember the sizes of a request whose usage was reported."""
        written, answering = None, metrics.answering_seconds
        if step is not None and not metrics.cancelled and not ended.recovery_probe:
            # Several requests of a step speak a part of its text each.
            written = step.characters if ended.stage == "llm" or ended.streamed else None
            if ended.stage == "llm" and step.called:
                written, answering = None, 0.0
        traced = RequestTraced(
            session=ended.session,
            at=ended.at,
            stage=ended.stage,
            provider=metrics.named.provider,
            model=metrics.named.model,
            label=metrics.named.label,
            request=metrics.request,
            speech=ended.speech,
            trace=ended.trace,
            recovery_probe=ended.recovery_probe,
            prompt_characters=ended.prompt_characters,
            reply_characters=written or 0,
            input_tokens=metrics.input_tokens,
            cached_input_tokens=metrics.cached_input_tokens,
            output_tokens=metrics.output_tokens,
            characters=metrics.characters,
            first_seconds=metrics.first_seconds,
            answering_seconds=answering,
        )
        model = metrics.named
        self._sizes[model] = self._sizes.get(model, Sizes()) + Sizes.of(traced)
        self._prompts_of(ended).finished(
            traced.prompt_characters,
            ended.before,
            traced.input_tokens,
            traced.cached_input_tokens,
        )
        return traced

    def _gaps(self, ended: RequestEnded, step: _Step | None, *, last: bool = False) -> list[Record]:
        """What a request costs that no event reports, attempt by attempt."""
        metrics = _metrics(ended)
        model = self._named(ended)
        sizes, basis = self._of(model)
        waited = 0.0 if sizes is None else sizes.waited
        lost = [attempt for attempt in ended.attempts[:-1] if attempt.billed(waited)]
        # The last attempt is the one that an event reports, where one does.
        silent = metrics is None or (metrics.cancelled and not metrics.reported)
        if ended.attempts and silent and not ended.finished and ended.attempts[-1].billed(waited):
            lost.append(ended.attempts[-1])
        self._note_text(ended, step, metrics, sizes)
        if not lost:
            return []
        room = not last and len(self._held) < _HELD
        if ended.stage == "tts":
            if room and step is not None and step.ended and step.characters is None:
                self._held.append((ended, step))
                return []
            return self._unspoken(ended, lost, metrics, step)
        asked = self._asked(ended, model, sizes, last=not room)
        if asked is None:
            self._held.append((ended, step))
            return []
        records: list[Record] = []
        for attempt in lost:
            cut = attempt is ended.attempts[-1]
            answered = _answered(ended, attempt, metrics if cut else None, sizes)
            usage = replace(
                asked, output_tokens=answered, total_tokens=asked.input_tokens + answered
            )
            written = ended.written[0] if ended.written is not None and cut else 0
            written = written or (0 if sizes is None else sizes.written(answered))
            records.append(_estimate(ended, attempt, model, usage, basis, written))
        return records

    def _note_text(
        self,
        ended: RequestEnded,
        step: _Step | None,
        metrics: _Metrics | None,
        sizes: Sizes | None,
    ) -> None:
        """Keep how much of a text there was when it was cut off: speech of it is due."""
        if step is None or not step.ended or step.characters is not None:
            return
        if ended.stage == "tts" or ended.recovery_probe:
            return
        if ended.written is not None:
            step.characters, step.sentences = ended.written
        elif metrics is None:
            step.characters = 0
        elif sizes is not None:
            tokens = metrics.output_tokens or sizes.answered(metrics.answering_seconds)
            step.characters = sizes.written(tokens)

    def _unspoken(
        self,
        ended: RequestEnded,
        lost: Sequence[Attempt],
        metrics: _Metrics | None,
        step: _Step | None,
    ) -> list[Record]:
        """Speech synthesis that was cut off or tried again: every character sent is due."""
        model = self._named(ended)
        sizes, basis = self._of(model)
        if metrics is not None and metrics.characters:
            characters, basis = metrics.characters, "call"
        elif step is None:
            # Something said: its text is in no span, and what was heard of it comes with its
            # message.
            if ended.speech is not None and ended.streamed:
                self._said[ended.speech] = ended
                if len(self._said) > _HELD:
                    self._said.popitem(last=False)
            return []
        else:
            written = step.characters or 0
            if step.sentences is not None and model.label.startswith(_SENDS_SENTENCES):
                written = step.sentences
            characters = written if sizes is None else sizes.spoken(written) or written
            basis = basis or "call"
        if not characters:
            return []
        usage = Usage(characters=characters)
        return [_estimate(ended, attempt, model, usage, basis, characters) for attempt in lost]

    def _asked(
        self, ended: RequestEnded, model: Model, sizes: Sizes | None, *, last: bool
    ) -> Usage | None:
        """Tokens of a prompt; `None` where it is better to wait for what the call will show."""
        known = self._known(model)
        if sizes is None:
            return Usage() if last else None
        prompts = self._prompts_of(ended)
        asked = prompts.tokens(ended.prompt_characters) or sizes.asked(ended.prompt_characters)
        cached = prompts.cached(asked, ended.prompt_characters, ended.before)
        if cached is None and ended.before and known is None and not last:
            return None
        if cached is None:
            # Whether other calls have warmed a cache for the first of this one, nobody knows.
            cached = known.cached(asked) if known is not None and ended.before else 0
        return Usage(input_tokens=asked, cached_input_tokens=cached)

    def _prompts_of(self, ended: RequestEnded) -> Prompts:
        # By its name alone: a span and an event name its provider differently.
        return self._prompts.setdefault(ended.model, Prompts())

    def _of(self, model: Model) -> tuple[Sizes | None, Basis | None]:
        """What is known of a model, and from where."""
        sizes = self._sizes.get(model)
        if sizes is not None:
            return sizes, "call"
        sizes = self._known(model)
        return sizes, None if sizes is None else "ledger"

    def _named(self, ended: RequestEnded) -> Model:
        """The model by the names of its plugin, as far as they are known."""
        known = self._names.get((ended.stage, ended.model))
        return known or _model(ended.stage, ended.provider, ended.model, ended.label)


def _answered(
    ended: RequestEnded, attempt: Attempt, metrics: _Metrics | None, sizes: Sizes | None
) -> int:
    """Tokens that an attempt had written: by their text, or else by the time."""
    if sizes is None:
        return 0
    seconds = 0.0
    if metrics is not None:
        if ended.written is not None and (tokens := sizes.tokens(ended.written[0])):
            return tokens
        seconds = metrics.answering_seconds
    elif attempt.answered:
        seconds = max(attempt.seconds - sizes.waited, 0.0)
    return sizes.answered(seconds)


def _estimate(
    ended: RequestEnded,
    attempt: Attempt,
    model: Model,
    usage: Usage,
    basis: Basis | None,
    reply_characters: int,
) -> UsageEstimated:
    reason: Gap = "interrupted" if ended.heard else "speculative"
    if ended.recovery_probe:
        reason = "recovery_probe"
    elif attempt.error:
        reason = "failed"
    return UsageEstimated(
        session=ended.session,
        at=ended.at,
        stage=ended.stage,
        provider=model.provider,
        model=model.model,
        label=model.label,
        speech=ended.speech,
        persona=ended.persona,
        trace=ended.trace,
        reason=reason,
        basis=basis,
        usage=usage,
        prompt_characters=ended.prompt_characters,
        reply_characters=reply_characters,
        request_seconds=attempt.seconds,
    )


def _model(stage: Stage, provider: str, model: str, label: str) -> Model:
    return Model(stage=stage, provider=provider, model=model, label=label)


def _metrics(ended: RequestEnded) -> _Metrics | None:
    """What LiveKit put on the span; `None` where that is nothing, or cannot be read."""
    if ended.metrics is None:
        return None
    try:
        said = json.loads(ended.metrics)
    except ValueError:
        return None
    if not isinstance(said, dict):
        return None
    metadata = said.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    first = _number(said, "ttft")
    return _Metrics(
        named=_model(
            ended.stage,
            _text(named, "model_provider") or ended.provider,
            _text(named, "model_name") or ended.model,
            _text(said, "label") or ended.label,
        ),
        request=_text(said, "request_id"),
        cancelled=said.get("cancelled") is True,
        input_tokens=int(_number(said, "prompt_tokens")),
        cached_input_tokens=int(_number(said, "prompt_cached_tokens")),
        output_tokens=int(_number(said, "completion_tokens")),
        characters=int(_number(said, "characters_count")),
        first_seconds=first if first > 0 else None,
        seconds=_number(said, "duration"),
    )


def _number(said: Mapping[str, object], name: str) -> float:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= LARGEST_QUANTITY else 0.0


def _text(said: Mapping[str, object], name: str) -> str:
    value = said.get(name)
    return value if isinstance(value, str) else ""
