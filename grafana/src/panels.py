"""Panels in one style for all dashboards; callers give only what a panel shows."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

from grafana_foundation_sdk.builders.bargauge import Panel as BarGauge
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    LineStyle,
    ReduceDataOptions,
    StackingConfig,
    TableSortByFieldState,
    VizLegendOptions,
    VizTextDisplayOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.heatmap import (
    FilterValueRange,
    HeatmapColorOptions,
    HeatmapTooltip,
    YAxisConfig,
)
from grafana_foundation_sdk.builders.heatmap import Panel as Heatmap
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.table import Panel as Table
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BarGaugeValueMode,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DashboardLink as Link
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.dashboard import Panel as BuiltPanel
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.src import colours
from grafana.src.queries import RATE
from grafana.src.thresholds import Limit
from grafana.src.variables import PROMETHEUS

AnyPanel: TypeAlias = Builder[BuiltPanel]

_Panel = TypeVar("_Panel", TimeSeries, Stat, Table, Heatmap, BarGauge)

RUNBOOKS: Final = "https://github.com/livekit-exporter/livekit-exporter/blob/main/docs/runbooks.md#"

# Money, errors and quantiles of a handful of calls jump; those of a minute or more do less.
CALM: Final = "1m"
"""Shortest step of a graph of rates."""

LATEST: Final = "5m"
"""What 'now' means for a single number."""

_WIDE: Final = 12
_NUMBER_PIXELS: Final = 40.0
_GRAPH_HEIGHT: Final = 9
_NAME_WIDTHS: Final = {"Stage": 90, "Provider": 110, "Model": 210}
_COLUMN_WIDTH: Final = 80
_ANYTHING: Final = 0.001
_JOIN_GAPS_MILLISECONDS: Final = 10 * 60 * 1000.0


class About(NamedTuple):
    """Purpose of a panel: the question it answers, and what bad looks like.

    Args:
        id: Never changed and never used again: links point at it.
        title: Without jargon.
        asks: The question that the panel answers, with its question mark.
        bad: What a bad answer looks like, and where to look then.
        more: Uid of the dashboard that says more.
    """

    id: int
    title: str
    asks: str
    bad: str
    more: str | None = None


class Line(NamedTuple):
    """A query and the name of its result; `{{label}}` stands for a label's value."""

    name: str
    expression: str


class Column(NamedTuple):
    """A column of a table, with a value for each row.

    Args:
        title: Heading.
        expression: Instant query.
        unit: Grafana's name of the unit.
        limit: Colours values over it.
        bar: Draws the value, a part of 1, as a bar.
    """

    title: str
    expression: str
    unit: str
    limit: Limit | None = None
    bar: bool = False


def query(expression: str, name: str, ref: str, *, exemplars: bool = False) -> Dataquery:
    """A query over the time shown."""
    asked = Dataquery().expr(expression).legend_format(name).ref_id(ref).datasource(PROMETHEUS)
    return asked.range().exemplar(exemplars)


def latest(expression: str, name: str, ref: str) -> Dataquery:
    """A query at the end of the time shown."""
    asked = Dataquery().expr(expression).legend_format(name).ref_id(ref).datasource(PROMETHEUS)
    return asked.instant()


def stat(
    about: About,
    unit: str,
    expression: str,
    *,
    limit: Limit | None = None,
    steps: Sequence[tuple[float | None, str]] = (),
    span: int = 4,
) -> Stat:
    """One number, as it is at the end of the time shown.

    A line behind it would make it late: the last point of a line is up to a step old.

    Args:
        about: What it is for.
        unit: Grafana's name of the unit.
        expression: Query with one result.
        limit: Colours the number from there on.
        steps: Colours by lower bound, where a limit does not say it.
        span: Width; the page is 24 wide.
    """
    panel = _framed(Stat(), about, unit, limit, span, 4)
    panel.with_target(latest(expression, about.title, "A")).interval(LATEST)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel.graph_mode(BigValueGraphMode.NONE).no_value("-")
    panel.text_mode(BigValueTextMode.VALUE).color_mode(BigValueColorMode.VALUE)
    panel.text(VizTextDisplayOptions().value_size(_NUMBER_PIXELS))
    if limit is not None or steps:
        panel.thresholds(_steps(steps or _steps_of(limit)))
        return panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    return panel.color_scheme(_fixed(colours.NEUTRAL))


