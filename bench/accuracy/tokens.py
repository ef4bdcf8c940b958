"""A toy tokenizer and a toy prompt cache: deterministic, and as uneven as real ones.

A word is a token, a long word several; digits go in threes; every other mark is one.
English comes out at four to five characters a token, JSON at three.
"""

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Final

_TOKEN: Final = re.compile(r" ?[^\W\d_]{1,6}|\d{1,3}|\s+|[\W_]")
_MESSAGE_TOKENS: Final = 4
"""What chat formats put around every message."""
_BLOCK: Final = 128
_LEAST_CACHED: Final = 1024


def tokens(text: str) -> list[str]:
    """The pieces of a text; together they are the text."""
    return _TOKEN.findall(text)


def prompt(parts: Iterable[str]) -> list[str]:
    """The tokens of a request: tools, instructions and messages in their order."""
    whole: list[str] = []
    for part in parts:
        whole += tokens(part)
        whole += [""] * _MESSAGE_TOKENS
    return whole


class PromptCache:
    """Remembers prompts as OpenAI does: by their beginning, in blocks of 128 from 1024 on."""

    def __init__(self) -> None:
        self._seen: list[Sequence[str]] = []

    def read(self, asked: Sequence[str]) -> int:
        """Count the tokens of a prompt that are cached, and cache the prompt."""
        known = max((_common(asked, seen) for seen in self._seen), default=0) // _BLOCK * _BLOCK
        self._seen.append(asked)
        return known if known >= _LEAST_CACHED else 0


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)
