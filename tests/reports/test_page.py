"""The page: one file, readable by day and by night."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from livekit_exporter.reports.page import page
from livekit_exporter.reports.report import Report
from tests.reports.test_charts import BARS, HISTOGRAM, LINE
from tests.reports.test_tables import REPORT

HOSTILE = "<script>alert(1)</script>\"'&"


def test_page_needs_nothing_else() -> None:
    """No script, no link, no picture from anywhere."""
    html = page(Report(title="t", columns=REPORT.columns, rows=REPORT.rows, charts=(BARS, LINE)))

    assert not re.search(r"(src|href)=|url\(|@import|<script|<link", html)


def test_page_shows_what_the_table_shows() -> None:
    """Title, figures, total and notes."""
    html = page(REPORT)

    assert "<h1>Cost by model</h1>" in html
    assert '<td>gpt-4.1-mini</td><td class="figure">0.012300</td>' in html
    assert '<tfoot><tr><th>total</th><th class="figure">0.012300</th>' in html
    assert "<li>something is missing</li>" in html
    assert "Wasted" not in html


def test_empty_page_says_so() -> None:
    """A sentence, no table."""
    html = page(Report(title="t", columns=REPORT.columns, rows=(), empty="no call began"))

    assert "<p>no call began.</p>" in html
    assert "<table>" not in html


def test_names_are_text_on_the_page() -> None:
    """Whoever names a model writes no HTML."""
    chart = type(BARS)("bars", HOSTILE, "usd", (HOSTILE,), ((HOSTILE, (1.0,)), ("b", (2.0,))))
    hostile = Report(
        title=HOSTILE,
        columns=REPORT.columns,
        rows=((HOSTILE, 1.0, 1.0, 1, 1.0),),
        notes=(HOSTILE,),
        charts=(chart,),
    )

    html = page(hostile)

    assert "<script>" not in html
    assert html.count("&lt;script&gt;") >= 6


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to open a page with")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_browser_shows_the_page(tmp_path: Path, scheme: str) -> None:
    """Headless Chromium lays it out, in the colours that the reader prefers."""
    file = tmp_path / "report.html"
    file.write_text(
        page(
            Report(
                title="Cost by day, model",
                columns=REPORT.columns,
                rows=REPORT.rows,
                totals=REPORT.totals,
                notes=REPORT.notes,
                charts=(LINE, BARS, HISTOGRAM),
            )
        ),
        "utf-8",
    )
    shot = tmp_path / "shot.png"
    force = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]
    subprocess.run(
        [
            "chromium",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1100,1400",
            f"--screenshot={shot}",
            *(force if scheme == "dark" else []),
            file.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )

    assert shot.read_bytes().startswith(b"\x89PNG")
