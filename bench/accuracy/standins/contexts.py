"""Websockets on which several replies, each a context, may be spoken at once."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from livekit.agents import utils

from bench.accuracy.standins.voice import Speech, Voice


class Contexts:
    """The replies of one connection.

    Args:
        voice: Who speaks.
        send: Sends audio of a context.
        done: Says that a context is complete.
    """

    def __init__(
        self,
        voice: Voice,
        send: Callable[[str, bytes], Awaitable[None]],
        done: Callable[[str], Awaitable[None]],
    ) -> None:
        self._voice = voice
        self._send = send
        self._done = done
        self._speeches: dict[str, Speech] = {}
        self._speaking: dict[str, asyncio.Task[None]] = {}

    def say(self, context: str, text: str) -> None:
        """Take text of a context; the first text begins it."""
        if context not in self._speeches:
            self._speeches[context] = self._voice.begin()
            self._speaking[context] = asyncio.create_task(self._speak(context))
        self._speeches[context].say(text)

    def end(self, context: str) -> None:
        """End the text of a context."""
        if context in self._speeches:
            self._speeches[context].end()

    async def close(self) -> None:
        """Stop all replies: the connection is closed."""
        await utils.aio.cancel_and_wait(*self._speaking.values())

    async def _speak(self, context: str) -> None:
        async with aclosing(self._speeches[context].audio()) as audio:
            async for piece in audio:
                await self._send(context, piece)
        await self._done(context)
