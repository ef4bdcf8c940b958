"""Fixtures of tests that run real programs together."""

from functools import partial
from pathlib import Path

import pytest

from tests.stacks import RunStack, stack


@pytest.fixture
def run_stack(tmp_path: Path) -> RunStack:
    """What `tests.stacks.stack` does, in a folder of its own."""
    return partial(stack, tmp_path / "stack")
