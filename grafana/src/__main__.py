"""Write the dashboards' JSON and their page in the documentation.

python -m grafana.src           write
python -m grafana.src --check   write nothing, fail when something is stale
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.src import cost, exporter, latency, models, overview

ROOT: Final = Path(__file__).resolve().parent.parent.parent
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"
PAGE: Final = ROOT / "docs" / "dashboards.md"

_BEGIN: Final = "<!-- dashboards:begin, written by make generate -->\n"
_END: Final = "<!-- dashboards:end -->"


def built() -> list[Dashboard]:
    """All dashboards, in the order in which people open them."""
    return [
        overview.dashboard(),
        latency.dashboard(),
        cost.dashboard(),
        models.dashboard(),
        exporter.dashboard(),
    ]


def rendered(dashboard: Dashboard) -> str:
    """JSON with a fixed order of keys, so that a difference shows what changed."""
    board = json.loads(json.dumps(dashboard.build(), cls=JSONEncoder))
    for panel in board["panels"]:
        # The SDK's default for tables; Grafana has moved footers to the columns.
        panel.get("options", {}).pop("footer", None)
    return json.dumps(board, indent=2, sort_keys=True) + "\n"


def generated() -> Mapping[Path, str]:
    """Every generated file with the text that it should have.

    Raises:
        ValueError: The page has lost the markers between which the tables stand.
    """
    texts = {}
    tables = []
    for dashboard in built():
        text = rendered(dashboard)
        board = json.loads(text)
        texts[DASHBOARDS / f"{board['uid']}.json"] = text
        tables.append("\n".join(_described(board)))
    before, begin, rest = PAGE.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name}: marker '{_BEGIN.strip()}' or '{_END}' is missing")
    texts[PAGE] = "".join((before, begin, "\n".join(tables), end, after))
    return texts


def _described(board: Mapping[str, Any]) -> Iterator[str]:
    """A table of panels, from what the panels say about themselves."""
    yield f"## {board['title'].removeprefix('LiveKit agents: ').capitalize()}"
    yield ""
    yield f"{board['description']} (`{board['uid']}`)"
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield f"\n**{panel['title']}**\n"
            yield "| Panel | Question | What bad looks like |"
            yield "| --- | --- | --- |"
        else:
            question, mark, bad = panel["description"].partition("? ")
            yield f"| {panel['title']} | {question}{mark.strip()} | {bad} |"
    yield ""


def main(arguments: Sequence[str]) -> int:
    """Write the generated files, or with `--check` name the stale ones."""
    wanted = generated()
    left_over = set(DASHBOARDS.glob("*.json")) - set(wanted)
    stale = [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for path in (*sorted(left_over), *stale):
        name = path.relative_to(ROOT)
        if "--check" in arguments:
            print(f"{name}: stale, run make generate", file=sys.stderr)
        elif path in left_over:
            path.unlink()
            print(f"{name}: removed")
        else:
            path.write_text(wanted[path], "utf-8")
            print(f"{name}: written")
    return 1 if (stale or left_over) and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
