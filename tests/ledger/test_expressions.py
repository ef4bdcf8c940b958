"""Rules that Python and SQL both apply: for every row they give the same."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from livekit_exporter.ledger import expressions, schema
from livekit_exporter.ledger.backends.locate import reading
from livekit_exporter.ledger.expressions import Span, unpriced_requests, within
from livekit_exporter.ledger.rows import Batch, UsageRow
from livekit_exporter.ledger.store import Ledger
from livekit_exporter.prices import rules
from livekit_exporter.record import Usage, at_least_one
from tests.ledger.test_store import usage
from tests.records import AT

TOKENS = st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 10**6))
USAGE = st.builds(
    Usage, **{each.name: TOKENS for each in fields(Usage) if each.name.endswith("_tokens")}
)
ROWS = st.builds(
    lambda counted, requests, priced, stage, offset: replace(
        usage(at=AT + offset, cost=0.5 if priced else None),
        usage=counted,
        requests=requests,
        stage=stage,
    ),
    USAGE,
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(("llm", "tts", "stt")),
    st.integers(-2, 2),
)
SPANS = st.builds(
    lambda since, length, stages: Span(
        AT + since, AT + since + length, {} if stages is None else {"stage": stages}
    ),
    st.integers(-3, 2),
    st.integers(0, 4),
    st.none() | st.lists(st.sampled_from(("llm", "tts")), max_size=2),
)


def ledger_of(path: Path, rows: Sequence[UsageRow]) -> Path:
    """A new ledger with these rows."""
    with closing(Ledger(path)) as ledger:
        ledger.commit(Batch(usage=list(rows)))
    return path


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=12))
def test_sql_counts_as_python_does(
    tmp_path_factory: pytest.TempPathFactory, rows: list[UsageRow]
) -> None:
    """Requests, tokens in kinds that exclude one another, and what they are made of."""
    query = select(
        expressions.REQUESTS,
        expressions.UNPRICED_REQUESTS,
        expressions.COST_USD,
        expressions.ASKED_TOKENS,
        expressions.ANSWERED_TOKENS,
        expressions.CACHED_TOKENS,
    ).order_by(schema.usage.c.id)
    with reading(ledger_of(tmp_path_factory.mktemp("rules") / "ledger.db", rows)) as connection:
        found = connection.execute(query).all()

    for row, (requests, unpriced, cost, tokens, answered, cached) in zip(rows, found, strict=True):
        assert requests == at_least_one(row.requests)
        assert unpriced == unpriced_requests(row.requests, row.status)
        assert cost == (row.cost_usd or 0.0)
        assert tokens == rules.asked_tokens(row.usage)
        assert answered == rules.answered_tokens(row.usage, tokens)
        buckets = rules.token_buckets(row.usage)
        by_kind = {
            kind: sum(count for (own, _), count in buckets.items() if own == kind)
            for kind in ("input", "cached_input", "cache_write", "output")
        }
        written = row.usage.cache_write_tokens
        assert cached == by_kind["cached_input"]
        assert written == by_kind["cache_write"]
        assert tokens - cached - written == by_kind["input"]
        assert answered == by_kind["output"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=12), SPANS)
def test_sql_selects_the_rows_that_python_does(
    tmp_path_factory: pytest.TempPathFactory, rows: list[UsageRow], span: Span
) -> None:
    """From the first moment on, until before the last, with these values."""
    number = schema.usage.c.id
    query = select(number).where(within(schema.usage, span)).order_by(number)
    with reading(ledger_of(tmp_path_factory.mktemp("rules") / "ledger.db", rows)) as connection:
        found = connection.execute(query).scalars().all()

    assert found == [position for position, row in enumerate(rows, start=1) if span.holds(row)]
