"""Fills in the page at `/`, `landing.html`: spend at a glance, and links to the rest."""

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
    """Usage of one model.

    Args:
        stage: Stage of the pipeline.
        provider: Provider as the price catalogue names it.
        model: Model.
        requests: Requests that ended.
        cost_usd: Cost of those that have a price.
        unpriced: Requests with usage that the catalogue has no price for.
    """

    stage: str
    provider: str
    model: str
    requests: int
    cost_usd: Decimal
    unpriced: int


@dataclass(frozen=True, slots=True)
class PeriodSpend:
    """US dollars since the day or the month began.

    Args:
        reported: Cost of usage that LiveKit reports.
        estimated: Cost of usage that vendors bill beyond it.
        budget: Allowed cost; `None` where no budget is set.
    """

    reported: Decimal = Decimal(0)
    estimated: Decimal = Decimal(0)
    budget: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Figures of the landing page.

    Args:
        data_dir: The data directory.
        timezone: IANA name of the zone in which day and month begin.
        uptime_seconds: Time since the sidecar started.
        active_sessions: Calls that have not ended.
        day: Spend of today.
        month: Spend of this month.
        rows: One per model used today, in the order to show.
    """

    data_dir: str
    timezone: str
    uptime_seconds: float
    active_sessions: int
    day: PeriodSpend
    month: PeriodSpend
    rows: tuple[OverviewRow, ...] = ()


def render(overview: Overview, problem: str | None) -> str:
    """Fill in the page.

    Args:
        overview: The figures.
        problem: Reason why the sidecar is not ready; `None` when it is.
    """
    body = _BODY.substitute(
        version=escape(__version__),
        uptime=escape(duration(overview.uptime_seconds)),
        data_dir=escape(overview.data_dir),
        timezone=escape(overview.timezone),
        state="ready" if problem is None else "waiting",
        state_text="Ready" if problem is None else escape(f"Not ready: {problem}"),
        active_sessions=f"{overview.active_sessions:,}",
        day=money(overview.day.reported),
        day_budget=_budget(overview.day),
        month=money(overview.month.reported),
        month_budget=_budget(overview.month),
        models=table(overview.rows) if overview.rows else _first_steps(overview.data_dir),
    )
    return frame("livekit-exporter", body, refresh=True)


def usd(amount: float) -> Decimal:
    """Round US dollars to the twelfth digit, which is far below any bill."""
    return Decimal(amount).quantize(Decimal("1e-12"))


def _budget(spend: PeriodSpend) -> str:
    """Show the used share of a budget; estimates count, because vendors bill them."""
    beside = f"<br>{money(spend.estimated)} more estimated" if spend.estimated else ""
    if spend.budget is None:
        return f'<p class="note">no budget set{beside}</p>'
    share = (spend.reported + spend.estimated) / spend.budget
    counted = " used, estimate included" if spend.estimated else ""
    over = ' class="over"' if share > 1 else ""
    return (
        f'<meter{over} min="0" max="1" high="0.8" optimum="0" value="{min(share, Decimal(1)):.4f}">'
        f'</meter><p class="note">{share:.0%} of {money(spend.budget)}{counted}{beside}</p>'
    )


def table(rows: Iterable[OverviewRow]) -> str:
    """Render a table of models, one a row."""
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
