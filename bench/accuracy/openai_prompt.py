"""The texts of an OpenAI chat request, in the order in which a prompt cache sees them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

# Any: request bodies are the vendor's JSON.
Body: TypeAlias = Mapping[str, Any]


def parts(body: Body) -> list[str]:
    """Tools first, then instructions and messages."""
    return [
        *(_compact(tool) for tool in body.get("tools") or ()),
        *(_said(message) for message in body["messages"]),
    ]


def tool_wanted(body: Body) -> bool:
    """True if the model may call a tool: it has some, and the last message is no tool's answer."""
    return bool(body.get("tools")) and body["messages"][-1]["role"] != "tool"


def _said(message: Body) -> str:
    content = message.get("content") or ""
    text = content if isinstance(content, str) else "".join(p.get("text", "") for p in content)
    calls: Sequence[Body] = message.get("tool_calls") or ()
    return text + "".join(_compact(call["function"]) for call in calls)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
