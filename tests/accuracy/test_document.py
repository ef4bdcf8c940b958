"""docs/accuracy.md says what was measured."""

from pathlib import Path

import pytest

pytest.importorskip("livekit.agents", reason="needs livekit-agents: pip install -e '.[agent]'")

from bench.accuracy import quote, report, scenarios


def test_tables_of_the_document_are_those_of_its_figures() -> None:
    page = quote.PAGE.read_text("utf-8")

    assert quote.between(page, report.as_page(quote.read())) == page


def test_the_document_has_every_scenario_and_no_other() -> None:
    stated = {line["scenario"] for line in quote.read()["lines"]}

    assert stated == {scenario.name for scenario in scenarios.ALL}


def test_tables_are_put_between_the_markers_only(tmp_path: Path) -> None:
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text(f"before\n{quote.BEGIN}\nold\n{quote.END}\nafter\n")

    quote.write(quote.read(), page, figures)

    written = page.read_text()
    assert written.startswith(f"before\n{quote.BEGIN}\n")
    assert written.endswith(f"{quote.END}\nafter\n")
    assert "old" not in written
    assert quote.read(figures) == quote.read()


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")

    with pytest.raises(ValueError, match="accuracy:begin"):
        quote.write(quote.read(), page, tmp_path / "figures.json")

    assert page.read_text() == "nothing here\n"
    assert not (tmp_path / "figures.json").exists()
