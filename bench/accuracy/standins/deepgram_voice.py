"""Deepgram's websocket: words, one reply at a time, audio as it is."""

import json

from aiohttp import WSMsgType, web

from bench.accuracy.standins.contexts import Contexts
from bench.accuracy.standins.voice import Voice


def routes(voice: Voice) -> list[web.RouteDef]:
    """The vendor's voice."""

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)

        async def send(_: str, audio: bytes) -> None:
            await socket.send_bytes(audio)

        async def done(context: str) -> None:
            await socket.send_json({"type": "Flushed", "sequence_id": int(context)})

        contexts = Contexts(voice, send, done)
        flushed = 0
        try:
            async for message in socket:
                if message.type != WSMsgType.TEXT:
                    continue
                said = json.loads(message.data)
                if said["type"] == "Speak":
                    contexts.say(str(flushed), said["text"])
                elif said["type"] == "Flush":
                    contexts.end(str(flushed))
                    flushed += 1
                elif said["type"] == "Close":
                    break
        finally:
            await contexts.close()
        return socket

    return [web.get("/v1/speak", connect)]
