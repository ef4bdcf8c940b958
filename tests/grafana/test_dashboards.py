"""What Grafana's own linter asks for, and what this project asks for besides."""

import re
import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest

from livekit_exporter.contract import STAGES
from tests.grafana.boards import (
    BOARDS,
    FILES,
    NAME,
    ROOT,
    RULES,
    SERIES,
    Board,
    panel_queries,
    panels,
    queries,
)

UIDS = {
    "livekit-overview",
    "livekit-latency",
    "livekit-cost",
    "livekit-models",
    "livekit-exporter",
}
RECORDED = {
    name
    for path in RULES
    for name in re.findall(r"^\s*- record: (\S+)$", path.read_text("utf-8"), re.MULTILINE)
}
PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}

METRIC = re.compile(r"(?<![:\w])(livekit_\w+)(?![:\w])(\{[^}]*\})?")
"""A metric that no rule recorded, and its matchers."""

each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board["uid"])


def test_dashboards_and_rules_were_found() -> None:
    """A glob that matches nothing would pass every test below."""
    assert len(BOARDS) == len(UIDS)
    assert RECORDED


def test_uids_are_those_that_alerts_and_bookmarks_point_at() -> None:
    """A uid is frozen, and the file is named after it."""
    assert {board["uid"] for board in BOARDS} == UIDS
    assert {path.stem for path in FILES} == UIDS


def test_committed_files_are_what_the_code_writes() -> None:
    """Dashboards and their page are changed in grafana/src; then comes make generate."""
    check = [sys.executable, "-m", "grafana.src", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@each_board
def test_every_metric_in_a_query_exists(board: Board) -> None:
    """It is in the contract, or a rule records it."""
    unknown = {
        (query.where, name)
        for query in queries(board)
        for name in NAME.findall(query.expression)
        if name not in RECORDED and name not in _exposed()
    }

    assert not unknown


def _exposed() -> set[str]:
    return {name for family in set(SERIES.values()) for name in family.series()}


@each_board
def test_every_query_takes_the_choices_that_its_metrics_have_labels_for(board: Board) -> None:
    """Job always; agent, provider and model where the family has the label."""
    missing = []
    for query in panel_queries(board):
        for name, matchers in METRIC.findall(query.expression):
            if name not in SERIES:
                continue
            wanted = {"job"} | ({"agent", "provider", "model"} & set(SERIES[name].labels))
            given = set(re.findall(r"(\w+)(?:=~|!=|=)", matchers))
            missing += [(query.where, name, label) for label in wanted - given]

    assert not missing


@each_board
def test_rates_follow_the_zoom(board: Board) -> None:
    """A fixed range shows gaps or hides peaks; `increase` may be over all of the time shown."""
    for query in panel_queries(board):
        for function, window in re.findall(r"(\w+)\([^()]*\[([^\]]+)\]\)", query.expression):
            allowed = (
                {"$__rate_interval"}
                if function == "rate"
                else {
                    "$__rate_interval",
                    "$__range",
                }
            )
            assert window in allowed, query


@each_board
def test_every_data_source_is_the_chosen_one(board: Board) -> None:
    """In panels, queries, variables and annotations."""
    used = [panel["datasource"] for panel in panels(board)]
    used += [target["datasource"] for panel in panels(board) for target in panel["targets"]]
    used += [annotation["datasource"] for annotation in board["annotations"]["list"]]
    used += [
        variable["datasource"]
        for variable in board["templating"]["list"]
        if variable["type"] == "query"
    ]

    assert all(source == PROMETHEUS for source in used)
    assert board["templating"]["list"][0]["type"] == "datasource"


@each_board
def test_choices_take_several_values_and_all(board: Board) -> None:
    """All is a pattern of its own, so that a query does not list a thousand models."""
    names = {variable["name"] for variable in board["templating"]["list"]}

    assert {"datasource", "job", "agent", "provider", "model"} <= names
    for variable in board["templating"]["list"][1:]:
        assert variable["multi"]
        assert variable["includeAll"]
        assert variable["allValue"] == ".+"
        assert variable["refresh"] == 2, "on a change of the time shown"


@each_board
def test_every_panel_says_what_it_is_and_in_which_unit(board: Board) -> None:
    """A title, a question, what bad looks like, a unit, names for its queries."""
    for panel in panels(board):
        question, mark, bad = panel["description"].partition("? ")
        assert panel["title"]
        assert question
        assert mark
        assert bad.endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["refId"] for target in panel["targets"])


