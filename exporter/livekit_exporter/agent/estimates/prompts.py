"""Estimates the tokens of a call's prompts from those whose tokens LiveKit reported."""

from collections.abc import Sequence
from statistics import linear_regression
from typing import Final, NamedTuple

_KEPT: Final = 8
"""Prompts of a model that are kept to compare with."""

_LEAST_SPREAD: Final = 200
"""Characters by which prompts must differ before a slope is fitted to them."""

_TOKENS_PER_CHARACTER: Final = 0.12
"""Slope until the call itself shows one.  A third of the text that LiveKit writes down for a
conversation is punctuation and names of fields, which are few tokens."""

_LEAST_SLOPE: Final = 0.02
_STEEPEST_SLOPE: Final = 0.5
"""Tokens per character that a language can have there."""


class _Prompt(NamedTuple):
    characters: int
    tokens: int


class Prompts:
    """The prompts of one model in one call.

    A prompt is the one before it and a little more, so only the difference is estimated:
    parts that are in no prompt text, such as the schemas of tools, are in both.
    """

    def __init__(self) -> None:
        self._kept: tuple[_Prompt, ...] = ()
        self._newest = 0
        self._hit_ratio: float | None = None

    def sent(self, characters: int) -> int:
        """Take another prompt.

        Returns:
            Length of the one before it, which a provider may have cached; 0 for the first.
        """
        previous, self._newest = self._newest, characters or self._newest
        return previous

    def add(self, characters: int, previous: int, tokens: int, cached: int) -> None:
        """Calibrate on a prompt whose tokens, and cached tokens, are known."""
        if not (characters and tokens):
            return
        self._kept = (*self._kept[1 - _KEPT :], _Prompt(characters, tokens))
        repeated = _repeated(tokens, characters, previous)
        if repeated:
            self._hit_ratio = cached / repeated

    def tokens(self, characters: int) -> int:
        """Estimate the tokens of a prompt; 0 if there is none to compare with."""
        if not self._kept or not characters:
            return 0
        nearest = min(self._kept, key=lambda prompt: abs(prompt.characters - characters))
        more = (characters - nearest.characters) * _slope(self._kept)
        return max(round(nearest.tokens + more), 1)

    def cached(self, tokens: int, characters: int, previous: int) -> int | None:
        """Estimate how many tokens of a prompt come out of a cache.

        Returns:
            As large a part of the previous prompt as the last time; `None` until a prompt
            with a previous one was reported.
        """
        repeated = _repeated(tokens, characters, previous)
        if not repeated or self._hit_ratio is None:
            return None
        return min(round(repeated * self._hit_ratio), tokens)


def _repeated(tokens: int, characters: int, previous: int) -> float:
    """Estimate the tokens of a prompt that were in the previous one, too."""
    return tokens * min(1.0, previous / characters) if characters else 0.0


def _slope(prompts: Sequence[_Prompt]) -> float:
    """Fit tokens per character by least squares; the usual slope if the prompts are too alike."""
    sizes = [prompt.characters for prompt in prompts]
    if max(sizes) - min(sizes) < _LEAST_SPREAD:
        return _TOKENS_PER_CHARACTER
    slope = linear_regression(sizes, [prompt.tokens for prompt in prompts]).slope
    # Clamped: a summary that replaces a long history bends the line, even downwards.
    return min(max(slope, _LEAST_SLOPE), _STEEPEST_SLOPE)