def graph(
    about: About,
    unit: str,
    lines: Sequence[Line],
    *,
    limit: Limit | None = None,
    colour: Mapping[str, str] | None = None,
    span: int = 12,
    exemplars: bool = False,
) -> TimeSeries:
    """Lines over time.

    Args:
        about: What it is for.
        unit: Grafana's name of the unit.
        lines: What is drawn.
        limit: Drawn as dashed lines.
        colour: Colour by name, for names that have one on all dashboards.
        span: Width; the page is 24 wide.
        exemplars: Whether single calls are marked.
    """
    panel = _framed(TimeSeries(), about, unit, limit, span, _GRAPH_HEIGHT)
    for ref, line in zip("ABCDEFGH", lines, strict=False):
        panel.with_target(query(line.expression, line.name, ref, exemplars=exemplars))
    if any(RATE in line.expression for line in lines):
        panel.interval(CALM)
    panel.min(0).axis_soft_max(_room(unit, limit))
    panel.line_width(2).fill_opacity(0).point_size(4).show_points(VisibilityMode.AUTO)
    panel.span_nulls(_JOIN_GAPS_MILLISECONDS)
    panel.color_scheme(FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    panel.legend(
        VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(_legend_beside(span, lines))
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
        # What does not fit is what hardly matters.
        .sort_by("Max")
        .sort_desc(True)
    )
    panel.tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    if limit is not None and limit.ticket:
        panel.thresholds(_steps(_steps_of(limit)))
        panel.thresholds_style(GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    for name, value in (colour or {}).items():
        panel.override_by_name(name, [_colour(value)])
    return panel


def _room(unit: str, limit: Limit | None) -> float:
    """Upper end of the axis for small values, so that the limit is in sight and noise is small."""
    if limit is not None and limit.ticket:
        return 1.2 * limit.ticket
    return {"percentunit": 0.1, "s": 0.1, "decbytes": 1000, "currencyUSD": 0.001}.get(unit, 1)


def _legend_beside(span: int, lines: Sequence[Line]) -> LegendPlacement:
    """Put the legend beside the graph, where more names fit, unless they are those of models."""
    short = not any("{{model}}" in line.name for line in lines)
    return LegendPlacement.RIGHT if span >= _WIDE and short else LegendPlacement.BOTTOM


def stack(
    about: About,
    unit: str,
    lines: Sequence[Line],
    *,
    colour: Mapping[str, str] | None = None,
    span: int = 12,
) -> TimeSeries:
    """Parts of a whole over time; never for quantiles, which do not add up."""
    panel = graph(about, unit, lines, colour=colour, span=span)
    panel.stacking(StackingConfig().mode(StackingMode.NORMAL).group("A"))
    return panel.fill_opacity(55).line_width(1).show_points(VisibilityMode.NEVER)


def dashed(panel: TimeSeries, name: str, colour: str) -> TimeSeries:
    """Draw one line of a graph as a limit or a measure: dashed, over the others."""
    style = LineStyle().fill("dash").dash([10, 8]).build()
    return panel.override_by_name(
        name,
        [
            _colour(colour),
            DynamicConfigValue("custom.lineStyle", {"fill": style.fill, "dash": style.dash}),
            DynamicConfigValue("custom.lineWidth", 2),
            DynamicConfigValue("custom.fillOpacity", 0),
            DynamicConfigValue("custom.stacking", {"mode": "none", "group": "A"}),
        ],
    )


def heatmap(
    about: About, unit: str, buckets: str, *, scheme: str, span: int = 12, exemplars: bool = False
) -> Heatmap:
    """Distribution of a histogram's observations, over time.

    Args:
        about: What it is for.
        unit: Grafana's name of the unit.
        buckets: Query with a result for each bucket.
        scheme: Grafana's name of the colours.
        span: Width; the page is 24 wide.
        exemplars: Whether single calls are marked.
    """
    panel = _framed(Heatmap(), about, unit, None, span, _GRAPH_HEIGHT)
    target = query(buckets, "{{le}}", "A", exemplars=exemplars).format(PromQueryFormat.HEATMAP)
    panel.with_target(target).interval(CALM)
    panel.calculate(False).cell_gap(1).exemplars_color("rgba(255, 255, 255, 0.85)")
    panel.filter_values(FilterValueRange().le(1e-9))
    panel.y_axis(YAxisConfig().unit(unit))
    panel.color(
        HeatmapColorOptions()
        .mode(HeatmapColorMode.SCHEME)
        .scheme(scheme)
        .scale(HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    return panel.tooltip(
        HeatmapTooltip().mode(TooltipDisplayMode.SINGLE).y_histogram(True).show_color_scale(True)
    )


def bars(
    about: About,
    unit: str,
    line: Line,
    *,
    limit: Limit | None = None,
    buckets: bool = False,
    span: int = 8,
) -> BarGauge:
    """One bar for each result at the end of the time shown.

    Args:
        about: What it is for.
        unit: Grafana's name of the unit.
        line: What is drawn.
        limit: Colours bars from there on.
        buckets: Whether results are a histogram's buckets, to be shown each by itself.
        span: Width; the page is 24 wide.
    """
    panel = _framed(BarGauge(), about, unit, limit, span, _GRAPH_HEIGHT)
    asked = latest(line.expression, line.name, "A")
    # Prometheus counts a bucket into all larger ones; this format takes that back.
    asked.format(PromQueryFormat.HEATMAP if buckets else PromQueryFormat.TIME_SERIES)
    panel.with_target(asked).interval(LATEST).min(0)
    panel.orientation(VizOrientation.VERTICAL).display_mode(BarGaugeDisplayMode.BASIC)
    panel.value_mode(BarGaugeValueMode.TEXT).decimals(0)
    panel.text(VizTextDisplayOptions().title_size(10).value_size(14))
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    if limit is not None:
        panel.thresholds(_steps(_steps_of(limit)))
        return panel.color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    return panel.color_scheme(_fixed(colours.QUANTILE["p95"]))


def table(
    about: About,
    names: Mapping[str, str],
    columns: Sequence[Column],
    *,
    sort: str,
    ascending: bool = False,
    height: int = 9,
) -> Table:
    """A row for each set of labels, a column for each query.

    Args:
        about: What it is for.
        names: Headings by label, for the labels that name a row.
        columns: What each row says.
        sort: Heading of the column with the largest first.
        ascending: Whether it is the smallest instead.
        height: Height in units of the page.
    """
    panel = _framed(Table(), about, "none", None, 24, height)
    titles = {"Time": "", **names}
    for ref, column in zip("ABCDEFGHIJKLM", columns, strict=False):
        panel.with_target(latest(column.expression, "", ref).format(PromQueryFormat.TABLE))
        titles["Value" if len(columns) == 1 else f"Value #{ref}"] = column.title
        panel.override_by_name(column.title, _cell(column))
    for title in names.values():
        if title in _NAME_WIDTHS:
            width = DynamicConfigValue("custom.width", _NAME_WIDTHS[title])
            panel.override_by_name(title, [width])
    panel.interval(LATEST).min_width(_COLUMN_WIDTH)
    panel.with_transformation(DataTransformerConfig("merge", options={}))
    order = {field: index for index, field in enumerate(titles)}
    shown = {field: title for field, title in titles.items() if title}
    panel.with_transformation(
        DataTransformerConfig(
            "organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": order,
                "renameByName": shown,
            },
        )
    )
    return panel.sort_by([TableSortByFieldState().display_name(sort).desc(not ascending)])


def _framed(
    panel: _Panel, about: About, unit: str, limit: Limit | None, span: int, height: int
) -> _Panel:
    panel.id(about.id).title(about.title).description(f"{about.asks} {about.bad}")
    panel.datasource(PROMETHEUS).unit(unit).span(span).height(height)
    links: list[Builder[Link]] = []
    if about.more is not None:
        links.append(_more(about.more))
    if limit is not None:
        links.append(_runbook(limit))
    return panel.links(links)


def _more(uid: str) -> DashboardLink:
    """Link to the dashboard that says more, keeping time and choices."""
    address = f"/d/{uid}?${{__url_time_range}}&${{__all_variables}}"
    return (
        DashboardLink(f"More: {uid.removeprefix('livekit-')}")
        .type(DashboardLinkType.LINK)
        .url(address)
    )


def _runbook(limit: Limit) -> DashboardLink:
    """Link to the runbook of a limit's alert."""
    return (
        DashboardLink(f"Runbook: {limit.alert}")
        .type(DashboardLinkType.LINK)
        .url(f"{RUNBOOKS}{limit.alert.lower()}")
    )


def _steps_of(limit: Limit | None) -> list[tuple[float | None, str]]:
    steps: list[tuple[float | None, str]] = [(None, colours.GOOD)]
    if limit is not None and limit.ticket is not None:
        # A colour begins at its value, and a limit of nothing allows nothing.
        steps.append((limit.ticket or _ANYTHING, colours.WORSE))
    if limit is not None and limit.page is not None:
        steps.append((limit.page, colours.BAD))
    return steps


def _steps(steps: Sequence[tuple[float | None, str]]) -> ThresholdsConfig:
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )


def _fixed(colour: str) -> FieldColor:
    return FieldColor().mode(FieldColorModeId.FIXED).fixed_color(colour)


def _colour(colour: str) -> DynamicConfigValue:
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


def _cell(column: Column) -> list[DynamicConfigValue]:
    """Display settings of a column: unit, colours, bar."""
    settings = [DynamicConfigValue("unit", column.unit)]
    if column.limit is not None:
        steps = [{"value": value, "color": colour} for value, colour in _steps_of(column.limit)]
        settings += [
            DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps}),
            DynamicConfigValue("color", {"mode": "thresholds"}),
            DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ]
    if column.bar:
        settings += [
            DynamicConfigValue(
                "custom.cellOptions", {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
            ),
            DynamicConfigValue("min", 0),
            DynamicConfigValue("max", 1),
            _colour(colours.QUANTILE["p95"]),
        ]
    return settings