@each_board
def test_table_columns_have_a_unit(board: Board) -> None:
    """A table's unit is its columns' business."""
    for panel in panels(board):
        if panel["type"] != "table":
            continue
        [organize] = [one for one in panel["transformations"] if one["id"] == "organize"]
        units = {
            override["matcher"]["options"]
            for override in panel["fieldConfig"]["overrides"]
            if any(setting["id"] == "unit" for setting in override["properties"])
        }
        titles = organize["options"]["renameByName"]
        columns = {title for field, title in titles.items() if field.startswith("Value")}
        assert columns == units, panel["title"]
        assert len(columns) == len(panel["targets"])


@each_board
def test_panel_ids_are_written_down_and_unique(board: Board) -> None:
    """Links point at panels by id; Grafana would number them anew."""
    ids = [panel["id"] for panel in board["panels"]]

    assert all(isinstance(number, int) and number >= 100 for number in ids)
    assert len(ids) == len(set(ids))


@each_board
def test_dashboards_are_not_edited_in_the_browser(board: Board) -> None:
    """What is changed there would be lost."""
    assert board["editable"] is False
    assert board["graphTooltip"] == 1, "one crosshair over all panels"


@each_board
def test_panels_fill_their_rows(board: Board) -> None:
    """No holes and no overlaps: panels side by side are of one height and 24 wide in all."""
    lines: dict[int, list[Any]] = defaultdict(list)
    for panel in panels(board):
        lines[panel["gridPos"]["y"]].append(panel["gridPos"])

    for line in lines.values():
        assert sum(position["w"] for position in line) == 24
        assert len({position["h"] for position in line}) == 1


@each_board
def test_dashboards_lead_to_one_another(board: Board) -> None:
    """By a menu that keeps time and choices, and from single panels."""
    [menu] = board["links"]
    assert menu["type"] == "dashboards"
    assert menu["includeVars"]
    assert menu["keepTime"]
    assert set(menu["tags"]) <= set(board["tags"])
    for panel in panels(board):
        for link in panel.get("links") or []:
            found = re.match(
                r"/d/([\w-]+)\?\$\{__url_time_range\}&\$\{__all_variables\}$", link["url"]
            )
            assert "runbooks.md#" in link["url"] or (found and found[1] in UIDS - {board["uid"]})


@each_board
def test_alerts_and_releases_are_marked(board: Board) -> None:
    """Alerts while they fire, and versions of the exporter and of its prices."""
    marks = {annotation["name"]: annotation for annotation in board["annotations"]["list"]}

    assert set(marks) == {"Alerts", "Releases", "Price lists"}
    assert all(mark["enable"] for mark in marks.values())


@each_board
def test_nothing_is_zero_only_where_things_are_counted(board: Board) -> None:
    """A latency or a cost that nobody measured is not zero."""
    for query in panel_queries(board):
        if "vector(0)" in query.expression:
            assert re.match(r"(round|count)\(", query.expression), query


@each_board
def test_quantiles_are_never_stacked(board: Board) -> None:
    """They do not add up."""
    for panel in panels(board):
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if custom.get("stacking", {}).get("mode") == "normal":
            asked = [target["expr"] for target in panel["targets"]]
            assert not any("histogram_quantile" in expression for expression in asked)


def test_turn_latency_panels_show_single_calls() -> None:
    """Exemplars are asked for, and nowhere where they would be of something else."""
    with_dots = {
        (board["uid"], panel["title"])
        for board in BOARDS
        for panel in panels(board)
        if any(target["exemplar"] for target in panel["targets"] if "exemplar" in target)
    }

    assert with_dots == {
        ("livekit-overview", "Turn latency"),
        ("livekit-latency", "Turn latency"),
        ("livekit-latency", "How turn latency is spread"),
    }


def test_a_stage_has_one_colour_everywhere() -> None:
    """So has every other name with a colour of its own, and no two stages share one."""
    colours: dict[str, set[str]] = defaultdict(set)
    for board in BOARDS:
        for panel in panels(board):
            for override in panel["fieldConfig"]["overrides"]:
                for setting in override["properties"]:
                    if setting["id"] == "color" and "fixedColor" in setting["value"]:
                        name = override["matcher"]["options"]
                        colours[name].add(setting["value"]["fixedColor"])

    assert all(len(used) == 1 for used in colours.values()), colours
    stages = [next(iter(colours[stage])) for stage in STAGES]
    assert len(set(stages)) == len(STAGES)
