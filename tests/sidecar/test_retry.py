"""What follows from an attempt: pauses, dead letters, and what `Retry-After` may ask for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_exporter.ledger.outbox import LONGEST_PAUSE_SECONDS
from livekit_exporter.ledger.rows import DeliveryRow
from livekit_exporter.sidecar.webhook.retry import (
    REFUSALS,
    DeliveryAttempt,
    RetryPolicy,
    after,
    backoff_seconds,
    retry_after,
)

NOW = 1_795_000_000.0
ROW = DeliveryRow(
    session="s1", instance="i1", revision=1, state="pending", made_at=NOW, next_attempt_at=NOW
)
POLICY = RetryPolicy(retry_seconds=5, give_up_seconds=72 * 3600)


def tried(*answers: DeliveryAttempt, row: DeliveryRow = ROW, every: float = 10) -> DeliveryRow:
    """A delivery after attempts at equal intervals, the longest pauses by chance."""
    for number, answer in enumerate(answers):
        row = after(row, answer, NOW + number * every, POLICY, 1.0)
    return row


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_what_was_taken_is_delivered(status: int) -> None:
    row = tried(DeliveryAttempt(None, "refused"), DeliveryAttempt(status))

    assert (row.state, row.delivered_at, row.attempts) == ("delivered", NOW + 10, 2)
    assert (row.status, row.error) == (status, "")


def test_pauses_double_up_to_an_hour_and_chance_halves_them_at_most() -> None:
    assert [backoff_seconds(number, 5, 1.0) for number in (1, 2, 3, 10, 11, 10_000)] == [
        *(5, 10, 20, 2560, 3600, 3600)
    ]
    assert [backoff_seconds(number, 5, 0.0) for number in (1, 2, 10_000)] == [2.5, 5, 1800]


@given(st.integers(1, 10**6), st.floats(0.001, 3600), st.floats(0, 1, exclude_max=True))
def test_no_pause_is_longer_than_an_hour_or_none(
    attempts: int, first: float, chance: float
) -> None:
    """Whatever is configured."""
    assert 0 < backoff_seconds(attempts, first, chance) <= LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize("status", [None, 100, 301, 302, 308, 408, 409, 425, 429, 500, 503, 599])
def test_what_may_pass_is_repeated_for_hours(status: int | None) -> None:
    """However often it happens."""
    row = tried(*[DeliveryAttempt(status, "it failed")] * 50)

    assert (row.state, row.attempts, row.refusals) == ("pending", 50, 0)
    assert (row.error, row.delivered_at) == ("it failed", None)
    assert row.next_attempt_at == NOW + 49 * 10 + 3600


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 451])
def test_a_refusal_is_repeated_ten_times(status: int) -> None:
    """A receiver that is just being deployed refuses what it takes a minute later."""
    almost = tried(*[DeliveryAttempt(status, "no")] * (REFUSALS - 1))

    assert almost.state == "pending"
    assert tried(DeliveryAttempt(status, "no"), row=almost).state == "dead"
    assert tried(DeliveryAttempt(200), row=almost).state == "delivered"


def test_failures_of_another_kind_are_no_refusals() -> None:
    """After a night without a network the receiver has all its chances."""
    row = tried(*[DeliveryAttempt(None, "no network")] * 30, DeliveryAttempt(404, "no"))

    assert (row.state, row.refusals) == ("pending", 1)


def test_gone_is_gone() -> None:
    assert tried(DeliveryAttempt(410, "HTTP 410 Gone")).state == "dead"


def test_the_last_attempt_is_the_first_after_the_limit() -> None:
    """Counted from the first attempt, so time that the sidecar was down before costs nothing."""
    late = replace(ROW, made_at=NOW - 10 * 365 * 86400)
    first = tried(DeliveryAttempt(500, "no"), row=late)
    limit = POLICY.give_up_seconds

    assert first.state == "pending"
    assert after(first, DeliveryAttempt(500), NOW + limit - 1, POLICY, 1.0).state == "pending"
    assert after(first, DeliveryAttempt(500), NOW + limit, POLICY, 1.0).state == "dead"
    assert after(first, DeliveryAttempt(200), NOW + limit, POLICY, 1.0).state == "delivered"


def test_the_receiver_may_ask_for_more_time_not_for_less() -> None:
    assert tried(DeliveryAttempt(503, "x", retry_after=120.0)).next_attempt_at == NOW + 120
    assert tried(DeliveryAttempt(503, "x", retry_after=0.0)).next_attempt_at == NOW + 5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 0 ", 0),
        ("99999999999999999999", LONGEST_PAUSE_SECONDS),
        ("Wed, 18 Nov 2026 11:06:40 GMT", 0),
        ("Wed, 18 Nov 2026 11:07:40 -0000", 60),
        ("Wed, 18 Nov 2126 11:06:40 GMT", LONGEST_PAUSE_SECONDS),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("١٢", None),
        ("Wed, 99 Nov 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(
    header: str | None, seconds: float | None
) -> None:
    """And nothing else; a receiver that writes nonsense gets our own pauses."""
    assert retry_after(header, NOW) == seconds
