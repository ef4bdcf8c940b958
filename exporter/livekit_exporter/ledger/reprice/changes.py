"""Collects the changes of a repricing on disk until they are applied: it may be a million rows."""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import islice
from tempfile import TemporaryFile
from typing import IO, Any, Final, NamedTuple, TypeVar

from livekit_exporter.ledger.expressions import unpriced_requests
from livekit_exporter.ledger.reprice.call import CallChange, RowChange
from livekit_exporter.ledger.rows import ModelKey, UserKey, utc_day

CHUNK: Final = 1000
"""Rows that are read back, and written to the database, at a time."""

UNPRICED: Final = -1.0
"""Stands for a cost that is not known where two costs are compared."""

_Sums = TypeVar("_Sums", "Gain", "ModelChange")
_Key = TypeVar("_Key", bound=Hashable)


class Gain(NamedTuple):
    """Amounts that a line of a rollup gains; negative ones are lost."""

    unpriced_requests: int = 0
    cost_usd: float = 0.0
    wasted_usd: float = 0.0


class ModelChange(NamedTuple):
    """Sums of the rows of one model whose price or cost changed."""

    changed: int = 0
    old_usd: float = 0.0
    new_usd: float = 0.0
    old_unpriced_requests: int = 0
    new_unpriced_requests: int = 0


class ModelName(NamedTuple):
    """A model of a stage, reported or estimated."""

    stage: str
    provider: str
    model: str
    source: str


class _Spool:
    """Rows on disk, read back in chunks."""

    def __init__(self) -> None:
        self._file: IO[str] = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - see `close`
        self.rows = 0

    def close(self) -> None:
        self._file.close()

    def add(self, row: Mapping[str, object]) -> None:
        self._file.write(f"{json.dumps(row)}\n")
        self.rows += 1

    def chunks(self) -> Iterator[list[dict[str, Any]]]:
        self._file.seek(0)
        while lines := list(islice(self._file, CHUNK)):
            yield list(map(json.loads, lines))


class Changes:
    """Changes of a repricing, until it is applied.

    Attributes:
        models: Sums by model, for the report and the history.
        calls: Parameters of the statement that changes a call; `turns` and `usage` likewise.
        by_model: Gains of the rollup by model, by instance and key; `by_user` likewise.
    """

    def __init__(self) -> None:
        self.models: dict[ModelName, ModelChange] = {}
        self.calls, self.turns, self.usage = _Spool(), _Spool(), _Spool()
        self.by_model: dict[tuple[str, ModelKey], Gain] = {}
        self.by_user: dict[tuple[str, UserKey], Gain] = {}

    def close(self) -> None:
        """Delete the files."""
        for spool in (self.calls, self.turns, self.usage):
            spool.close()

    def add(self, change: CallChange) -> None:
        """Add the changes of one call."""
        old, new = change.call.session, change.session
        whose = {"of_session": old.session, "of_instance": change.call.instance}
        self.calls.add(
            {
                **whose,
                "was_usd": old.cost_usd,
                "was_wasted": old.wasted_usd,
                "was_unpriced": old.unpriced_requests,
                "new_usd": new.cost_usd,
                "new_wasted": new.wasted_usd,
                "new_unpriced": new.unpriced_requests,
                "new_unassigned": new.unassigned_usd,
            }
        )
        for turn in change.turns:
            costs = {"new_usd": turn.cost_usd, "new_wasted": turn.wasted_usd}
            self.turns.add({**whose, "of_speech": turn.speech, **costs})
        for changed in change.usage:
            row, now = changed
            self.usage.add(
                {
                    "of_id": row.id,
                    "was_usd": UNPRICED if row.cost_usd is None else row.cost_usd,
                    "new_status": now.status,
                    "new_usd": now.cost_usd,
                    "new_output": now.output_usd,
                    "new_price": now.price,
                    "new_version": now.prices_version,
                    "new_reason": now.waste_reason,
                    "new_wasted": now.wasted_usd,
                }
            )
            self._sum(change.call.instance, changed)

    def _sum(self, instance: str, changed: RowChange) -> None:
        row, now = changed
        name = ModelName(row.stage, row.provider, row.model, row.source)
        _add(
            self.models,
            name,
            ModelChange(
                1,
                row.cost_usd or 0.0,
                now.cost_usd or 0.0,
                unpriced_requests(row.requests, row.status),
                unpriced_requests(now.requests, now.status),
            ),
        )
        gain = Gain(changed.unpriced, changed.usd, changed.wasted_usd)
        day = utc_day(row.at)
        model = ModelKey(day, row.agent, row.stage, row.provider, row.model, row.source)
        user = UserKey(day, row.agent, row.user, row.labels, row.source)
        _add(self.by_model, (instance, model), gain)
        _add(self.by_user, (instance, user), gain)


def _add(sums: dict[_Key, _Sums], key: _Key, more: _Sums) -> None:
    held = sums.get(key)
    if held is not None:
        both: Iterable[Any] = map(sum, zip(held, more, strict=True))
        more = type(more)(*both)
    sums[key] = more
