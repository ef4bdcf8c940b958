"""What one event's usage costs, read straight from LiveKit's fields.

For the event loop: no record is made.  Whatever is not plain - a quantity that is no
count, a price by the hour, a large context - goes the long way, through `normalize` and
`pricing`; what is plain, this and they price alike, to the last digit (a test compares).
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from livekit_exporter.agent.normalize import CLOCK_TOLERANCE_SECONDS, Heard, text
from livekit_exporter.agent.prices import Prices
from livekit_exporter.record import LARGEST_QUANTITY, Model, Stage, Usage, UsageReported

if TYPE_CHECKING:
    from livekit_exporter.prices.card import Card
    from livekit_exporter.prices.units import Bucket

_Fields: TypeAlias = Mapping[str, object]

_MANY: Final = 1 << 39
"""More tokens than this go the long way: a power of two below `LARGEST_QUANTITY`."""


Bill: TypeAlias = tuple[Stage, str, int, bool, str]
"""What one event reports: its stage, the model, the cost in `ATTO`, whether it has a price,
and its usage as the inside of a JSON object, by what each part of the price is for.

A plain tuple, the cheapest thing to make.
"""

ATTO: Final = 10**18
"""`prices.card.ATTO`, which is not loaded before there is a price to look up."""

NOTHING: Final[Bill] = ("custom", "", 0, False, "")
"""Nothing was used."""

CHARACTERS: Final = "input"
"""`prices.langfuse.CHARACTERS`, for the same reason."""


def together(one: Bill, other: Bill) -> Bill:
    """What two events report of one request."""
    stage, model, units, priced, usage = one
    total: dict[str, int] = json.loads(f"{{{usage}}}")
    for name, amount in json.loads(f"{{{other[4]}}}").items():
        total[name] = total.get(name, 0) + amount
    return stage, model, units + other[2], priced or other[3], json.dumps(total)[1:-1]


class Biller:
    """Prices the events of one call, on its event loop.

    Args:
        prices: Prices in force.
    """

    def __init__(self, prices: Prices) -> None:
        self.ready = False
        """Whether the prices have been read: before, asking for one takes longer than a frame."""
        self._prices = prices
        self._cards: dict[tuple[object, ...], tuple[Card | None, str]] = {}

    def expect(self, models: Iterable[Model], at: float) -> None:
        """Read the prices, and look up those of models.  For another thread, before usage."""
        self._prices.read()
        for model in models:
            key = (model.stage, model.provider, model.model, model.label)
            self._cards[key] = self._card(*key, at)
        self.ready = True

    def of(self, heard: Heard | UsageReported) -> Bill:
        """What was reported; `NOTHING` also for metrics that are not about usage.

        Raises:
            UnreadableError: They cannot be understood; no ledger has them either.
        """
        if isinstance(heard, UsageReported):
            return self._of_record(heard)
        fields = heard.fields
        read = _READ.get(fields.get("type"))
        if read is None:
            return NOTHING
        stage, plain = read
        # Any: LiveKit's own class, or nothing.
        metadata: Any = fields.get("metadata")
        try:
            provider, model = metadata.model_provider, metadata.model_name
        except AttributeError:
            provider = model = None
        key = (stage, provider, model, fields.get("label"))
        known = self._cards.get(key)
        if known is None:
            known = self._cards[key] = self._card(*key, heard.now)
        card, name = known
        at = fields.get("timestamp")
        if (
            card is not None
            and type(at) is float
            and card.since <= at < card.until
            and -CLOCK_TOLERANCE_SECONDS <= at - heard.now <= CLOCK_TOLERANCE_SECONDS
        ):
            bill = plain(fields, card, name)
            if bill is not None:
                return bill
        for record in heard.records():
            if isinstance(record, UsageReported):
                return self._of_record(record)
        return NOTHING

    def _of_record(self, record: UsageReported) -> Bill:
        """What a record reports, the long way."""
        from livekit_exporter.prices import card, rules

        quote = self._prices.quote(record)
        if quote.status == "nothing_to_bill":
            return NOTHING
        usage = record.usage
        by_token = any(part.unit.endswith("_token") for part in quote.parts)
        if usage.characters and not by_token:
            said = f'"{CHARACTERS}":{usage.characters}'
        else:
            said = _tokens(rules.token_buckets(usage))
        priced = quote.status == "priced"
        return record.stage, record.model, card.atto(quote.cost), priced, said

    def _card(
        self, stage: Stage, provider: object, model: object, label: object, at: float
    ) -> "tuple[Card | None, str]":
        name = text(model)
        return self._prices.card(stage, text(provider), name, text(label), at), name


def _tokens(buckets: "Mapping[Bucket, int]") -> str:
    from livekit_exporter.prices.explain.langfuse import usage_name

    return ",".join(f'"{usage_name(bucket)}":{tokens}' for bucket, tokens in buckets.items())


def _llm(fields: _Fields, card: "Card", model: str) -> Bill | None:
    prompt, cached = fields.get("prompt_tokens", 0), fields.get("prompt_cached_tokens", 0)
    written = fields.get("cache_creation_tokens", 0)
    completion, total = fields.get("completion_tokens", 0), fields.get("total_tokens", 0)
    if not (
        type(prompt) is int
        and type(cached) is int
        and type(written) is int
        and type(completion) is int
        and type(total) is int
        # All at once: none is negative, none is absurd.
        and 0 <= prompt | cached | written | completion | total < _MANY
    ):
        return None
    priced = card.of_text(prompt, cached, written, completion, total)
    if priced is None:
        return None
    units, fresh, answered = priced
    said = f'"input":{fresh},"output":{answered}'
    if cached or written:
        said = f'{said},"input_cached_tokens":{cached},"input_cache_creation":{written}'
    elif not (fresh or answered):
        return NOTHING
    return "llm", model, units, card.priced, said


def _tts(fields: _Fields, card: "Card", model: str) -> Bill | None:
    characters = fields.get("characters_count", 0)
    asked = fields.get("input_tokens", 0)
    answered = fields.get("output_tokens", 0)
    seconds = fields.get("audio_duration", 0.0)
    if not (
        type(characters) is int
        and type(asked) is int
        and type(answered) is int
        and type(seconds) is float
        and 0 < characters <= LARGEST_QUANTITY
        and 0 <= asked <= LARGEST_QUANTITY
        and 0 <= answered <= LARGEST_QUANTITY
        and 0 <= seconds <= LARGEST_QUANTITY
    ):
        return None
    said = f'"{CHARACTERS}":{characters}'
    units: int | None
    if card.basis == "tokens":
        priced = card.of_tokens(
            Usage(input_tokens=asked, output_tokens=answered, output_audio_tokens=answered)
        )
        if priced is None:
            return None
        units, said = priced[0], _tokens(priced[1])
    elif card.basis == "audio_time":
        units = card.of_seconds(seconds, streamed=False)
    else:
        units = characters * card.character
    return None if units is None else ("tts", model, units, card.priced, said)


def _stt(fields: _Fields, card: "Card", model: str) -> Bill | None:
    seconds = fields.get("audio_duration", 0.0)
    counts = (
        fields.get("input_tokens", 0),
        fields.get("output_tokens", 0),
        fields.get("total_tokens", 0),
        fields.get("input_audio_tokens", 0),
    )
    if card.basis == "tokens" or type(seconds) is not float or not 0 < seconds <= LARGEST_QUANTITY:
        return None
    for count in counts:
        if type(count) is not int or not 0 <= count <= LARGEST_QUANTITY:
            return None
    units = card.of_seconds(seconds, streamed=bool(fields.get("streamed", True)))
    return None if units is None else ("stt", model, units, card.priced, "")


def _realtime(fields: _Fields, card: "Card", model: str) -> Bill | None:
    asked = fields.get("input_token_details")
    cached = getattr(asked, "cached_tokens_details", None)
    answered = fields.get("output_token_details")
    counts = {
        "input_tokens": fields.get("input_tokens", 0),
        "cached_input_tokens": getattr(asked, "cached_tokens", 0),
        "output_tokens": fields.get("output_tokens", 0),
        "total_tokens": fields.get("total_tokens", 0),
        "input_audio_tokens": getattr(asked, "audio_tokens", 0),
        "input_image_tokens": getattr(asked, "image_tokens", 0),
        "cached_audio_tokens": getattr(cached, "audio_tokens", 0),
        "cached_image_tokens": getattr(cached, "image_tokens", 0),
        "output_audio_tokens": getattr(answered, "audio_tokens", 0),
        "output_image_tokens": getattr(answered, "image_tokens", 0),
    }
    if card.basis != "tokens" or fields.get("session_duration", 0.0) != 0:
        return None
    whole: dict[str, int] = {}
    for name, count in counts.items():
        if type(count) is not int or not 0 <= count <= LARGEST_QUANTITY:
            return None
        whole[name] = count
    priced = card.of_tokens(Usage(**whole))
    return None if priced is None else ("realtime", model, priced[0], True, _tokens(priced[1]))


def _decision(_fields: _Fields, _card: "Card", _model: str) -> Bill | None:
    """Seldom, and never on a span of its own: the long way."""
    return None


_READ: Final[Mapping[object, tuple[Stage, Callable[[_Fields, "Card", str], Bill | None]]]] = {
    "llm_metrics": ("llm", _llm),
    "tts_metrics": ("tts", _tts),
    "stt_metrics": ("stt", _stt),
    "realtime_model_metrics": ("realtime", _realtime),
    "decision_metrics": ("llm", _decision),
}
