"""Anthropic's messages."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from aiohttp import web
from livekit.agents import utils

from bench.accuracy.bills import Bill
from bench.accuracy.standins import sse
from bench.accuracy.vendor import Piece, Vendor


def routes(vendors: Mapping[str, Vendor]) -> list[web.RouteDef]:
    """The vendor's models by their names."""

    async def create(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await sse.answer(
            request,
            vendors[body["model"]],
            _parts(body),
            tool_wanted=_tool_wanted(body),
            events=_events,
        )

    return [web.post("/v1/messages", create)]


def _parts(body: Mapping[str, Any]) -> list[str]:
    return [
        *(json.dumps(tool, separators=(",", ":")) for tool in body.get("tools") or ()),
        *(block["text"] for block in body.get("system") or ()),
        *("".join(_texts(message)) for message in body["messages"]),
    ]


def _texts(message: Mapping[str, Any]) -> Sequence[str]:
    content = message["content"]
    if isinstance(content, str):
        return [content]
    return [
        block["text"] if block["type"] == "text" else json.dumps(block, separators=(",", ":"))
        for block in content
    ]


def _tool_wanted(body: Mapping[str, Any]) -> bool:
    content = body["messages"][-1]["content"]
    answered = not isinstance(content, str) and any(
        block["type"] == "tool_result" for block in content
    )
    return bool(body.get("tools")) and not answered


async def _events(bill: Bill, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[sse.Event]:
    message: dict[str, object] = {
        "id": utils.shortuuid("msg_"),
        "type": "message",
        "role": "assistant",
        "model": bill.product.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        # What the vendor has written when it begins to answer: one token.
        "usage": {"input_tokens": bill.input_tokens, "output_tokens": 1},
    }
    begun, stop = False, "end_turn"
    async for piece in pieces:
        if not begun:
            begun = True
            yield _event("message_start", message=message)
            block = (
                {"type": "text", "text": ""}
                if isinstance(piece, str)
                else {
                    "type": "tool_use",
                    "id": utils.shortuuid("toolu_"),
                    "name": piece.name,
                    "input": {},
                }
            )
            yield _event("content_block_start", index=0, content_block=block)
        if isinstance(piece, str):
            delta = {"type": "text_delta", "text": piece}
        else:
            stop = "tool_use"
            delta = {"type": "input_json_delta", "partial_json": piece.arguments}
        yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
    yield _event(
        "message_delta",
        delta={"stop_reason": stop, "stop_sequence": None},
        usage={"output_tokens": bill.output_tokens},
    )
    yield _event("message_stop")


def _event(kind: str, **fields: object) -> sse.Event:
    return kind, {"type": kind, **fields}
