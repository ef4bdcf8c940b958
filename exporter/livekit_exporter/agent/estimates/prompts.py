"""Tokens of the prompts of a call, told from those whose tokens are known.  Pure."""

from collections.abc import Sequence
from statistics import linear_regression
from typing import Final, NamedTuple

_KEPT: Final = 8
"""Prompts of a model that are kept to compare with."""

_LEAST_SPREAD: Final = 200
"""Characters by which prompts must differ to say what a character more costs."""

_TOKENS_PER_CHARACTER: Final = 0.12
"""Of what a conversation grows by, as LiveKit writes it down: a third of it is punctuation and
names of fields, which are few tokens.  Used until the call itself says."""

_LEAST_SLOPE: Final = 0.02
_STEEPEST_SLOPE: Final = 0.5
"""Tokens per character that a language can have there."""


class _Prompt(NamedTuple):
    characters: int
    tokens: int


class Prompts:
    """The prompts of one model in one call.

    A prompt is one before it and a little more, so only the difference is estimated: what
    stands in no prompt text, such as the schemas of tools, is in both.
    """

    def __init__(self) -> None:
        self._kept: tuple[_Prompt, ...] = ()
        self._newest = 0
        self._hit: float | None = None

    def asked(self, characters: int) -> int:
        """Another prompt was sent.

        Returns:
            Length of the one before it, which a provider may remember; 0 for the first.
        """
        before, self._newest = self._newest, characters or self._newest
        return before

    def finished(self, characters: int, before: int, tokens: int, cached: int) -> None:
        """The tokens of one are known, and how many of them came out of a cache."""
        if not (characters and tokens):
            return
        self._kept = (*self._kept[1 - _KEPT :], _Prompt(characters, tokens))
        known = _known(tokens, characters, before)
        if known:
            self._hit = cached / known

    def tokens(self, characters: int) -> int:
        """Of a prompt of that length; 0 where none is there to compare with."""
        if not self._kept or not characters:
            return 0
        nearest = min(self._kept, key=lambda prompt: abs(prompt.characters - characters))
        more = (characters - nearest.characters) * _slope(self._kept)
        return max(round(nearest.tokens + more), 1)

    def cached(self, tokens: int, characters: int, before: int) -> int | None:
        """Of its tokens those out of a cache; `None` until a prompt had one before it.

        As much of the prompt before is remembered as was the last time.
        """
        known = _known(tokens, characters, before)
        if not known or self._hit is None:
            return None
        return min(round(known * self._hit), tokens)


def _known(tokens: int, characters: int, before: int) -> float:
    """Tokens of a prompt that stood in the one before it, too."""
    return tokens * min(1.0, before / characters) if characters else 0.0


def _slope(prompts: Sequence[_Prompt]) -> float:
    """Tokens of a character more, by least squares; of few or equal prompts what is usual."""
    sizes = [prompt.characters for prompt in prompts]
    if max(sizes) - min(sizes) < _LEAST_SPREAD:
        return _TOKENS_PER_CHARACTER
    slope = linear_regression(sizes, [prompt.tokens for prompt in prompts]).slope
    return min(max(slope, _LEAST_SLOPE), _STEEPEST_SLOPE)
