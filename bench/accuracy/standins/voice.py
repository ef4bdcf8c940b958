"""A vendor of speech synthesis: takes text, bills it at once, and makes audio of it."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Final

from bench.accuracy.bills import Bill, Books, Product
from bench.accuracy.simulated import FASTER_THAN_SPEECH
from livekit_exporter.demo.line import Line, speech_seconds

SAMPLE_RATE: Final = 24_000
_SECONDS_TO_FIRST_BYTE: Final = 0.2
_PIECE_SECONDS: Final = 0.5
_BYTES_PER_SECOND: Final = 2 * SAMPLE_RATE


class Voice:
    """Serves one voice in one call.

    Args:
        product: What is billed.
        books: What it keeps.
        line: Whose time it takes.
    """

    def __init__(self, product: Product, books: Books, line: Line) -> None:
        self._product = product
        self._books = books
        self._line = line

    def begin(self) -> "Speech":
        """Begin a request; it is billed from its first character on."""
        return Speech(Bill(self._product, time.time()), self._books, self._line)


class Speech:
    """One request: text goes in as it comes, audio comes out."""

    def __init__(self, bill: Bill, books: Books, line: Line) -> None:
        self._bill = bill
        self._books = books
        self._line = line
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()

    def say(self, text: str) -> None:
        """Take text; it is billed now."""
        if not text:
            return
        if not self._bill.characters:
            self._books.bills.append(self._bill)
        self._bill.characters += len(text)
        self._texts.put_nowait(text)

    def end(self) -> None:
        """End the text."""
        self._texts.put_nowait(None)

    async def audio(self) -> AsyncGenerator[bytes]:
        """Audio of the text so far, until there is no more; 16 bit, one channel."""
        begun = False
        try:
            while (text := await self._texts.get()) is not None:
                if not begun:
                    begun = True
                    await self._line.sleep(_SECONDS_TO_FIRST_BYTE)
                left = speech_seconds(text)
                while left > 0:
                    seconds = min(left, _PIECE_SECONDS)
                    yield bytes(2 * max(1, round(seconds * _BYTES_PER_SECOND / 2)))
                    await self._line.sleep(seconds / FASTER_THAN_SPEECH)
                    left -= seconds
            self._bill.ending = "complete"
        finally:
            if self._bill.ending == "open":
                self._bill.ending = "cut"
