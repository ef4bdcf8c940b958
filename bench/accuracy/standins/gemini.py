"""Gemini's streamGenerateContent."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from aiohttp import web

from bench.accuracy.bills import Bill
from bench.accuracy.standins import sse
from bench.accuracy.vendor import Piece, Vendor


def routes(vendors: Mapping[str, Vendor]) -> list[web.RouteDef]:
    """The vendor's models by their names."""

    async def generate(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await sse.answer(
            request,
            vendors[request.match_info["model"].partition(":")[0]],
            _parts(body),
            tool_wanted=_tool_wanted(body),
            events=_events,
        )

    return [web.post("/{version}/models/{model}", generate)]


def _parts(body: Mapping[str, Any]) -> list[str]:
    instruction = body.get("systemInstruction") or {}
    return [
        *(json.dumps(tool, separators=(",", ":")) for tool in body.get("tools") or ()),
        *(part["text"] for part in instruction.get("parts") or ()),
        *("".join(map(_text, content["parts"])) for content in body["contents"]),
    ]


def _text(part: Mapping[str, Any]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else json.dumps(part, separators=(",", ":"))


def _tool_wanted(body: Mapping[str, Any]) -> bool:
    last = body["contents"][-1]["parts"]
    return bool(body.get("tools")) and not any("functionResponse" in part for part in last)


async def _events(bill: Bill, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[sse.Event]:
    def event(part: Mapping[str, Any], finish: str | None = None) -> sse.Event:
        candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [part]}}
        if finish:
            candidate["finishReason"] = finish
        return "", {
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": bill.input_tokens,
                "candidatesTokenCount": bill.output_tokens,
                "totalTokenCount": bill.input_tokens + bill.output_tokens,
            },
            "modelVersion": bill.product.model,
        }

    async for piece in pieces:
        if isinstance(piece, str):
            yield event({"text": piece})
        else:
            call = {"name": piece.name, "args": json.loads(piece.arguments)}
            yield event({"functionCall": call})
    yield event({"text": ""}, "STOP")
