"""OpenAI's chat completions, which Groq and many others speak too."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from aiohttp import web
from livekit.agents import utils

from bench.accuracy import openai_prompt
from bench.accuracy.bills import Bill
from bench.accuracy.standins import sse
from bench.accuracy.vendor import Piece, Vendor


def routes(vendors: Mapping[str, Vendor], path: str = "/v1") -> list[web.RouteDef]:
    """The vendors' models by their names."""

    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        return await sse.answer(
            request,
            vendors[body["model"]],
            openai_prompt.parts(body),
            tool_wanted=openai_prompt.tool_wanted(body),
            events=_events,
            last_line="data: [DONE]\n\n",
        )

    return [web.post(f"{path}/chat/completions", complete)]


async def _events(bill: Bill, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[sse.Event]:
    request, finish = utils.shortuuid("chatcmpl-"), "stop"

    def chunk(**fields: object) -> sse.Event:
        return "", {
            "id": request,
            "object": "chat.completion.chunk",
            "created": int(bill.at),
            "model": bill.product.model,
            "choices": [],
            **fields,
        }

    def choice(delta: Mapping[str, Any], finish: str | None = None) -> sse.Event:
        return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])

    async for piece in pieces:
        if isinstance(piece, str):
            yield choice({"role": "assistant", "content": piece})
        else:
            finish = "tool_calls"
            function = {"name": piece.name, "arguments": piece.arguments}
            call = {
                "index": 0,
                "id": utils.shortuuid("call_"),
                "type": "function",
                "function": function,
            }
            yield choice({"role": "assistant", "tool_calls": [call]})
    yield choice({}, finish)
    yield chunk(
        usage={
            "prompt_tokens": bill.input_tokens,
            "completion_tokens": bill.output_tokens,
            "total_tokens": bill.input_tokens + bill.output_tokens,
            "prompt_tokens_details": {"cached_tokens": bill.cached_input_tokens},
        }
    )
