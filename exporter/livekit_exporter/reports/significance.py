"""Tests of differences against chance.  The same data always gives the same result.

Intervals are of 95 % confidence, and of the second less the first.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isnan, sqrt
from typing import Final

import numpy as np
from scipy import stats

_CONFIDENCE: Final = 0.95
_FEWEST_CALLS: Final = 10
_FEWEST_TRIALS: Final = 20
_FEWEST_BEYOND: Final = 5
_FEWEST_EXPECTED: Final = 5
_RESAMPLES: Final = 9999
_SEED: Final = 1
_NOTHING: Final = 1e-9
"""Part of a value that may be left by adding doubles in another order."""


@dataclass(frozen=True, slots=True)
class TestedDifference:
    """The result of a test.

    Args:
        low: Lower end of the interval.
        high: Upper end of the interval.
        by_chance: True if chance alone may explain the difference.
        method: Name of the test.
    """

    low: float
    high: float
    by_chance: bool
    method: str


def of_ratios(
    first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]]
) -> TestedDifference | None:
    """Compare two ratios of sums, such as cost by minutes, over calls that vary in both.

    A call's share in the ratio's error is linear in good approximation (the delta method),
    so Welch's test compares means of these shares.

    Args:
        first: Numerator and denominator of each call.
        second: The same.

    Returns:
        `None` when there are too few calls.
    """
    if min(len(first), len(second)) < _FEWEST_CALLS:
        return None
    a, b = _linear(first), _linear(second)
    difference = float(b.mean() - a.mean())
    with warnings.catch_warnings():
        # Calls that are all alike have no spread, and then any difference is one.
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(_CONFIDENCE)
    low, high = float(interval.low), float(interval.high)
    if isnan(low) or isnan(high):
        low = high = difference
    nothing = abs(difference) <= _NOTHING * abs(float(a.mean()))
    return TestedDifference(low, high, nothing or low <= 0 <= high, "Welch's t-test over calls")


def of_quantiles(
    first: Sequence[float], second: Sequence[float], share: float
) -> TestedDifference | None:
    """Compare a quantile of two samples by the bootstrap.

    A resample's quantile is one of the sample's values, whose place follows a beta
    distribution, so that no sample has to be drawn.

    Args:
        first: Values.
        second: Values.
        share: Which quantile, 0.95 for p95.

    Returns:
        `None` when there are too few values.
    """
    fewest = max(_FEWEST_TRIALS, ceil(_FEWEST_BEYOND / (1 - share)))
    if min(len(first), len(second)) < fewest:
        return None
    random = np.random.default_rng(_SEED)
    drawn = _quantiles(second, share, random) - _quantiles(first, share, random)
    tail = (1 - _CONFIDENCE) / 2
    low, high = (float(end) for end in np.quantile(drawn, [tail, 1 - tail]))
    return TestedDifference(low, high, low <= 0 <= high, "bootstrap over turns")


def of_rates(first: tuple[int, int], second: tuple[int, int]) -> TestedDifference | None:
    """Compare two rates.

    Args:
        first: How often it happened, and how often it could have.
        second: The same.

    Returns:
        `None` when it could have happened too rarely.
    """
    (hits, trials), (other_hits, other_trials) = first, second
    if min(trials, other_trials) < _FEWEST_TRIALS:
        return None
    table = np.array([[hits, trials - hits], [other_hits, other_trials - other_hits]])
    share = (hits + other_hits) / (trials + other_trials)
    expected = min(trials, other_trials) * min(share, 1 - share)
    if expected < _FEWEST_EXPECTED:
        chance, method = float(stats.fisher_exact(table).pvalue), "Fisher's exact test"
    else:
        chance = float(stats.chi2_contingency(table, correction=False).pvalue)
        method = "two-proportion z-test"
    low, high = _newcombe(first, second)
    return TestedDifference(low, high, chance >= 1 - _CONFIDENCE, method)


def _linear(pairs: Sequence[tuple[float, float]]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Values whose mean is the ratio of the sums, and whose spread is that of the ratio."""
    values = np.array(pairs, dtype=float)
    over, under = values[:, 0], values[:, 1]
    ratio = over.sum() / under.sum()
    return np.asarray(ratio + (over - ratio * under) / under.mean())


def _quantiles(
    values: Sequence[float], share: float, random: np.random.Generator
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    held = np.sort(np.asarray(values, dtype=float))
    place = ceil(len(held) * share)
    drawn = random.beta(place, len(held) - place + 1, size=_RESAMPLES)
    return np.asarray(held[np.ceil(drawn * len(held)).astype(int) - 1])


def _newcombe(first: tuple[int, int], second: tuple[int, int]) -> tuple[float, float]:
    """Interval of a difference of rates, from Wilson's interval of each (Newcombe, 1998)."""
    ends = []
    for hits, trials in (first, second):
        interval = stats.binomtest(hits, trials).proportion_ci(_CONFIDENCE, method="wilson")
        ends.append((hits / trials, float(interval.low), float(interval.high)))
    (rate, low, high), (other, other_low, other_high) = ends
    difference = other - rate
    return (
        difference - sqrt((other - other_low) ** 2 + (high - rate) ** 2),
        difference + sqrt((other_high - other) ** 2 + (rate - low) ** 2),
    )
