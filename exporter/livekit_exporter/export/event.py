"""Builds the body of a webhook: the envelope of Standard Webhooks around a call's export.  Pure."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from livekit_exporter.export.document import CallExport


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    timestamp: datetime
    """When what it says came to be, the same each time it is sent."""


class CallEnded(_Envelope):
    """A call ended, or one that had ended changed."""

    type: Literal["call.ended"] = "call.ended"
    revision: int
    """1 when the call ended, then 2, and so on: the highest one of a session holds."""
    data: CallExport


class Trial(_Envelope):
    """Nothing happened: somebody tries whether the receiver answers."""

    type: Literal["webhook.test"] = "webhook.test"
    data: dict[str, str]


def call_ended(export: CallExport, revision: int, made_at: float) -> bytes:
    """Build the body of a delivery; the same bytes for the same export.

    Args:
        export: The call.
        revision: Number of its state.
        made_at: Time of that state, Unix seconds.
    """
    at = datetime.fromtimestamp(made_at, UTC)
    return CallEnded(timestamp=at, revision=revision, data=export).model_dump_json().encode()


def trial(at: float, exporter: str) -> bytes:
    """Build the body of a trial.

    Args:
        at: Now, Unix seconds.
        exporter: Version of this program.
    """
    event = Trial(timestamp=datetime.fromtimestamp(at, UTC), data={"exporter": exporter})
    return event.model_dump_json().encode()
