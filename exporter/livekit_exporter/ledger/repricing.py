"""Giving calls other costs: read call by call, changed all at once or not at all."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    case,
    func,
    insert,
    select,
    true,
    update,
)

from livekit_exporter.ledger import deliveries, schema
from livekit_exporter.ledger.database import Database, LedgerError
from livekit_exporter.ledger.locate import locate
from livekit_exporter.ledger.rows import (
    DUST_USD,
    USAGE_COLUMNS,
    ModelKey,
    SessionRow,
    TurnRow,
    UsageRow,
    UserKey,
    digest,
    usage_row,
    utc_day,
)

_CHUNK: Final = 1000

# Stands for the cost that is not known, where two have to be compared.
_UNPRICED: Final = -1.0


class Call(NamedTuple):
    """A call that is over, with its replies and all its usage."""

    session: SessionRow
    instance: str
    turns: Sequence[TurnRow]
    usage: Sequence[UsageRow]


@dataclass(frozen=True, slots=True)
class Which:
    """What is to be repriced: usage of a time, and of given stages, providers and models.

    Args:
        since: First moment, Unix seconds.
        until: First moment after it.
        equal: Values that a column may have, by its name.
    """

    since: float
    until: float
    equal: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def holds(self, row: UsageRow) -> bool:
        """Whether a row is among it."""
        return self.since <= row.at < self.until and all(
            getattr(row, name) in values for name, values in self.equal.items()
        )


class RowChange(NamedTuple):
    """A usage row, and the same row with another cost."""

    row: UsageRow
    now: UsageRow


class TurnChange(NamedTuple):
    """Other sums of a reply."""

    speech: str
    cost_usd: float
    wasted_usd: float


class CallChange(NamedTuple):
    """What another cost of some of its usage makes of a call."""

    call: Call
    cost_usd: float
    wasted_usd: float
    unpriced_requests: int
    unassigned_usd: float
    turns: Sequence[TurnChange]
    usage: Sequence[RowChange]


class Gain(NamedTuple):
    """What a line of a rollup gains, or loses."""

    unpriced_requests: int = 0
    cost_usd: float = 0.0
    wasted_usd: float = 0.0

    def plus(self, other: "Gain") -> "Gain":
        """The sum of both."""
        return Gain(
            self.unpriced_requests + other.unpriced_requests,
            self.cost_usd + other.cost_usd,
            self.wasted_usd + other.wasted_usd,
        )


class ModelChange(NamedTuple):
    """Sums of the rows of one model whose price or cost changed."""

    changed: int = 0
    old_usd: float = 0.0
    new_usd: float = 0.0
    old_unpriced_requests: int = 0
    new_unpriced_requests: int = 0


class ModelName(NamedTuple):
    """Whose model of which stage, reported or estimated."""

    stage: str
    provider: str
    model: str
    source: str


class Repricing(NamedTuple):
    """A line of the history."""

    repricing: int
    at: float
    since: float
    until: float
    prices_version: str
    name: ModelName
    change: ModelChange


def unpriced(row: UsageRow, status: str) -> int:
    """Requests of a row that have no price, where it has this status."""
    return max(row.requests, 1) if status == "unpriced" else 0


class _Spool:
    """Rows on disk, read back in chunks: there may be a million of them."""

    def __init__(self) -> None:
        self._file: IO[str] = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - see `close`
        self.rows = 0

    def close(self) -> None:
        self._file.close()

    def add(self, row: Mapping[str, object]) -> None:
        self._file.write(f"{json.dumps(row)}\n")
        self.rows += 1

    def chunks(self) -> Iterator[list[dict[str, object]]]:
        self._file.seek(0)
        while lines := list(islice(self._file, _CHUNK)):
            yield list(map(json.loads, lines))


class Changes:
    """All that a repricing changes, until it is applied."""

    def __init__(self) -> None:
        self.models: dict[ModelName, ModelChange] = {}
        self.calls, self.turns, self.usage = _Spool(), _Spool(), _Spool()
        self.by_model: dict[tuple[str, ModelKey], Gain] = {}
        self.by_user: dict[tuple[str, UserKey], Gain] = {}

    def close(self) -> None:
        """Let go of what is on disk."""
        for spool in (self.calls, self.turns, self.usage):
            spool.close()

    def add(self, change: CallChange) -> None:
        """Take in what changes of one call."""
        session, instance = change.call.session, change.call.instance
        whose = {"of_session": session.session, "of_instance": instance}
        self.calls.add(
            {
                **whose,
                "was_usd": session.cost_usd,
                "was_wasted": session.wasted_usd,
                "was_unpriced": session.unpriced_requests,
                "new_usd": change.cost_usd,
                "new_wasted": change.wasted_usd,
                "new_unpriced": change.unpriced_requests,
                "new_unassigned": change.unassigned_usd,
            }
        )
        for turn in change.turns:
            self.turns.add(
                {
                    **whose,
                    "of_speech": turn.speech,
                    "new_usd": turn.cost_usd,
                    "new_wasted": turn.wasted_usd,
                }
            )
        for changed in change.usage:
            self.usage.add(
                {
                    "of_id": changed.row.id,
                    "was_usd": _UNPRICED if changed.row.cost_usd is None else changed.row.cost_usd,
                    "new_status": changed.now.status,
                    "new_usd": changed.now.cost_usd,
                    "new_output": changed.now.output_usd,
                    "new_price": changed.now.price,
                    "new_version": changed.now.prices_version,
                    "new_reason": changed.now.waste_reason,
                    "new_wasted": changed.now.wasted_usd,
                }
            )
            self._sum(instance, changed)

    def _sum(self, instance: str, changed: RowChange) -> None:
        row, now = changed
        before, after = unpriced(row, row.status), unpriced(row, now.status)
        old, new = row.cost_usd or 0.0, now.cost_usd or 0.0
        name = ModelName(row.stage, row.provider, row.model, row.source)
        held = self.models.get(name, ModelChange())
        self.models[name] = ModelChange(
            held.changed + 1,
            held.old_usd + old,
            held.new_usd + new,
            held.old_unpriced_requests + before,
            held.new_unpriced_requests + after,
        )
        gain = Gain(after - before, new - old, now.wasted_usd - row.wasted_usd)
        day = utc_day(row.at)
        model = (
            instance,
            ModelKey(day, row.agent, row.stage, row.provider, row.model, row.source),
        )
        user = (instance, UserKey(day, row.agent, row.user, row.labels, row.source))
        self.by_model[model] = self.by_model.get(model, Gain()).plus(gain)
        self.by_user[user] = self.by_user.get(user, Gain()).plus(gain)


def over(connection: Connection, which: Which) -> list[tuple[str, str]]:
    """Calls that are over and have some of that usage, as (session, instance)."""
    query = _calls(which, ended=True)
    return sorted((row.session, row.instance) for row in connection.execute(query))


def going_on(connection: Connection, which: Which) -> int:
    """How many calls have some of that usage and are not over."""
    query = select(func.count()).select_from(_calls(which, ended=False).subquery())
    return connection.execute(query).scalar() or 0


def kept_from(connection: Connection) -> float:
    """Since when all calls are kept, Unix seconds; of older ones only rollups may be left."""
    query = select(func.max(schema.instances.c.kept_from))
    return connection.execute(query).scalar() or 0.0


def read(connection: Connection, calls: Sequence[tuple[str, str]]) -> list[Call]:
    """Calls with their replies and usage.

    Args:
        connection: To read with.
        calls: Some of `over`; all of them are in memory at once.
    """
    usage: dict[tuple[str, str], list[UsageRow]] = {each: [] for each in calls}
    turns: dict[tuple[str, str], list[TurnRow]] = {each: [] for each in calls}
    columns = schema.usage.c
    used = (
        select(columns.instance, *(columns[name] for name in USAGE_COLUMNS))
        .where(_among(schema.usage, calls))
        .order_by(columns.id)
    )
    for instance, *values in connection.execute(used):
        used_row = usage_row(values)
        if (used_row.session, instance) in usage:
            usage[used_row.session, instance].append(used_row)
    for row in connection.execute(_whole(schema.turns, calls)).mappings():
        turn = dict(row)
        whose = (turn["session"], turn.pop("instance"))
        if whose in turns:
            turns[whose].append(TurnRow(**turn))
    found = []
    for row in connection.execute(_whole(schema.sessions, calls)).mappings():
        held = dict(row)
        whose = (held["session"], held.pop("instance"))
        if whose in usage:
            found.append(Call(SessionRow(**held), whose[1], turns[whose], usage[whose]))
    return found


def apply(where: Path | str, changes: Changes, which: Which, version: str) -> int:
    """Change everything in one transaction; sidecars that go on writing take notice.

    Args:
        where: The ledger's file, or the URL of a PostgreSQL database.
        changes: What is changed.
        which: What was repriced, for the history.
        version: Of the prices, for the history.

    Returns:
        Number of this repricing.

    Raises:
        LedgerError: Nothing was changed, because it cannot be written, or because a call that
            is to be changed has changed since it was read.
    """
    database = locate(where)
    with closing(database), database.transaction("write", alone=True) as connection:
        for statement, spool in (
            (_CHANGE_USAGE, changes.usage),
            (_CHANGE_CALL, changes.calls),
            (_CHANGE_TURN, changes.turns),
        ):
            for rows in spool.chunks():
                _execute(database, connection, statement, rows)
        for rows in changes.calls.chunks():
            deliveries.change(
                connection, [(str(row["of_session"]), str(row["of_instance"])) for row in rows]
            )
        _roll_up(database, connection, changes)
        return _note(connection, changes, which, version)


def history(connection: Connection) -> list[Repricing]:
    """What earlier repricings changed, the last one first."""
    columns = schema.repricings.c
    query = select(schema.repricings).order_by(
        columns.repricing.desc(), columns.stage, columns.provider, columns.model
    )
    return [
        Repricing(
            **{name: row[name] for name in Repricing._fields[:-2]},
            name=ModelName(*(row[name] for name in ModelName._fields)),
            change=ModelChange(*(row[name] for name in ModelChange._fields)),
        )
        for row in connection.execute(query).mappings()
    ]


_usage, _sessions, _turns = schema.usage.c, schema.sessions.c, schema.turns.c

_CHANGE_USAGE: Final = (
    update(schema.usage)
    .where(
        _usage.id == bindparam("of_id"),
        func.coalesce(_usage.cost_usd, _UNPRICED) == bindparam("was_usd", type_=Float),
    )
    .values(
        status=bindparam("new_status"),
        cost_usd=bindparam("new_usd"),
        output_usd=bindparam("new_output"),
        price=bindparam("new_price"),
        prices_version=bindparam("new_version"),
        waste_reason=bindparam("new_reason"),
        wasted_usd=bindparam("new_wasted"),
    )
)
_CHANGE_CALL: Final = (
    update(schema.sessions)
    .where(
        _sessions.session == bindparam("of_session"),
        _sessions.instance == bindparam("of_instance"),
        _sessions.ended.is_(True),
        _sessions.cost_usd == bindparam("was_usd"),
        _sessions.wasted_usd == bindparam("was_wasted"),
        _sessions.unpriced_requests == bindparam("was_unpriced"),
    )
    .values(
        cost_usd=bindparam("new_usd"),
        wasted_usd=bindparam("new_wasted"),
        unpriced_requests=bindparam("new_unpriced"),
        unassigned_usd=bindparam("new_unassigned"),
        # Its export says what it cost, so it is written again.
        exported_at=None,
    )
)
_CHANGE_TURN: Final = (
    update(schema.turns)
    .where(
        _turns.session == bindparam("of_session"),
        _turns.instance == bindparam("of_instance"),
        _turns.speech == bindparam("of_speech"),
    )
    .values(cost_usd=bindparam("new_usd"), wasted_usd=bindparam("new_wasted"))
)


def _gaining(table: Table) -> Update:
    """Add to a line of a rollup; what differences of doubles leave of nothing is nothing."""

    def added(name: str) -> ColumnElement[float]:
        total = table.c[name] + bindparam(f"more_{name}", type_=Float)
        return case((func.abs(total) < DUST_USD, 0.0), else_=total)

    columns = table.c
    return (
        update(table)
        .where(
            columns["day"] == bindparam("of_day"),
            columns["instance"] == bindparam("of_instance"),
            *(columns[name] == bindparam(f"of_{name}") for name in _KEYS[table.name]),
        )
        .values(
            unpriced_requests=columns["unpriced_requests"] + bindparam("more_unpriced_requests"),
            cost_usd=added("cost_usd"),
            wasted_usd=added("wasted_usd"),
        )
    )


_KEYS: Final = {
    schema.daily.name: ("agent", "stage", "provider", "model", "source"),
    schema.daily_users.name: ("key",),
}


def _roll_up(database: Database, connection: Connection, changes: Changes) -> None:
    def more(gain: Gain) -> dict[str, object]:
        return {f"more_{name}": amount for name, amount in gain._asdict().items()}

    for table, lines in (
        (
            schema.daily,
            [
                {
                    **{f"of_{name}": value for name, value in key._asdict().items()},
                    "of_instance": instance,
                    **more(gain),
                }
                for (instance, key), gain in changes.by_model.items()
            ],
        ),
        (
            schema.daily_users,
            [
                {
                    "of_day": user.day,
                    "of_key": digest(*user[1:]),
                    "of_instance": instance,
                    **more(gain),
                }
                for (instance, user), gain in changes.by_user.items()
            ],
        ),
    ):
        for begin in range(0, len(lines), _CHUNK):
            _execute(database, connection, _gaining(table), lines[begin : begin + _CHUNK])


def _execute(
    database: Database,
    connection: Connection,
    statement: Update,
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Change rows, every one of which must be as it was read."""
    if connection.execute(statement, rows).rowcount != len(rows):
        raise LedgerError(
            f"cannot write ledger '{database.name}': a call changed while it was repriced; nothing"
            " was changed, run it again"
        )


