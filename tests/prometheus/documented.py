"""The queries of the documents, for tests that parse them and tests that run them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_DOCUMENTS: Final = Path(__file__).resolve().parents[2] / "docs"
_PART = re.compile(
    r"^#{2,3} (?P<heading>[^\n]+)$|^```promql\n(?P<query>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Args:
        heading: The heading it stands under.
        expr: PromQL.
    """

    heading: str
    expr: str


def queries(document: str) -> tuple[Query, ...]:
    """The PromQL blocks of a document in `docs/`, in their order."""
    text = (_DOCUMENTS / document).read_text("utf-8")
    found = []
    heading = ""
    for part in _PART.finditer(text):
        if part["query"] is None:
            heading = part["heading"]
        else:
            found.append(Query(heading, part["query"].rstrip("\n")))
    return tuple(found)
