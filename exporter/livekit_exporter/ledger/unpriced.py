"""Usage that the ledger has no price for, read beside a sidecar that goes on writing.

Nothing is written, and nobody waits: a reader of SQLite's write-ahead log holds up no
writer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection, case, create_engine, func, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.database import Database, LedgerError
from livekit_exporter.record import Model, Usage, UsageReported

_ROWS_AT_A_TIME: Final = 1000
_QUANTITIES: Final = tuple(name for name, _ in schema.QUANTITIES)


class Seen(NamedTuple):
    """All usage of one model that has no price."""

    model: Model
    """As the plugin reports it."""
    requests: int
    since: float
    """Unix time of the first of it."""
    last: float
    usage: Usage
    """Sums."""


def models(path: Path) -> list[Seen]:
    """Models that were used and had no price then.

    Raises:
        LedgerError: There is no ledger, or it cannot be read.
    """
    rows = schema.usage.c
    named = (rows.stage, rows.reported_provider, rows.model, rows.label)
    query = (
        select(
            *named,
            func.sum(case((rows.requests > 0, rows.requests), else_=1)),
            func.min(rows.at),
            func.max(rows.at),
            *(func.sum(rows[name]) for name in _QUANTITIES),
        )
        .where(rows.status == "unpriced")
        .group_by(*named)
    )
    with _reading(path) as connection:
        return [
            Seen(
                Model(stage=stage, provider=provider, model=model, label=label),
                requests, since, last, Usage(**dict(zip(_QUANTITIES, sums, strict=True))),
            )
            for stage, provider, model, label, requests, since, last, *sums in connection.execute(
                query
            )
        ]  # fmt: skip


def reports(path: Path, model: Model) -> Iterator[UsageReported]:
    """Every report of a model's usage that has no price, as the agent wrote it.

    Raises:
        LedgerError: There is no ledger, or it cannot be read.
    """
    rows = schema.usage.c
    query = select(
        rows.session, rows.at, rows.requests, rows.streamed, rows.connection, rows.request_seconds,
        *(rows[name] for name in _QUANTITIES),
    ).where(
        rows.status == "unpriced",
        rows.stage == model.stage,
        rows.reported_provider == model.provider,
        rows.model == model.model,
        rows.label == model.label,
    )  # fmt: skip
    with _reading(path) as connection:
        for session, at, requests, streamed, opened, seconds, *quantities in connection.execute(
            query
        ):
            yield UsageReported(
                session=session,
                at=at,
                stage=model.stage,
                provider=model.provider,
                model=model.model,
                label=model.label,
                requests=requests,
                streamed=streamed,
                connection=opened,
                request_seconds=seconds,
                usage=Usage(**dict(zip(_QUANTITIES, quantities, strict=True))),
            )


@contextmanager
def _reading(path: Path) -> Iterator[Connection]:
    if not path.is_file():
        raise LedgerError(
            f"cannot read ledger '{path}': there is none; a sidecar makes it, name its directory"
            " with --data-dir"
        )
    url = URL.create(
        "sqlite", database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"}
    )
    engine = create_engine(url)
    try:
        with engine.connect().execution_options(yield_per=_ROWS_AT_A_TIME) as connection:
            yield connection
    except SQLAlchemyError as error:
        raise Database(path).error("read", error) from error
    finally:
        engine.dispose()
