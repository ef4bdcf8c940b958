"""Numbers that dashboards show: known series go in, and each query gives the number they make.

`shown/series.txt` holds the series, `shown/<dashboard>.yml` the numbers: a panel with its
unit, then the value by what the legend or the table's row says.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

from deploy.programs import found
from tests.grafana import boards
from tests.grafana.series import MINUTES, SHOWN, filled, input_series

_FIELD: Final = re.compile(r"\{\{(\w+)\}\}")
_LABEL_VALUES: Final = re.compile(r"label_values\((?P<series>.*), (?P<label>\w+)\)")

each_board = pytest.mark.parametrize("board", boards.BOARDS, ids=lambda board: board["uid"])


class Asked(NamedTuple):
    """A query, and how its result is written on the dashboard.

    Args:
        panel: Heading in the file of numbers: id and title; of a graph also the unit.
        part: Which query of several: the legend, or the title and the unit of a column.
        expression: PromQL with every variable filled.
        template: Legend, or the columns of labels of a table's row.
    """

    panel: str
    part: str
    expression: str
    template: str

    def expected(self, numbers: Mapping[str, Any]) -> Mapping[str, float]:
        """Values of this query by shown name, from the file of numbers."""
        entry = numbers[self.panel][self.part] if self.part else numbers[self.panel]
        if isinstance(entry, list):
            return dict.fromkeys(entry, 1)
        return entry if isinstance(entry, dict) else {self.template: entry}

    def labels(self, shown: str) -> str:
        """Labels of a result, in promtool's notation, by its legend or its row."""
        literal = [re.escape(part) for part in _FIELD.split(self.template)[::2]]
        read = re.fullmatch("(.*)".join(literal), shown)
        assert read, f"{self.panel}: {shown!r} is not of the form {self.template!r}"
        values = dict(zip(_FIELD.findall(self.template), read.groups(), strict=True))
        # An empty label is an absent one.
        pairs = [f"{name}={json.dumps(value)}" for name, value in values.items() if value]
        return "{" + ", ".join(pairs) + "}"


def asked(board: boards.Board) -> Iterator[Asked]:
    """All queries of a dashboard: panels, then variables and annotations."""
    for panel in boards.panels(board):
        yield from _of_table(panel) if panel["type"] == "table" else _of_graph(panel)
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            read = _LABEL_VALUES.fullmatch(variable["query"])
            assert read, variable["query"]
            values = f"group by ({read['label']}) ({filled(read['series'])})"
            yield Asked("Variables", variable["name"], values, f"{{{{{read['label']}}}}}")
    for mark in board["annotations"]["list"]:
        template = f"{mark['titleFormat']} | {mark['textFormat']}"
        marks = f"group by ({', '.join(_FIELD.findall(template))}) ({filled(mark['expr'])})"
        yield Asked("Annotations", mark["name"], marks, template)


def _of_graph(panel: boards.Panel) -> Iterator[Asked]:
    heading = f"{panel['id']} {panel['title']} [{panel['fieldConfig']['defaults']['unit']}]"
    several = len(panel["targets"]) > 1
    for target in panel["targets"]:
        legend = target["legendFormat"]
        yield Asked(heading, legend if several else "", filled(target["expr"]), legend)


def _of_table(panel: boards.Panel) -> Iterator[Asked]:
    [organize] = [one["options"] for one in panel["transformations"] if one["id"] == "organize"]
    titles = organize["renameByName"]
    units = {
        override["matcher"]["options"]: setting["value"]
        for override in panel["fieldConfig"]["overrides"]
        for setting in override["properties"]
        if setting["id"] == "unit"
    }
    order = sorted(titles, key=lambda field: organize["indexByName"][field])
    row = " | ".join(f"{{{{{field}}}}}" for field in order if not field.startswith("Value"))
    for target in panel["targets"]:
        field = "Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"
        column = f"{titles[field]} [{units[titles[field]]}]"
        yield Asked(f"{panel['id']} {panel['title']}", column, filled(target["expr"]), row)


def numbers(board: boards.Board) -> Mapping[str, Any]:
    """Expected values of a dashboard."""
    read: Mapping[str, Any] = yaml.safe_load((SHOWN / f"{board['uid']}.yml").read_text("utf-8"))
    return read


def wrong(board: boards.Board, expected: Mapping[str, Any], folder: Path) -> str:
    """Ask promtool for every number of a dashboard; return what it says against them."""
    tests = [
        {
            # The last digits of a quotient depend on the order of additions.
            "expr": f"round({query.expression}, 0.0001)",
            "eval_time": f"{MINUTES}m",
            "exp_samples": [
                {"labels": query.labels(shown), "value": value}
                for shown, value in query.expected(expected).items()
            ],
        }
        for query in asked(board)
    ]
    series = input_series(*(query.expression for query in asked(board)))
    test = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    file = folder / f"{board['uid']}.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "1m", "tests": [test]}))
    command = ["promtool", "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@each_board
def test_no_query_of_a_dashboard_is_left_out(board: boards.Board) -> None:
    """The file of numbers names every panel with its unit, and every query with its legend."""
    parts: dict[str, set[str]] = {}
    for query in asked(board):
        parts.setdefault(query.panel, set()).add(query.part)
    expected = numbers(board)

    assert parts.keys() == expected.keys()
    assert all(set(expected[panel]) == parts[panel] for panel in parts if parts[panel] != {""})
    assert all(query.expected(expected) for query in asked(board)), "each query has a result"


@pytest.mark.skipif(not found("promtool"), reason="needs promtool; Debian: prometheus")
@each_board
def test_dashboard_shows_the_numbers_that_the_series_make(
    board: boards.Board, tmp_path: Path
) -> None:
    """A share upside down, or of the wrong whole, is a dashboard that is quietly wrong."""
    complaints = wrong(board, numbers(board), tmp_path)

    assert not complaints, complaints
