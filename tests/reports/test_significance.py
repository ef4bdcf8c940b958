"""Whether a difference is more than chance: no false alarm more often than promised."""

import numpy as np
import pytest

from livekit_exporter.reports import significance

RANDOM = np.random.default_rng(7)


def calls(cost_per_minute: float, count: int) -> list[tuple[float, float]]:
    """Cost and minutes of calls that vary in both."""
    minutes = RANDOM.lognormal(1, 0.5, count)
    return [
        (float(length * cost_per_minute * RANDOM.lognormal(0, 0.3)), float(length))
        for length in minutes
    ]


def waits(median: float, count: int) -> list[float]:
    """Latencies as they are distributed: with a long tail."""
    return [float(each) for each in RANDOM.lognormal(np.log(median), 0.5, count)]


def test_a_clear_difference_is_found() -> None:
    """With an interval that holds it."""
    ratio = significance.of_ratios(calls(0.02, 300), calls(0.04, 300))
    median = significance.of_quantiles(waits(0.8, 500), waits(1.6, 500), 0.5)
    tail = significance.of_quantiles(waits(0.8, 500), waits(1.6, 500), 0.95)
    rate = significance.of_rates((30, 300), (90, 300))

    for found in (ratio, median, tail, rate):
        assert found is not None
        assert not found.by_chance
        assert 0 < found.low < found.high
    assert median is not None
    assert median.low < 0.8 < median.high
    assert rate is not None
    assert rate.low < 0.2 < rate.high
    assert rate.method == "two-proportion z-test"


def test_the_order_of_the_sides_is_the_sign() -> None:
    """The second less the first."""
    found = significance.of_rates((90, 300), (30, 300))

    assert found is not None
    assert found.high < 0


def test_equal_sides_seldom_look_different() -> None:
    """One time in twenty, as 95 % confidence promises; here no more than one in eight."""
    tries, alarms = 200, {"ratio": 0, "median": 0, "tail": 0, "rate": 0}
    for _ in range(tries):
        hits = [int(RANDOM.binomial(200, 0.15)) for _ in range(2)]
        for name, found in (
            ("ratio", significance.of_ratios(calls(0.02, 60), calls(0.02, 60))),
            ("median", significance.of_quantiles(waits(0.8, 150), waits(0.8, 150), 0.5)),
            ("tail", significance.of_quantiles(waits(0.8, 150), waits(0.8, 150), 0.95)),
            ("rate", significance.of_rates((hits[0], 200), (hits[1], 200))),
        ):
            assert found is not None
            alarms[name] += not found.by_chance

    assert max(alarms.values()) < tries / 8, alarms


def test_too_little_data_is_no_answer() -> None:
    """A handful of calls says nothing, however different they are."""
    assert significance.of_ratios([(1, 1)] * 9, [(9, 1)] * 100) is None
    assert significance.of_quantiles([1.0] * 19, [9.0] * 100, 0.5) is None
    assert significance.of_quantiles([1.0] * 99, [9.0] * 100, 0.95) is None
    assert significance.of_rates((0, 19), (100, 100)) is None


def test_few_cases_are_tested_exactly() -> None:
    """The normal distribution is no model of three errors."""
    found = significance.of_rates((0, 400), (3, 400))

    assert found is not None
    assert found.method == "Fisher's exact test"
    assert found.by_chance


@pytest.mark.parametrize("other", [1.0, 2.0])
def test_values_without_any_spread(other: float) -> None:
    """Simulated calls may all be alike; then a difference is one, and none is none."""
    ratio = significance.of_ratios([(1.0, 1.0)] * 20, [(other, 1.0)] * 20)
    tail = significance.of_quantiles([1.0] * 200, [other] * 200, 0.95)

    for found in (ratio, tail):
        assert found is not None
        assert found.by_chance == (other == 1.0)


def test_answer_is_the_same_every_time() -> None:
    """The bootstrap draws with a fixed seed."""
    first, second = waits(0.8, 200), waits(0.9, 200)

    assert significance.of_quantiles(first, second, 0.95) == significance.of_quantiles(
        first, second, 0.95
    )
