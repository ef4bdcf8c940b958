"""Common parts of all dashboards: variables, annotations of alerts and releases, links."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

from grafana.src import colours, variables
from grafana.src.panels import AnyPanel
from grafana.src.queries import ALERTS, series
from livekit_exporter import contract

OVERVIEW: Final = "livekit-overview"
LATENCY: Final = "livekit-latency"
COST: Final = "livekit-cost"
MODELS: Final = "livekit-models"
EXPORTER: Final = "livekit-exporter"
"""Uids.  Alerts and bookmarks point at them: never change one."""

TAG: Final = "livekit"

_RELEASE_WINDOW: Final = "10m"


class Section(NamedTuple):
    """Panels under a heading.

    Args:
        id: Like a panel's: never changed, never used again.
        title: Heading.
        panels: Rows of them fill the width of 24.
    """

    id: int
    title: str
    panels: Sequence[AnyPanel]


def board(
    uid: str,
    title: str,
    question: str,
    *,
    since: str,
    choices: Iterable[QueryVariable],
    sections: Iterable[Section],
) -> Dashboard:
    """Assemble a dashboard.

    Args:
        uid: One of those above.
        title: Name in the folder.
        question: What the dashboard answers.
        since: Start of the time it shows at first, such as `now-1h`.
        choices: Variables beside the data source.
        sections: What it shows, the most urgent first.
    """
    made = (
        Dashboard(title)
        .uid(uid)
        .description(question)
        .tags([TAG])
        .time(since, "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            DashboardLink("LiveKit dashboards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(variables.datasource())
    )
    for choice in choices:
        made.with_variable(choice)
    for annotation in _annotations():
        made.annotation(annotation)
    for section in sections:
        made.with_row(Row(section.title).id(section.id))
        for panel in section.panels:
            made.with_panel(panel)
    return made


def _annotations() -> Iterable[AnnotationQuery]:
    """Alerts while they fire, and what was rolled out."""
    yield _annotation(
        "Alerts",
        ALERTS,
        "{{alertname}} ({{severity}})",
        "{{agent}} {{provider}} {{model}} {{instance}}",
        colours.BAD,
    )
    for name, family, title in (
        ("Releases", contract.BUILD_INFO, "livekit-exporter {{version}}"),
        ("Price lists", contract.PRICES_INFO, "Prices of {{version}}"),
    ):
        info = f"count by (job, version) ({series(family)}"
        yield _annotation(
            name, f"{info}) unless {info} offset {_RELEASE_WINDOW})", title, "{{job}}", "blue"
        )


def _annotation(name: str, expression: str, title: str, text: str, colour: str) -> AnnotationQuery:
    asked = Dataquery().expr(expression).ref_id("A").range().datasource(variables.PROMETHEUS)
    return (
        AnnotationQuery()
        .name(name)
        .datasource(variables.PROMETHEUS)
        .enable(True)
        .hide(False)
        .icon_color(colour)
        .expr(expression)
        .title_format(title)
        .text_format(text)
        .step("60s")
        .target(asked)
    )
