"""Recognises metrics that come a second time, by another way.

LiveKit hands the very same object to listeners of a component, of an adapter around it and of
every session that uses it, and puts a copy of it on a span.
"""

from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

_RECENT: Final = 512
_RECENT_ERRORS: Final = 16
"""An error keeps its traceback alive, and with it all that its frames hold."""
_KINDS: Final = ("llm_metrics", "tts_metrics")

_K = TypeVar("_K")
_V = TypeVar("_V")
Key: TypeAlias = tuple[str, str, float]
"""Kind, request id and Unix time of metrics; two requests do not end in the same microsecond."""


class HeardMetrics:
    """The last few metrics objects of this process, and the keys of those that spans have, too.

    Objects are kept alive here, so that no other one gets their id.

    Args:
        recent: How many are kept.
    """

    def __init__(self, recent: int = _RECENT) -> None:
        self._recent = recent
        self._objects: dict[int, object] = {}
        self._keys: dict[Key, None] = {}

    def add(self, item: object) -> bool:
        """Remember an object; false if it was there already."""
        objects, key = self._objects, id(item)
        if key in objects:
            return False
        objects[key] = item
        if getattr(item, "type", None) in _KINDS:
            self._keys[_key(item)] = None
        # One object is emitted on one thread, so there is no lock; another thread may only
        # be quicker in removing the oldest one.
        _trim(objects, self._recent)
        _trim(self._keys, self._recent)
        return True

    def discard(self, item: object) -> None:
        """Forget an object: somebody else is to take it."""
        self._objects.pop(id(item), None)

    def claim(self, metrics: object) -> bool:
        """Take metrics that were copied to a span; false if an event had brought them."""
        key = _key(metrics)
        if key in self._keys:
            return False
        self._keys[key] = None
        return True


def _trim(known: "dict[_K, _V]", most: int) -> None:
    if len(known) > most:
        with suppress(KeyError, RuntimeError, StopIteration):
            del known[next(iter(known))]


def _key(metrics: object) -> Key:
    at = getattr(metrics, "timestamp", 0.0)
    return (
        str(getattr(metrics, "type", "")),
        str(getattr(metrics, "request_id", "")),
        float(at) if isinstance(at, (int, float)) else 0.0,
    )


heard: Final = HeardMetrics()
heard_errors: Final = HeardMetrics(_RECENT_ERRORS)
