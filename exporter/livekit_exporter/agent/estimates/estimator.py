"""Estimates usage that vendors bill but LiveKit does not report, from the spans of a call.

A reply that the caller cut off reports no tokens, or nothing; an attempt that failed, or
that a fallback adapter abandoned, never reports anything.  Their spans show that they were
made, how long they ran and how long their prompts were.  Finished requests of the same
model say how much usage that is: those of this call, or else those in the ledger.
`docs/accuracy.md` has the method and its error.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from livekit_exporter.agent.estimates.prompts import Prompts
from livekit_exporter.agent.estimates.requests import Attempt, EndedRequest, SpanMetrics
from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.record import (
    Basis,
    Gap,
    MessageAdded,
    Model,
    ModelsDeclared,
    Record,
    RequestFailed,
    RequestTraced,
    SessionStarted,
    Usage,
    UsageEstimated,
)

_STEPS_KEPT: Final = 64
"""Steps of replies whose text may still be asked for."""

_REQUESTS_HELD: Final = 64
"""Requests that may wait for a finished one to calibrate on."""

_SENDS_SENTENCES: Final = ("livekit.plugins.cartesia.", "livekit.plugins.elevenlabs.")
"""Plugins that send a text to their vendor by whole sentences, as read in their source (1.8.9);
others send it word by word."""


@dataclass(slots=True)
class _Step:
    """One step of a reply: the model writes a text, which speech synthesis then speaks.

    Args:
        ended: Its text is complete, or cut off.
        characters: Length of its text, estimated if it was cut off; `None` until then.
        sentences: Length of its whole sentences, if it was cut off.
        called_tool: It called a tool, whose arguments come all at once and are not spoken.
        waiting: Requests whose spans ended before the step did.
    """

    ended: bool = False
    characters: int | None = None
    sentences: int | None = None
    called_tool: bool = False
    waiting: list[EndedRequest] = field(default_factory=list)


class Estimator:
    """Reads the spans of one call, in their order, on one thread.

    Args:
        ledger_sizes: Looks up the sizes of finished requests of a model in the ledger.
    """

    def __init__(self, ledger_sizes: Callable[[Model], Sizes | None] = lambda _: None) -> None:
        self._ledger_sizes = ledger_sizes
        self._sizes: dict[Model, Sizes] = {}
        self._prompts: dict[str, Prompts] = {}
        self._steps: OrderedDict[int, _Step] = OrderedDict()
        self._held: list[tuple[EndedRequest, _Step | None]] = []
        # By speech id: synthesis of a given text that was cut off, until its message comes.
        self._given_texts: OrderedDict[str, EndedRequest] = OrderedDict()
        self._plugin_names: dict[tuple[str, str], Model] = {}

    def derive(self, record: Record) -> Sequence[Record]:
        """Take another record of the call; return the estimates that it makes possible."""
        match record:
            case SessionStarted() | ModelsDeclared():
                self._learn_names(record.models)
            case RequestFailed():
                model = Model(
                    stage=record.stage,
                    provider=record.provider,
                    model=record.model,
                    label=record.label,
                )
                self._learn_names((model,))
            case MessageAdded(speech=str(speech)) if speech in self._given_texts:
                heard = _Step(ended=True, characters=record.characters)
                return self._estimate(self._given_texts.pop(speech), heard)
        return ()

    def request_ended(self, request: EndedRequest) -> Sequence[Record]:
        """Take a request; return its sizes and estimates, as far as they can be told by now."""
        if request.model.stage == "llm":
            previous = self._prompts_of(request).sent(request.prompt_characters)
            request = replace(request, previous_prompt_characters=previous)
        if request.step is None:
            return self._read(request, None)
        step = self._step(request.step)
        if not step.ended:
            step.waiting.append(request)
            return ()
        return self._read(request, step)

    def step_ended(
        self, key: int, characters: int | None, *, called_tool: bool = False
    ) -> Sequence[Record]:
        """Take the end of a step of a reply; return the estimates that waited for it.

        Args:
            key: Key of the step.
            characters: Length of its text; `None` if it was cut off.
            called_tool: It called a tool.
        """
        step = self._step(key)
        step.ended, step.characters, step.called_tool = True, characters, called_tool
        return self._read_waiting(step)

    def flush(self) -> Sequence[Record]:
        """Estimate at the end of the call what waited for more, with what is known."""
        records = [record for step in self._steps.values() for record in self._read_waiting(step)]
        held, self._held = self._held, []
        for request, step in held:
            records += self._estimate(request, step, last=True)
        return records

    def _learn_names(self, models: Iterable[Model]) -> None:
        # A plugin and its spans have different names for a provider; records have the plugin's.
        for model in models:
            self._plugin_names[model.stage, model.model] = model

    def _step(self, key: int) -> _Step:
        step = self._steps.get(key)
        if step is None:
            step = self._steps[key] = _Step()
            if len(self._steps) > _STEPS_KEPT:
                self._steps.popitem(last=False)
        return step

    def _read_waiting(self, step: _Step) -> list[Record]:
        # Text before speech: what is spoken of it depends on how much there was.
        waiting, step.waiting = sorted(step.waiting, key=_is_speech), []
        return [record for request in waiting for record in self._read(request, step)]

    def _read(self, request: EndedRequest, step: _Step | None) -> list[Record]:
        metrics = request.metrics
        if metrics is None:
            return self._estimate(request, step)
        self._learn_names((metrics.model,))
        if not metrics.has_usage:
            return self._estimate(request, step)
        traced = self._remember_sizes(request, metrics, step)
        return [traced, *self._estimate(request, step), *self._release(metrics.model)]

    def _release(self, model: Model) -> list[Record]:
        """Estimate the requests that waited for the first finished one of their model."""
        held, self._held = self._held, []
        records: list[Record] = []
        # Text before speech, as always; what still has no model to go by is held again.
        for request, step in sorted(held, key=lambda item: _is_speech(item[0])):
            if _is_speech(request) or self._model(request) == model:
                records += self._estimate(request, step)
            else:
                self._held.append((request, step))
        return records

    def _remember_sizes(
        self, request: EndedRequest, metrics: SpanMetrics, step: _Step | None
    ) -> Record:
        """Calibrate on a request whose usage was reported."""
        written, answering, model = None, metrics.answering_seconds, metrics.model
        if step is not None and not metrics.cancelled and not request.recovery_probe:
            if step.called_tool and model.stage == "llm":
                answering = 0.0
            # Several requests that are not streamed speak a part of the text each.
            elif model.stage == "llm" or request.streamed:
                written = step.characters
        traced = RequestTraced(
            session=request.session,
            at=request.at,
            stage=model.stage,
            provider=model.provider,
            model=model.model,
            label=model.label,
            request=metrics.request,
            speech=request.speech,
            trace=request.trace,
            recovery_probe=request.recovery_probe,
            prompt_characters=request.prompt_characters,
            reply_characters=written or 0,
            input_tokens=metrics.input_tokens,
            cached_input_tokens=metrics.cached_input_tokens,
            output_tokens=metrics.output_tokens,
            characters=metrics.characters,
            first_seconds=metrics.first_seconds,
            answering_seconds=answering,
        )
        self._sizes[model] = self._sizes.get(model, Sizes()) + Sizes.of(traced)
        self._prompts_of(request).add(
            traced.prompt_characters,
            request.previous_prompt_characters,
            traced.input_tokens,
            traced.cached_input_tokens,
        )
        return traced

    def _estimate(
        self, request: EndedRequest, step: _Step | None, *, last: bool = False
    ) -> list[Record]:
        """Estimate the attempts of a request that LiveKit does not report.

        Args:
            request: The request.
            step: The step of the reply that it belongs to.
            last: Nothing more comes, so it is no use to wait.
        """
        metrics, model = request.metrics, self._model(request)
        sizes, basis = self._sizes_of(model)
        usual_wait = 0.0 if sizes is None else sizes.waited
        lost = [one for one in request.attempts[:-1] if one.is_billed(usual_wait)]
        # LiveKit reports the last attempt, if any.
        silent = metrics is None or (metrics.cancelled and not metrics.has_usage)
        if silent and not request.finished:
            lost += [one for one in request.attempts[-1:] if one.is_billed(usual_wait)]
        self._note_text(request, step, sizes)
        if not lost:
            return []
        may_wait = not last and len(self._held) < _REQUESTS_HELD
        if _is_speech(request):
            if may_wait and step is not None and step.ended and step.characters is None:
                self._held.append((request, step))
                return []
            return self._estimate_speech(request, lost, step)
        prompt = self._prompt_usage(request, model, sizes, last=not may_wait)
        if prompt is None:
            self._held.append((request, step))
            return []
        records: list[Record] = []
        for attempt in lost:
            cut = attempt is request.attempts[-1]
            answered = _answered_tokens(request, attempt, metrics if cut else None, sizes)
            usage = replace(
                prompt, output_tokens=answered, total_tokens=prompt.input_tokens + answered
            )
            written = request.written[0] if request.written is not None and cut else 0
            written = written or (0 if sizes is None else sizes.written(answered))
            records.append(_estimated(request, attempt, model, usage, basis, written))
        return records

    def _note_text(self, request: EndedRequest, step: _Step | None, sizes: Sizes | None) -> None:
        """Keep how much of a text there was when it was cut off: its speech is billed."""
        if step is None or not step.ended or step.characters is not None:
            return
        if _is_speech(request) or request.recovery_probe:
            return
        metrics = request.metrics
        if request.written is not None:
            step.characters, step.sentences = request.written
        elif metrics is None:
            step.characters = 0
        elif sizes is not None:
            tokens = metrics.output_tokens or sizes.answered(metrics.answering_seconds)
            step.characters = sizes.written(tokens)

    def _estimate_speech(
        self, request: EndedRequest, lost: Sequence[Attempt], step: _Step | None
    ) -> list[Record]:
        """Estimate speech synthesis that was cut off or retried: vendors bill characters sent."""
        model = self._model(request)
        sizes, basis = self._sizes_of(model)
        if request.metrics is not None and request.metrics.characters:
            characters, basis = request.metrics.characters, "call"
        elif step is None:
            # A text that was given to `session.say`: no span has it, and its message tells
            # only what was heard of it.
            if request.speech is not None and request.streamed:
                self._given_texts[request.speech] = request
                if len(self._given_texts) > _REQUESTS_HELD:
                    self._given_texts.popitem(last=False)
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
        return [_estimated(request, one, model, usage, basis, characters) for one in lost]

    def _prompt_usage(
        self, request: EndedRequest, model: Model, sizes: Sizes | None, *, last: bool
    ) -> Usage | None:
        """Estimate the tokens of a prompt; `None` if the call will know better later."""
        if sizes is None:
            return Usage() if last else None
        characters, previous = request.prompt_characters, request.previous_prompt_characters
        prompts, in_ledger = self._prompts_of(request), self._ledger_sizes(model)
        tokens = prompts.tokens(characters) or sizes.asked(characters)
        cached = prompts.cached(tokens, characters, previous)
        if cached is None and previous and in_ledger is None and not last:
            return None
        if cached is None:
            # Nobody knows if other calls have warmed a cache for the first prompt of this one.
            cached = in_ledger.cached(tokens) if in_ledger is not None and previous else 0
        return Usage(input_tokens=tokens, cached_input_tokens=cached)

    def _prompts_of(self, request: EndedRequest) -> Prompts:
        # By the model's name alone: a span and an event name its provider differently.
        return self._prompts.setdefault(request.model.model, Prompts())

    def _sizes_of(self, model: Model) -> tuple[Sizes | None, Basis | None]:
        """Look up the sizes of a model's requests, and where they are from."""
        sizes = self._sizes.get(model)
        if sizes is not None:
            return sizes, "call"
        sizes = self._ledger_sizes(model)
        return sizes, None if sizes is None else "ledger"

    def _model(self, request: EndedRequest) -> Model:
        """Name the model as its plugin does, if that is known."""
        model = request.model
        return self._plugin_names.get((model.stage, model.model), model)


