"""Platform legs: what a call costs by its length, whatever is said in it.  Pure.

Agent hosting, transport, telephony, a flat fee per minute: LiveKit reports none of
them, so the configuration says which calls have which.  A leg is one record of usage
when the call is over, because such prices are rounded up once per call leg.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Usage, UsageReported

AGENT = "agent"
"""Stands for the agent's name in the condition of a leg; other names are labels of the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLength:
    """A call that ended, as far as its legs are concerned.

    Args:
        session: Its id.
        agent: Name of its agent.
        labels: The user's own dimensions.
        started_at: Unix seconds.
        ended_at: Unix seconds; of a call that was killed the time of its last record.
    """

    session: str
    agent: str
    labels: Mapping[str, str]
    started_at: float
    ended_at: float


def usage(catalogue: Catalogue, call: CallLength) -> list[UsageReported]:
    """The legs of a call, none where its clock went backwards or it had no length."""
    seconds = call.ended_at - call.started_at
    if not seconds > 0:
        return []
    known = {**call.labels, AGENT: call.agent}
    return [
        UsageReported(
            session=call.session,
            at=call.ended_at,
            stage="platform",
            provider=leg.entry.provider,
            model=leg.entry.match[0],
            # A leg is no request to anybody.
            requests=0,
            usage=Usage(connection_seconds=seconds),
        )
        for leg in catalogue.legs
        if leg.when.items() <= known.items()
    ]
