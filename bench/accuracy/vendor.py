"""A language model's vendor: reads the prompt, writes token by token, and keeps the books.

Assumed, since no vendor publishes what a broken request costs: the prompt is billed in
full once it is read, and tokens as they are written until the connection is closed.  An
error instead of an answer is free.
"""

import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from bench.accuracy.bills import Bill, Books, Product
from bench.accuracy.script import Fault, Script
from bench.accuracy.tokens import PromptCache, prompt, tokens
from livekit_exporter.demo.line import Line

LOOK_UP: Final = "look_up"
ARGUMENTS: Final = '{"reference": "A-1024"}'

_SECONDS_TO_FIRST_TOKEN: Final = 0.4
_TOKENS_PER_SECOND: Final = 45
_DROP_AFTER_TOKENS: Final = 20
_FOREVER_SECONDS: Final = 600


class RefusedError(Exception):
    """Answer of the vendor that is an error."""


class DroppedError(Exception):
    """Connection that the vendor closed."""


@dataclass(frozen=True, slots=True)
class Call:
    """Request of the model to call a tool."""

    name: str
    arguments: str


Piece: TypeAlias = str | Call


class Vendor:
    """Serves one model's requests in one call.

    Args:
        product: What is billed.
        script: What it answers.
        books: What it keeps.
        line: Whose time it takes.
        may_fail: Whether the script's faults are this model's.
        caches: Whether it remembers prompts unasked.
    """

    def __init__(
        self,
        product: Product,
        script: Script,
        books: Books,
        line: Line,
        *,
        may_fail: bool = True,
        caches: bool = True,
    ) -> None:
        self.product = product
        self._script = script
        self._books = books
        self._line = line
        self._may_fail = may_fail
        self._cache = PromptCache() if caches else None

    def ask(self, parts: Iterable[str], *, tool_wanted: bool) -> tuple[Bill, AsyncGenerator[Piece]]:
        """Read a prompt: it is billed from now on, and the answer can be had.

        Args:
            parts: The texts of the request, in an order that begins with what stays the same.
            tool_wanted: Whether the request offers tools that it has no answer of yet.

        Raises:
            RefusedError: The script lets the request fail, free of charge.
        """
        fault: Fault = "none"
        if self._may_fail and self._script.faults:
            fault = self._script.faults.popleft()
        if fault == "refused":
            raise RefusedError
        asked = prompt(parts)
        bill = Bill(
            self.product,
            time.time(),
            input_tokens=len(asked),
            cached_input_tokens=self._cache.read(asked) if self._cache else 0,
        )
        self._books.bills.append(bill)
        return bill, self._answer(bill, fault, call=tool_wanted and self._script.step.tool)

    async def _answer(self, bill: Bill, fault: Fault, *, call: bool) -> AsyncGenerator[Piece]:
        step = self._script.step
        try:
            await self._line.sleep(_SECONDS_TO_FIRST_TOKEN if step.think is None else step.think)
            if fault == "silent":
                await self._line.sleep(_FOREVER_SECONDS)
            if fault == "drop_before_text":
                bill.ending = "dropped"
                raise DroppedError
            if call:
                bill.output_tokens = len(tokens(LOOK_UP + ARGUMENTS))
                yield Call(LOOK_UP, ARGUMENTS)
            else:
                for token in tokens(step.reply):
                    bill.output_tokens += 1
                    yield token
                    if fault == "drop_after_text" and bill.output_tokens == _DROP_AFTER_TOKENS:
                        bill.ending = "dropped"
                        raise DroppedError
                    await self._line.sleep(1 / _TOKENS_PER_SECOND)
            bill.ending = "complete"
        finally:
            if bill.ending == "open":
                bill.ending = "cut"
