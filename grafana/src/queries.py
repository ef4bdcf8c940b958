"""PromQL for panels.  Names and labels come from the contract.

A selector takes every dashboard variable that its family has a label for, so that a
choice at the top of a dashboard holds in each of its panels.
"""

from collections.abc import Sequence
from typing import Final

from livekit_exporter import contract
from livekit_exporter.contract import Family

RATE: Final = "$__rate_interval"
"""Window of a graph: follows the zoom, never shorter than four scrapes."""

SHOWN: Final = "$__range"
"""Window of a table or a number: the whole time shown."""

ALERTS: Final = 'ALERTS{alertstate="firing", alertname=~"Livekit.+", job=~"$job"}'
"""Prometheus's own record of the alerts that fire."""

UP: Final = 'up{job=~"$job"}'
"""Prometheus's own record of the targets it can reach."""

ANY: Final = ".+"
"""Whatever is chosen at the top."""

VARIABLE_LABELS: Final = ("agent", "provider", "model")
"""Labels with a dashboard variable of the same name, beside `job`."""


def matchers(labels: Sequence[str], **only: str) -> str:
    """Matchers for the variables that apply, and for fixed values.

    Args:
        labels: Label names that the series have.
        only: Values by label: one, a regular expression of several, or with `!` in
            front what it must not be.  A label named here leaves its variable out.
    """
    chosen = [label for label in VARIABLE_LABELS if label in labels and label not in only]
    return ", ".join(
        [f'{label}=~"${label}"' for label in ("job", *chosen)]
        + [f"{label}{_match(value)}" for label, value in only.items()]
    )


def _match(value: str) -> str:
    if value.startswith("!"):
        return f'!="{value.removeprefix("!")}"'
    several = "|" in value or value == ANY
    return f'=~"{value}"' if several else f'="{value}"'


def series(family: Family, suffix: str = "", **only: str) -> str:
    """Select the series of a family; `suffix` is one of a histogram's."""
    name = f"{family.name}{suffix}" if suffix else family.full_name
    return f"{name}{{{matchers(family.labels, **only)}}}"


def rate(family: Family, suffix: str = "", **only: str) -> str:
    """Increase per second."""
    return f"rate({series(family, suffix, **only)}[{RATE}])"


def increase(family: Family, suffix: str = "", window: str = SHOWN, **only: str) -> str:
    """Increase over the time shown, or over each step of a graph."""
    return f"increase({series(family, suffix, **only)}[{window}])"


def counted(family: Family, *by: str, suffix: str = "", **only: str) -> str:
    """Count events in the time shown: whole numbers, where increase() has fractions."""
    return f"round({total(increase(family, suffix, **only), *by)})"


def change(family: Family, suffix: str = "", window: str = RATE, **only: str) -> str:
    """Increase per second or, over the time shown, in all: for ratios it is the same."""
    if window == RATE:
        return rate(family, suffix, **only)
    return increase(family, suffix, window, **only)


def total(expression: str, *by: str) -> str:
    """Sum, by label where some are named."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def ratio(part: str, whole: str) -> str:
    """Divide, where there is something to divide by; otherwise there is no result."""
    return f"{part} / ({whole} > 0)"


def share(part: Family, whole: Family, *by: str, window: str = RATE, **only: str) -> str:
    """Divide the increase of one counter by that of another."""
    return ratio(
        total(change(part, window=window, **only), *by),
        total(change(whole, window=window, **only), *by),
    )


def mean(family: Family, *by: str, window: str = RATE, **only: str) -> str:
    """Mean of a histogram's observations."""
    return ratio(
        total(change(family, "_sum", window, **only), *by),
        total(change(family, "_count", window, **only), *by),
    )


def quantile(number: float, family: Family, *by: str, window: str = RATE, **only: str) -> str:
    """Quantile of a histogram's observations; no result where there are none."""
    buckets = total(change(family, "_bucket", window, **only), "le", *by)
    # Without observations the quantile is NaN, and a table would show that.
    return f"histogram_quantile({number:g}, {buckets}) >= 0"


def under(bound: float, family: Family, *by: str, window: str = RATE) -> str:
    """Part of a histogram's observations that is at most `bound`.

    Raises:
        ValueError: The bound is not one of the histogram's; it cannot tell.
    """
    if bound not in family.buckets:
        raise ValueError(f"metric {family.name!r}: {bound:g} is no bucket bound")
    return ratio(
        total(change(family, "_bucket", window, le=f"{float(bound)}"), *by),
        total(change(family, "_count", window), *by),
    )


def per_hour(expression: str) -> str:
    """Convert a rate per second to one per hour."""
    return f"3600 * {expression}"


def ours(expression: str) -> str:
    """Keep series of our own jobs; drop those of other programs with the same metric.

    `up` is one: with all jobs chosen its selector finds every target of Prometheus.
    """
    return f"{expression} and on (job) last_over_time({series(contract.BUILD_INFO)}[{SHOWN}])"


def or_zero(expression: str) -> str:
    """Show 0 where there are no series: for counts only, never for a latency or a cost."""
    return f"{expression} or vector(0)"
