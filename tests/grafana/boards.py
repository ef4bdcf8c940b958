"""The dashboards as Grafana reads them: the committed JSON."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from livekit_exporter import contract

ROOT: Final = Path(__file__).resolve().parent.parent.parent
FILES: Final = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
RULES: Final = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))

Board: TypeAlias = Mapping[str, Any]
Panel: TypeAlias = Mapping[str, Any]

NAME: Final = re.compile(r"(?:\b[a-z_]+:)?\blivekit_(?:agent|exporter)_\w+(?::\w+)?")
"""A metric of ours, or a name that a rule records."""

SERIES: Final = {
    name: family for family in contract.FAMILIES for name in (family.name, *family.series())
}
"""Families by every name that a query may use, and by the one without `_total`."""


class Query(NamedTuple):
    """Something that is asked of Prometheus, and where it stands."""

    where: str
    expression: str


def read(path: Path) -> Board:
    """One dashboard."""
    board: Board = json.loads(path.read_text("utf-8"))
    return board


def panels(board: Board) -> list[Panel]:
    """Its panels, without the rows' headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def panel_queries(board: Board) -> Iterator[Query]:
    """What its panels ask."""
    for panel in panels(board):
        for target in panel["targets"]:
            where = f"{board['uid']} {panel['id']} {panel['title']} {target['refId']}"
            yield Query(where, target["expr"])


def queries(board: Board) -> Iterator[Query]:
    """What its panels, variables and annotations ask."""
    yield from panel_queries(board)
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(f"{board['uid']} variable {variable['name']}", variable["query"])
    for annotation in board["annotations"]["list"]:
        yield Query(f"{board['uid']} annotation {annotation['name']}", annotation["expr"])


BOARDS: Final = [read(path) for path in FILES]
