"""OpenAI's speech over HTTP, one request a sentence."""

from contextlib import aclosing

from aiohttp import web

from bench.accuracy.standins.voice import Voice


def routes(voice: Voice) -> list[web.RouteDef]:
    """The vendor's voice."""

    async def create(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        speech = voice.begin()
        speech.say(body["input"])
        speech.end()
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        async with aclosing(speech.audio()) as audio:
            async for piece in audio:
                await response.write(piece)
        await response.write_eof()
        return response

    return [web.post("/v1/audio/speech", create)]
