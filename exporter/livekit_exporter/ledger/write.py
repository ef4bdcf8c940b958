"""Writes one batch of a sidecar within its transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from sqlalchemy import Connection, Table, bindparam, update

from livekit_exporter.calls.sizes import Sizes
from livekit_exporter.ledger import outbox, schema
from livekit_exporter.ledger.backends.database import Database
from livekit_exporter.ledger.rollups import rolled_up
from livekit_exporter.ledger.rows import (
    FAILURE_COLUMNS,
    MISSING_COLUMNS,
    NEW_USAGE_COLUMNS,
    Batch,
    ModelSums,
    SeriesRow,
    UserSums,
    digest,
    failure_values,
    missing_values,
    usage_values,
)


@dataclass(frozen=True, slots=True)
class BatchWriter:
    """Writes rows of one instance within one transaction.

    Args:
        database: For its way to insert.
        connection: In a transaction that writes.
        instance: Id of the data directory that the rows came through.
    """

    database: Database
    connection: Connection
    instance: str

    def write(self, batch: Batch) -> None:
        """Write every row of a batch, and add what they come to to the rollups."""
        self._answers(batch)
        self._insert(schema.usage, NEW_USAGE_COLUMNS, list(map(usage_values, batch.usage)))
        self._wasted(batch)
        self._insert(schema.failures, FAILURE_COLUMNS, list(map(failure_values, batch.failures)))
        self._insert(schema.missing, MISSING_COLUMNS, list(map(missing_values, batch.missing)))
        # A call that changes has to be exported again.
        self._replace(
            schema.sessions, [{**vars(row), "exported_at": None} for row in batch.sessions.values()]
        )
        self._deliveries(batch)
        self._replace(schema.turns, [vars(row) for row in batch.turns.values()])
        self.series(batch.series)
        self._replace(
            schema.positions,
            [
                {"journal": journal, **asdict(position)}
                for journal, position in batch.positions.items()
            ],
        )
        self._sums(batch)

    def series(self, rows: Sequence[SeriesRow]) -> None:
        """Write values of series."""
        self._replace(
            schema.series,
            [
                {
                    **asdict(row),
                    "key": digest(row.family, row.labels),
                    "counts": None if row.counts is None else json.dumps(row.counts),
                }
                for row in rows
            ],
        )

    def _answers(self, batch: Batch) -> None:
        """Assign usage rows in the ledger that belong to no answer to the one that came."""
        if not batch.answers:
            return
        columns = schema.usage.c
        waiting = columns.session == bindparam("of"), columns.turn.is_(None)
        self.connection.execute(
            update(schema.usage)
            .where(columns.instance == self.instance, *waiting)
            .values(turn=bindparam("answer")),
            [{"of": session, "answer": speech} for session, speech in batch.answers.items()],
        )

    def _wasted(self, batch: Batch) -> None:
        if batch.wasted:
            self.connection.execute(
                update(schema.usage)
                .where(schema.usage.c.id == bindparam("row"))
                .values(wasted_usd=bindparam("usd"), waste_reason=bindparam("reason")),
                [
                    {"row": row, "usd": usd, "reason": reason}
                    for row, (usd, reason) in batch.wasted.items()
                ],
            )

    def _deliveries(self, batch: Batch) -> None:
        outbox.note(self.connection, batch.deliveries)
        ended = [(row.session, self.instance) for row in batch.sessions.values() if row.ended]
        if batch.deliver:
            outbox.add(self.connection, self.database.upsert(schema.deliveries), ended)
        else:
            outbox.change(self.connection, ended)

    def _sums(self, batch: Batch) -> None:
        self._add(
            schema.sizes,
            [{**key._asdict(), **asdict(added)} for key, added in batch.sizes.items()],
            [each.name for each in fields(Sizes)],
        )
        models, users = rolled_up(batch)
        self._add(
            schema.daily,
            [{**key._asdict(), **sums._asdict()} for key, sums in models.items()],
            ModelSums._fields,
        )
        self._add(
            schema.daily_users,
            [
                {"key": digest(*key[1:]), **key._asdict(), **sums._asdict()}
                for key, sums in users.items()
            ],
            UserSums._fields,
        )

    def _insert(
        self, table: Table, names: Sequence[str], rows: Sequence[tuple[object, ...]]
    ) -> None:
        if rows:
            own = [(self.instance, *row) for row in rows]
            self.database.insert(self.connection, table, ("instance", *names), own)

    def _replace(self, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert rows, or overwrite those that exist."""
        if not rows:
            return
        statement = self.database.upsert(table).values(instance=self.instance)
        changed = {
            column.name: statement.excluded[column.name]
            for column in table.columns
            if not column.primary_key
        }
        self.connection.execute(
            statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed),
            rows,
        )

    def _add(self, table: Table, rows: Sequence[Mapping[str, object]], sums: Sequence[str]) -> None:
        """Insert rows, or add their sums to those that exist."""
        if not rows:
            return
        statement = self.database.upsert(table).values(instance=self.instance)
        added = {name: table.c[name] + statement.excluded[name] for name in sums}
        self.connection.execute(
            statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=added),
            rows,
        )
