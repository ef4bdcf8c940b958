"""The page at `/`: what is being spent, at a glance, and where to go from there.

What stands in it is `landing.html`; this module fills it in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from livekit_exporter import __version__
from livekit_exporter.export.html import duration, frame, money

_BODY: Final = Template(files(__package__).joinpath("landing.html").read_text(encoding="utf-8"))

_ATTACH: Final = """\
from livekit_exporter import attach

async def entrypoint(ctx: JobContext):
    session = AgentSession(stt=..., llm=..., tts=...)
    call = attach(session, ctx)
    await session.start(agent=MyAgent(), room=ctx.room)"""


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
        day_usd: Reported cost since the day began.
        month_usd: Reported cost since the month began.
        day_estimated_usd: Beyond it, what vendors bill and no event reports.
        month_estimated_usd: Likewise.
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
    day_estimated_usd: Decimal = Decimal(0)
    month_estimated_usd: Decimal = Decimal(0)
    day_budget_usd: Decimal | None = None
    month_budget_usd: Decimal | None = None
    rows: tuple[OverviewRow, ...] = ()


def render(overview: Overview, problem: str | None) -> str:
    """Fill in the page.

    Args:
        overview: The figures.
        problem: Why the sidecar is not ready, `None` when it is.
    """
    body = _BODY.substitute(
        version=escape(__version__),
        uptime=escape(duration(overview.uptime_seconds)),
        data_dir=escape(overview.data_dir),
        timezone=escape(overview.timezone),
        state="ready" if problem is None else "waiting",
        state_text="Ready" if problem is None else escape(f"Not ready: {problem}"),
        active_sessions=f"{overview.active_sessions:,}",
        day=money(overview.day_usd),
        day_budget=_budget(overview.day_usd, overview.day_estimated_usd, overview.day_budget_usd),
        month=money(overview.month_usd),
        month_budget=_budget(
            overview.month_usd, overview.month_estimated_usd, overview.month_budget_usd
        ),
        models=table(overview.rows) if overview.rows else _first_steps(overview.data_dir),
    )
    return frame("livekit-exporter", body, refresh=True)


def _budget(spent: Decimal, estimated: Decimal, budget: Decimal | None) -> str:
    """How far a budget is used up: by what is estimated too, because vendors bill it."""
    beside = f"<br>{money(estimated)} more estimated" if estimated else ""
    if budget is None:
        return f'<p class="note">no budget set{beside}</p>'
    share = (spent + estimated) / budget
    counted = " used, estimate included" if estimated else ""
    over = ' class="over"' if share > 1 else ""
    return (
        f'<meter{over} min="0" max="1" high="0.8" optimum="0" value="{min(share, Decimal(1)):.4f}">'
        f'</meter><p class="note">{share:.0%} of {money(budget)}{counted}{beside}</p>'
    )


def table(rows: Iterable[OverviewRow]) -> str:
    """What models cost, one a line."""
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
            f'<td class="figure">{money(row.cost_usd)}</td>{unpriced}</tr>'
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
