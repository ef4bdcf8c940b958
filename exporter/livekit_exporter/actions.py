"""Ready-made callbacks for a `Budget`: `say_and_close`, `switch` and `log`."""

from livekit_exporter.agent.budget.actions import log, say_and_close, switch

__all__ = ["log", "say_and_close", "switch"]
