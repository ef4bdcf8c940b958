"""Recognises metrics that come a second time, by another way.

LiveKit hands the very same object to listeners of a component, of an adapter around it and of
every session that uses it, and puts a copy of it on a span.
"""

from collections import OrderedDict
from contextlib import suppress
from typing import Final, TypeAlias

_RECENT: Final = 512
_RECENT_ERRORS: Final = 16
"""An error keeps its traceback alive, and with it all that its frames hold."""
_KINDS: Final = ("llm_metrics", "tts_metrics")

Key: TypeAlias = tuple[object, object, object]
"""Kind, request id and Unix time of metrics; two requests do not end in the same microsecond."""


class HeardMetrics:
    """The last few metrics objects of this process, and the keys of those that spans have, too.

    Objects are kept alive here, so that no other one gets their id.

    Args:
        recent: How many are kept.
    """

    def __init__(self, recent: int = _RECENT) -> None:
        self._recent = recent
        # The oldest is forgotten first; of a plain dict that would cost more with every one.
        self._objects: OrderedDict[int, object] = OrderedDict()
        self._keys: OrderedDict[Key, None] = OrderedDict()

    def add(self, item: object) -> bool:
        """Remember an object; false if it was there already."""
        objects, key = self._objects, id(item)
        if key in objects:
            return False
        objects[key] = item
        # One object is emitted on one thread, so there is no lock; another thread may only
        # be quicker in removing the oldest one.
        if len(objects) > self._recent:
            with suppress(KeyError):
                objects.popitem(last=False)
        return True

    def note(self, kind: object, request: object, at: object) -> None:
        """Remember what a copy on a span is known by, before the span is read.

        Args:
            kind: Kind of the metrics.
            request: Their request id.
            at: Their timestamp.
        """
        # What is no text and no number names no request, and may not be hashable.
        if kind in _KINDS and isinstance(request, str) and isinstance(at, (int, float)):
            keys = self._keys
            keys[kind, request, at] = None
            if len(keys) > self._recent:
                with suppress(KeyError):
                    keys.popitem(last=False)

    def discard(self, item: object) -> None:
        """Forget an object: somebody else is to take it."""
        self._objects.pop(id(item), None)

    def claim(self, metrics: object) -> bool:
        """Take metrics that were copied to a span; false if an event had brought them."""
        key = _key(metrics)
        if key in self._keys or is_adapters(metrics):
            return False
        self._keys[key] = None
        return True


def is_adapters(metrics: object) -> bool:
    """Return true for metrics of a fallback adapter as such, which it makes before 1.2.15.

    The component in it that did the work has its own.
    """
    label = getattr(metrics, "label", None)
    return isinstance(label, str) and label.endswith(".FallbackAdapter")


def _key(metrics: object) -> Key:
    return (
        getattr(metrics, "type", None),
        getattr(metrics, "request_id", None),
        getattr(metrics, "timestamp", None),
    )


heard: Final = HeardMetrics()
heard_errors: Final = HeardMetrics(_RECENT_ERRORS)
