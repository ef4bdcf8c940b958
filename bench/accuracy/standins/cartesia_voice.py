"""Cartesia's websocket: sentences of a context, audio as base64."""

import base64
import json

from aiohttp import WSMsgType, web

from bench.accuracy.standins.contexts import Contexts
from bench.accuracy.standins.voice import Voice


def routes(voice: Voice) -> list[web.RouteDef]:
    """The vendor's voice."""

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)

        async def send(context: str, audio: bytes) -> None:
            data = base64.b64encode(audio).decode()
            await socket.send_json({"type": "chunk", "context_id": context, "data": data})

        async def done(context: str) -> None:
            await socket.send_json({"type": "done", "context_id": context, "done": True})

        contexts = Contexts(voice, send, done)
        try:
            async for message in socket:
                if message.type != WSMsgType.TEXT:
                    continue
                said = json.loads(message.data)
                contexts.say(said["context_id"], said["transcript"])
                if not said["continue"]:
                    contexts.end(said["context_id"])
        finally:
            await contexts.close()
        return socket

    return [web.get("/tts/websocket", connect)]
