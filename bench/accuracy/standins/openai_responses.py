"""OpenAI's responses over a websocket: it remembers what was said before by the response's id."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from aiohttp import WSMsgType, web
from livekit.agents import utils

from bench.accuracy.bills import Bill
from bench.accuracy.standins.served import hang_up
from bench.accuracy.vendor import Call, DroppedError, Piece, RefusedError, Vendor


def routes(vendors: Mapping[str, Vendor]) -> list[web.RouteDef]:
    """The vendor's models by their names."""
    said_before: dict[str, list[str]] = {}

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        writing: list[asyncio.Task[None]] = []
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    exchange = _Exchange(request, socket, json.loads(message.data), said_before)
                    vendor = vendors[exchange.model]
                    writing.append(asyncio.create_task(exchange.answer(vendor)))
        finally:
            await utils.aio.cancel_and_wait(*writing)
        return socket

    return [web.get("/v1/responses", connect)]


class _Exchange:
    """A request and its answer."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        body: Mapping[str, Any],
        said_before: dict[str, list[str]],
    ) -> None:
        self._request = request
        self._socket = socket
        self._body = body
        self._said_before = said_before
        self._id = utils.shortuuid("resp_")
        self._sent = 0
        self.model: str = body["model"]

    async def answer(self, vendor: Vendor) -> None:
        """Write the answer to the socket."""
        tools = self._body.get("tools") or ()
        said = [
            *self._said_before.get(self._body.get("previous_response_id") or "", ()),
            *map(_text, self._body["input"]),
        ]
        answered = self._body["input"][-1].get("type") == "function_call_output"
        try:
            bill, pieces = vendor.ask(
                [*(json.dumps(tool, separators=(",", ":")) for tool in tools), *said],
                tool_wanted=bool(tools) and not answered,
            )
        except RefusedError:
            error = {"code": "503", "message": "overloaded"}
            await self._send("error", error=error)
            return
        try:
            async with aclosing(pieces):
                reply = await self._write(bill, pieces)
        except DroppedError:
            hang_up(self._request)
            return
        self._said_before[self._id] = [*said, reply]

    async def _write(self, bill: Bill, pieces: AsyncGenerator[Piece]) -> str:
        await self._send("response.created", response=self._response(None))
        reply = ""
        async for piece in pieces:
            if isinstance(piece, Call):
                reply = piece.name + piece.arguments
                call = {
                    "type": "function_call",
                    "id": utils.shortuuid("fc_"),
                    "call_id": utils.shortuuid("call_"),
                    "name": piece.name,
                    "arguments": piece.arguments,
                    "status": "completed",
                }
                await self._send("response.output_item.done", output_index=0, item=call)
            else:
                reply += piece
                await self._send(
                    "response.output_text.delta",
                    item_id="msg_0",
                    output_index=0,
                    content_index=0,
                    delta=piece,
                    logprobs=[],
                )
        await self._send("response.completed", response=self._response(bill))
        return reply

    def _response(self, bill: Bill | None) -> dict[str, object]:
        usage = None
        if bill is not None:
            usage = {
                "input_tokens": bill.input_tokens,
                "input_tokens_details": {
                    "cached_tokens": bill.cached_input_tokens,
                    "cache_write_tokens": 0,
                },
                "output_tokens": bill.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": bill.input_tokens + bill.output_tokens,
            }
        return {
            "id": self._id,
            "object": "response",
            "created_at": 0,
            "model": self.model,
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "status": "in_progress" if bill is None else "completed",
            "usage": usage,
        }

    async def _send(self, kind: str, **fields: object) -> None:
        event = {"type": kind, "sequence_number": self._sent, **fields}
        self._sent += 1
        await self._socket.send_json(event)


def _text(item: Mapping[str, Any]) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        return json.dumps(item, separators=(",", ":"))
    return "".join(part.get("text", "") for part in content)
