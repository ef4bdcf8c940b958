"""Sums by UTC day, which stay when their rows are deleted.  Pure.

They are made of the very rows that a batch writes, so the two cannot disagree.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

from livekit_exporter.ledger.expressions import unpriced_requests
from livekit_exporter.ledger.rows import Batch, ModelKey, ModelSums, UserKey, UserSums, utc_day

_MODEL: Final = attrgetter("agent", "stage", "provider", "model", "source")
_USER: Final = attrgetter("agent", "user", "labels", "source")
_COUNTED: Final = attrgetter(
    "requests",
    "cancelled",
    "usage.input_tokens",
    "usage.cached_input_tokens",
    "usage.output_tokens",
    "usage.characters",
    "usage.audio_seconds",
    "usage.connection_seconds",
)
"""Attributes of a usage row that are summed as they are: the last fields of `ModelSums`."""


def rolled_up(batch: Batch) -> tuple[dict[ModelKey, ModelSums], dict[UserKey, UserSums]]:
    """Sum up what a batch adds to the rollups by model and by user."""
    models: dict[Sequence[str | None], list[Sequence[float]]] = defaultdict(list)
    users: dict[Sequence[str | None], list[Sequence[float]]] = defaultdict(list)
    for row in batch.usage:
        unpriced = unpriced_requests(row.requests, row.status)
        priced = (unpriced, row.cost_usd or 0.0, row.wasted_usd)
        day = utc_day(row.at)
        models[day, *_MODEL(row)].append((*priced, *_COUNTED(row)))
        users[day, *_USER(row)].append((*priced, 0, 0.0, 0))
    for model, gained in batch.models:
        models[model].append(gained)
    for user, spent in batch.users:
        users[user].append(spent)
    return (
        {ModelKey._make(key): ModelSums._make(_sums(added)) for key, added in models.items()},
        {UserKey._make(key): UserSums._make(_sums(added)) for key, added in users.items()},
    )


def _sums(added: Iterable[Sequence[float]]) -> Iterable[float]:
    return map(sum, zip(*added, strict=True))
