"""The toy tokenizer loses nothing, and the toy cache remembers as OpenAI's does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from bench.accuracy.instructions import INSTRUCTIONS
from bench.accuracy.tokens import PromptCache, tokens


@given(st.text())
def test_tokens_together_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


def test_english_has_about_four_characters_a_token() -> None:
    assert 3.5 < len(INSTRUCTIONS) / len(tokens(INSTRUCTIONS)) < 5


@pytest.mark.parametrize(
    ("common", "cached"), [(0, 0), (1023, 0), (1024, 1024), (1151, 1024), (1152, 1152)]
)
def test_a_prompt_is_known_by_its_beginning_in_blocks(common: int, cached: int) -> None:
    cache = PromptCache()
    assert cache.read(["same"] * common + ["one"] * 500) == 0

    assert cache.read(["same"] * common + ["other"] * 500) == cached
