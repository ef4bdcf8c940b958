"""Renders the page of one call, to which exemplars on dashboards link.

The page does not show the user's id, because it asks nobody for a password.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from html import escape

from livekit_exporter.export.html import duration, frame, money
from livekit_exporter.ledger.rows import SessionRow, TurnRow
from livekit_exporter.sidecar.http.landing import OverviewRow, table, usd


@dataclass(frozen=True, slots=True)
class CallView:
    """One call with its turns and models.

    Args:
        session: The call.
        turns: Its replies, in their order.
        models: Its usage by model.
        zone: Time zone to show times in.
        estimated_usd: Cost of usage that vendors bill and LiveKit does not report; not part
            of the cost of the call.
    """

    session: SessionRow
    turns: Sequence[TurnRow]
    models: Sequence[OverviewRow]
    zone: tzinfo = UTC
    estimated_usd: Decimal = Decimal(0)


def render(view: CallView) -> str:
    """Fill in the page."""
    row = view.session
    end = row.closed_at or row.last_at
    state = row.reason or "going on"
    facts = [
        ("Agent", row.agent),
        ("Began", _moment(row.started_at, view.zone)),
        ("Lasted", duration(end - row.started_at)),
        ("Ended", state),
        ("Room", row.room),
        ("Job", row.job),
        ("Trace", row.trace),
        ("Host", row.host),
    ]
    cards = [
        ("Cost", money(usd(row.cost_usd))),
        ("Of it heard by nobody", money(usd(row.wasted_usd))),
        *([("Estimated beside it", money(view.estimated_usd))] if view.estimated_usd else []),
        ("Turns", f"{row.turns:,}"),
        ("Talked over", f"{row.interrupted:,}"),
    ]
    colour = "waiting" if row.reason == "lost" else "ready"
    body = [
        f"<header><h1>Call {escape(row.session)}</h1>",
        f'<span class="state {colour}">{escape(state)}</span></header>',
        '<nav><a href="../">livekit-exporter</a></nav>',
        '<section class="cards">',
        *(
            f'<div class="card"><h2>{escape(name)}</h2><div class="value">{value}</div></div>'
            for name, value in cards
        ),
        "</section>",
        '<h2>Turns</h2><section class="panel">',
        _turns(view.turns, row.started_at),
        '</section><h2>Models</h2><section class="panel">',
        table(view.models),
        '</section><h2>This call</h2><section class="panel"><dl>',
        *(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts if value),
        "</dl></section>",
    ]
    return frame(f"Call {row.session}", "\n".join(body))


def missing(session: str) -> str:
    """Render the page for a call that the ledger does not know."""
    body = (
        f"<header><h1>No call {escape(session)}</h1></header>"
        '<nav><a href="../">livekit-exporter</a></nav>'
        '<section class="panel"><p>The ledger has no call of that id. It may be another'
        " exporter's, or its ledger is gone.</p></section>"
    )
    return frame("No such call", body)


def _turns(turns: Iterable[TurnRow], began: float) -> str:
    heads = ("Latency", "End of turn", "First token", "First byte", "Tools", "Cost")
    lines = [
        "<table><thead><tr><th>At</th><th>Persona</th><th></th>",
        *(f'<th class="figure">{head}</th>' for head in heads),
        "</tr></thead><tbody>",
    ]
    for turn in turns:
        waits = (
            turn.latency_seconds,
            turn.eou_delay_seconds,
            turn.first_token_seconds,
            turn.first_byte_seconds,
        )
        lines += [
            f"<tr><td>{duration(turn.at - began)}</td><td>{escape(turn.persona or '')}</td>",
            f"<td>{_note(turn)}</td>",
            *(f'<td class="figure">{_seconds(wait)}</td>' for wait in waits),
            f'<td class="figure">{turn.tool_calls or ""}</td>',
            f'<td class="figure">{money(usd(turn.cost_usd))}</td></tr>',
        ]
    lines.append("</tbody></table>")
    return "\n".join(lines)


def _note(turn: TurnRow) -> str:
    """Render what is special about a reply."""
    if not turn.spoken:
        return f'<span class="quiet">{"used a tool" if turn.tool_calls else "never said"}</span>'
    if turn.interrupted:
        return '<span class="alarm">talked over</span>'
    return "" if turn.answered else '<span class="quiet">said unasked</span>'


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"


def _moment(at: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(at, zone).isoformat(sep=" ", timespec="seconds")
