"""Frame of every HTML page, and the format of money and time on it.

Pages are self-contained, because the sidecar often runs where nothing else can be reached.
Pages escape the values that they fill in.
"""

import base64
import hashlib
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

_DOCUMENT: Final = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
_FRAME: Final = Template(_DOCUMENT)

# A browser hashes exactly what stands between the tags.
_STYLE: Final = _DOCUMENT.partition("<style>")[2].partition("</style>")[0]
STYLE_HASH: Final = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""Source expression that lets the pages' own style pass the content security policy."""

_REFRESH: Final = '<meta http-equiv="refresh" content="15">\n'
_CENT: Final = Decimal("0.01")
_MICRO: Final = Decimal("0.000001")


def frame(title: str, body: str, *, refresh: bool = False) -> str:
    """Build a whole document.

    Args:
        title: Text of the window's title.
        body: HTML, escaped already.
        refresh: Let the browser reload it every 15 seconds.
    """
    return _FRAME.substitute(title=escape(title), body=body, refresh=_REFRESH if refresh else "")


def duration(seconds: float) -> str:
    """Format a duration in its two largest units that are not zero, `2 d 3 h`."""
    total = int(timedelta(seconds=max(0.0, seconds)).total_seconds())
    parts = [
        (total // 86_400, "d"),
        (total // 3600 % 24, "h"),
        (total // 60 % 60, "min"),
        (total % 60, "s"),
    ]
    first = next((at for at, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def money(usd: Decimal) -> str:
    """Format dollars with cents, or with six digits below one dollar: calls cost that little."""
    step = _CENT if abs(usd) >= 1 or not usd else _MICRO
    try:
        rounded = usd.quantize(step, ROUND_HALF_EVEN)
    except ArithmeticError:
        return f"${usd:.2E}"
    return f"${rounded:,}"
