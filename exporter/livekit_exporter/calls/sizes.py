"""Sizes of a model's finished requests, for estimates of those that reported nothing.  Pure.

Sums over requests whose span and whose usage are both known: of one call in its agent,
of all calls in the ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from livekit_exporter.record import RequestTraced


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sums; each pair is of the requests that have both.

    Args:
        prompt_characters: Of prompts, as LiveKit writes them down; of them `prompt_tokens`,
            and of these `cached_tokens` out of a cache.
        answering_seconds: From first to last token; in them `answered_tokens`.
        written_characters: Of replies; of them `written_tokens`.
        begun: Requests with a first token, after `first_seconds` together.
        text_characters: Of replies given to speech synthesis; of them `spoken_characters`
            were sent: markup and emoji are left out.
    """

    prompt_characters: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    answering_seconds: float = 0.0
    answered_tokens: int = 0
    written_characters: int = 0
    written_tokens: int = 0
    begun: int = 0
    first_seconds: float = 0.0
    text_characters: int = 0
    spoken_characters: int = 0

    @classmethod
    def of(cls, request: RequestTraced) -> Self:
        """Sizes that one request adds."""
        if request.recovery_probe:
            return cls()
        if request.stage == "tts":
            if not (request.reply_characters and request.characters):
                return cls()
            return cls(
                text_characters=request.reply_characters, spoken_characters=request.characters
            )
        asked = request.prompt_characters and request.input_tokens
        answered = request.answering_seconds > 0 and request.output_tokens
        written = request.reply_characters and request.output_tokens
        return cls(
            prompt_characters=request.prompt_characters if asked else 0,
            prompt_tokens=request.input_tokens if asked else 0,
            cached_tokens=request.cached_input_tokens if asked else 0,
            answering_seconds=request.answering_seconds if answered else 0.0,
            answered_tokens=request.output_tokens if answered else 0,
            written_characters=request.reply_characters if written else 0,
            written_tokens=request.output_tokens if written else 0,
            begun=int(request.first_seconds is not None),
            first_seconds=request.first_seconds or 0.0,
        )

    @classmethod
    def read(cls, said: Mapping[str, object]) -> Self:
        """From the columns of a row or the keys of an object; what is missing is zero."""
        values = {spec.name: said.get(spec.name, 0) for spec in fields(cls)}
        return cls(**{name: value for name, value in values.items() if _is_number(value)})  # type: ignore[arg-type]  # by the field's name

    def __add__(self, other: "Sizes") -> "Sizes":
        return Sizes(
            *(getattr(self, spec.name) + getattr(other, spec.name) for spec in fields(self))
        )

    def asked(self, prompt_characters: int) -> int:
        """Tokens of a prompt of that length."""
        return _share(prompt_characters, self.prompt_tokens, self.prompt_characters)

    def cached(self, tokens: int) -> int:
        """Of so many tokens of a prompt, those that come out of a cache."""
        return _share(tokens, self.cached_tokens, self.prompt_tokens)

    def answered(self, seconds: float) -> int:
        """Tokens that are written in that time, counted from the first."""
        return _share(seconds, self.answered_tokens, self.answering_seconds)

    def written(self, tokens: int) -> int:
        """Characters of a reply of so many tokens."""
        return _share(tokens, self.written_characters, self.written_tokens)

    def tokens(self, characters: int) -> int:
        """Tokens of a reply of that length."""
        return _share(characters, self.written_tokens, self.written_characters)

    def spoken(self, characters: int) -> int:
        """Of a reply of that length, the characters that are sent to speech synthesis."""
        return _share(characters, self.spoken_characters, self.text_characters)

    @property
    def waited(self) -> float:
        """Seconds to a first token, on average."""
        return self.first_seconds / self.begun if self.begun else 0.0


def _share(amount: float, part: float, whole: float) -> int:
    return round(amount * part / whole) if whole else 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
