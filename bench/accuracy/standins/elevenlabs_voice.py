"""ElevenLabs' websocket: words of a context, audio as base64."""

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
            await socket.send_json({"contextId": context, "audio": data})

        async def done(context: str) -> None:
            await socket.send_json({"contextId": context, "isFinal": True})

        contexts = Contexts(voice, send, done)
        try:
            async for message in socket:
                if message.type != WSMsgType.TEXT:
                    continue
                said = json.loads(message.data)
                if said.get("close_context"):
                    contexts.end(said["context_id"])
                elif "voice_settings" not in said:  # which opens a context with a blank
                    contexts.say(said["context_id"], said["text"])
        finally:
            await contexts.close()
        return socket

    return [web.get("/v1/text-to-speech/{voice}/multi-stream-input", connect)]
