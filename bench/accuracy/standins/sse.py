"""Answers of language models as server-sent events."""

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, TypeAlias

from aiohttp import web

from bench.accuracy.bills import Bill
from bench.accuracy.standins.served import hang_up
from bench.accuracy.vendor import DroppedError, Piece, RefusedError, Vendor

# Any: bodies are the vendors' JSON.
Event: TypeAlias = tuple[str, Mapping[str, Any]]
"""A name, which may be empty, and what is in it."""


async def answer(
    request: web.Request,
    vendor: Vendor,
    parts: Iterable[str],
    *,
    tool_wanted: bool,
    events: Callable[[Bill, AsyncGenerator[Piece]], AsyncGenerator[Event]],
    last_line: str = "",
) -> web.StreamResponse:
    """Answer a request of one model; the head of the response comes with the first event.

    Args:
        request: Of whom.
        vendor: Who writes.
        parts: The texts of the prompt.
        tool_wanted: Whether the model may call a tool.
        events: The vendor's form of an answer.
        last_line: What the vendor says when it is over.
    """
    try:
        bill, pieces = vendor.ask(parts, tool_wanted=tool_wanted)
    except RefusedError:
        return web.json_response({"error": {"message": "overloaded"}}, status=503)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    try:
        async with aclosing(pieces), aclosing(events(bill, pieces)) as written:
            async for name, event in written:
                if not response.prepared:
                    await response.prepare(request)
                head = f"event: {name}\n" if name else ""
                await response.write(f"{head}data: {json.dumps(event)}\n\n".encode())
            await response.write(last_line.encode())
            await response.write_eof()
    except DroppedError:
        hang_up(request)
    return response
