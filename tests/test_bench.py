"""The benchmark still runs, and its result finds its place in the README."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import quote

ROOT = Path(__file__).resolve().parent.parent


def test_a_quick_run_answers_every_question_and_prints_the_block_to_quote() -> None:
    """It checks its own results, so that it ends at all says that nothing was lost."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    before, _, block = done.stdout.partition(quote.BEGIN)
    assert before.count("\n## ") + before.startswith("## ") == 12
    assert block.rstrip().endswith(quote.END)
    for what in (
        "prometheus_client",
        "OpenTelemetry",
        "hangs",
        "with a budget and costs on exported spans",
        "multiprocess",
        "backlog",
        "events",
        "genai-prices",
        "the ten most expensive users",
    ):
        assert what in block


def test_a_quick_run_cannot_be_quoted() -> None:
    """Its figures are too small to mean anything."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--quote"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "--quick" in done.stderr


@pytest.mark.parametrize(
    "page",
    [
        f"# name\n\n{quote.BEGIN}\nold\n{quote.END}\n\n## Where a change goes\n",
        "# name\n\n## Where a change goes\n",
    ],
)
def test_the_block_replaces_the_one_before_and_touches_nothing_else(
    tmp_path: Path, page: str
) -> None:
    """A README without a place for it gets one."""
    readme = tmp_path / "README.md"
    readme.write_text(page)
    text = f"{quote.BEGIN}\nnew\n{quote.END}"

    quote.write(text, readme)
    once = readme.read_text()
    quote.write(text, readme)

    assert readme.read_text() == once
    assert once.startswith("# name\n\n")
    assert once.endswith(f"{text}\n\n## Where a change goes\n")
    assert "old" not in once


def test_a_readme_without_the_section_is_refused(tmp_path: Path) -> None:
    """Better no figures than figures in the wrong place."""
    readme = tmp_path / "README.md"
    readme.write_text("# name\n")

    with pytest.raises(ValueError, match="add one of them"):
        quote.write(f"{quote.BEGIN}\n{quote.END}", readme)