def _is_speech(request: EndedRequest) -> bool:
    return request.model.stage == "tts"


def _answered_tokens(
    request: EndedRequest, attempt: Attempt, metrics: SpanMetrics | None, sizes: Sizes | None
) -> int:
    """Estimate the tokens that an attempt had written: by their text, or else by the time."""
    if sizes is None:
        return 0
    seconds = 0.0
    if metrics is not None:
        if request.written is not None and (tokens := sizes.tokens(request.written[0])):
            return tokens
        seconds = metrics.answering_seconds
    elif attempt.answered:
        seconds = max(attempt.seconds - sizes.waited, 0.0)
    return sizes.answered(seconds)


def _estimated(
    request: EndedRequest,
    attempt: Attempt,
    model: Model,
    usage: Usage,
    basis: Basis | None,
    reply_characters: int,
) -> UsageEstimated:
    reason: Gap = "interrupted" if request.heard else "speculative"
    if request.recovery_probe:
        reason = "recovery_probe"
    elif attempt.error:
        reason = "failed"
    return UsageEstimated(
        session=request.session,
        at=request.at,
        stage=model.stage,
        provider=model.provider,
        model=model.model,
        label=model.label,
        speech=request.speech,
        persona=request.persona,
        trace=request.trace,
        reason=reason,
        basis=basis,
        usage=usage,
        prompt_characters=request.prompt_characters,
        reply_characters=reply_characters,
        request_seconds=attempt.seconds,
    )
