"""The page at `/`: what is being spent, at a glance, and where to go from there.

One self-contained document: the sidecar often runs where nothing else can be
reached.  The frame is `landing.html`; this module fills it in, and everything
that it fills in is escaped.
"""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from livekit_exporter import __version__

_DOCUMENT: Final = files(__package__).joinpath("landing.html").read_text(encoding="utf-8")
_TEMPLATE: Final = Template(_DOCUMENT)

# A browser hashes exactly what stands between the tags.
_STYLE: Final = _DOCUMENT.partition("<style>")[2].partition("</style>")[0]
STYLE_HASH: Final = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""Source expression that lets the page's own style pass the content security policy."""

_ATTACH: Final = """\
from livekit_exporter import attach

async def entrypoint(ctx: JobContext):
    session = AgentSession(stt=..., llm=..., tts=...)
    call = attach(session, ctx)
    await session.start(agent=MyAgent(), room=ctx.room)"""

_CENT: Final = Decimal("0.01")
_MICRO: Final = Decimal("0.000001")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewRow:
    """What one model did today.

    Args:
        stage: Stage of the pipeline.
        provider: Who is billed.
        model: What for.
        requests: Provider requests ended.
        cost_usd: Priced cost.
        unpriced: Requests with usage that the catalogue has no price for.
    """

    stage: str
    provider: str
    model: str
    requests: int
    cost_usd: Decimal
    unpriced: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What the landing page shows.

    Args:
        data_dir: Where journals and ledger are.
        timezone: IANA name of the zone in which day and month begin.
        uptime_seconds: Since the sidecar started.
        active_sessions: Calls going on now.
        day_usd: Priced cost since the day began.
        month_usd: Priced cost since the month began.
        day_budget_usd: Allowed per day, if set.
        month_budget_usd: Allowed per month, if set.
        rows: One per model in use, in the order to be shown.
    """

    data_dir: str
    timezone: str
    uptime_seconds: float
    active_sessions: int
    day_usd: Decimal
    month_usd: Decimal
    day_budget_usd: Decimal | None = None
    month_budget_usd: Decimal | None = None
    rows: tuple[OverviewRow, ...] = ()


def render(overview: Overview, problem: str | None) -> str:
    """Fill in the page.

    Args:
        overview: The figures.
        problem: Why the sidecar is not ready, `None` when it is.
    """
    return _TEMPLATE.substitute(
        version=escape(__version__),
        uptime=escape(_duration(overview.uptime_seconds)),
        data_dir=escape(overview.data_dir),
        timezone=escape(overview.timezone),
        state="ready" if problem is None else "waiting",
        state_text="Ready" if problem is None else escape(f"Not ready: {problem}"),
        active_sessions=f"{overview.active_sessions:,}",
        day=_money(overview.day_usd),
        day_budget=_budget(overview.day_usd, overview.day_budget_usd),
        month=_money(overview.month_usd),
        month_budget=_budget(overview.month_usd, overview.month_budget_usd),
        models=_table(overview.rows) if overview.rows else _first_steps(overview.data_dir),
    )


def _duration(seconds: float) -> str:
    """Time in the two largest units that say something, `2 d 3 h`."""
    total = int(timedelta(seconds=max(0.0, seconds)).total_seconds())
    parts = [
        (total // 86_400, "d"),
        (total // 3600 % 24, "h"),
        (total // 60 % 60, "min"),
        (total % 60, "s"),
    ]
    first = next((at for at, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def _money(usd: Decimal) -> str:
    """Dollars with cents; small sums keep the digits that a call is made of."""
    step = _CENT if abs(usd) >= 1 or not usd else _MICRO
    try:
        rounded = usd.quantize(step, ROUND_HALF_EVEN)
    except ArithmeticError:
        return f"${usd:.2E}"
    return f"${rounded:,}"


def _budget(spent: Decimal, budget: Decimal | None) -> str:
    if budget is None:
        return '<p class="note">no budget set</p>'
    share = spent / budget
    over = ' class="over"' if share > 1 else ""
    return (
        f'<meter{over} min="0" max="1" high="0.8" optimum="0" value="{min(share, Decimal(1)):.4f}">'
        f'</meter><p class="note">{share:.0%} of {_money(budget)}</p>'
    )


def _table(rows: Iterable[OverviewRow]) -> str:
    lines = [
        "<table><thead><tr>",
        "<th>Stage</th><th>Provider</th><th>Model</th>",
        '<th class="figure">Requests</th><th class="figure">Cost</th>',
        '<th class="figure">Unpriced</th>',
        "</tr></thead><tbody>",
    ]
    for row in rows:
        unpriced = (
            f'<td class="figure alarm">{row.unpriced:,}</td>'
            if row.unpriced
            else '<td class="figure quiet">0</td>'
        )
        lines.append(
            f'<tr><td><span class="stage">{escape(row.stage)}</span></td>'
            f"<td>{escape(row.provider)}</td><td>{escape(row.model)}</td>"
            f'<td class="figure">{row.requests:,}</td>'
            f'<td class="figure">{_money(row.cost_usd)}</td>{unpriced}</tr>'
        )
    lines.append("</tbody></table>")
    return "\n".join(lines)


def _first_steps(data_dir: str) -> str:
    return (
        '<div class="empty"><p><strong>No usage today.</strong> Attach the exporter to an agent:'
        " one import, one line before <code>session.start</code>.</p>"
        f"<pre>{escape(_ATTACH)}</pre>"
        "<p>The agent must write to this data directory: set"
        f" <code>LIVEKIT_EXPORTER_DATA_DIR={escape(data_dir)}</code> for it.</p></div>"
    )