def _note(connection: Connection, changes: Changes, which: Which, version: str) -> int:
    columns = schema.repricings.c
    last = connection.execute(select(func.max(columns.repricing))).scalar() or 0
    number = int(last) + 1
    connection.execute(
        insert(schema.repricings),
        [
            {
                "repricing": number,
                "at": time.time(),
                "since": which.since,
                "until": which.until,
                "prices_version": version,
                **name._asdict(),
                **change._asdict(),
            }
            for name, change in changes.models.items()
        ],
    )
    connection.execute(update(schema.instances).values(repriced=number))
    return number


def _calls(which: Which, *, ended: bool) -> Select[tuple[str, str]]:
    usage, calls = schema.usage.c, schema.sessions.c
    return (
        select(usage.session, usage.instance)
        .join_from(
            schema.usage,
            schema.sessions,
            and_(usage.session == calls.session, usage.instance == calls.instance),
        )
        .where(
            usage.at >= which.since,
            usage.at < which.until,
            and_(true(), *(usage[name].in_(values) for name, values in which.equal.items())),
            calls.ended.is_(ended),
        )
        .distinct()
    )


def _whole(table: Table, calls: Sequence[tuple[str, str]]) -> Select[Any]:
    return select(table).where(_among(table, calls))


def _among(table: Table, calls: Sequence[tuple[str, str]]) -> ColumnElement[bool]:
    """Rows of these sessions, whatever their instance."""
    return table.c["session"].in_({session for session, _ in calls})
