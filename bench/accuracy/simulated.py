"""A language model and a voice without a network, which keep their vendors' books themselves.

They behave at their ends as LiveKit's chat completions and websocket plugins do: usage
comes with the last chunk, a voice reports when a reply is complete, and neither reports
what was cut off.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIStatusError,
    APITimeoutError,
    NotGivenOr,
    llm,
    tokenize,
    tts,
    utils,
)
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN

from bench.accuracy import openai_prompt
from bench.accuracy.bills import Bill, Books, Product
from bench.accuracy.vendor import Call, DroppedError, Piece, RefusedError, Vendor
from livekit_exporter.demo.line import SAMPLE_RATE, Line, silence, speech_seconds

FASTER_THAN_SPEECH: Final = 5
"""How much audio voices make in a second, in seconds."""
_SECONDS_TO_FIRST_BYTE: Final = 0.2


class SimulatedLLM(llm.LLM[str]):
    """A chat model, token by token."""

    def __init__(self, vendor: Vendor) -> None:
        super().__init__()
        self.vendor = vendor

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return self.vendor.product.model

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return self.vendor.product.provider

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,  # noqa: ARG002  # one tool at a time
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,  # noqa: ARG002  # the script chooses
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,  # noqa: ARG002  # no such thing
    ) -> llm.LLMStream:
        """Send the conversation to the vendor."""
        return _Answer(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Answer(llm.LLMStream):
    async def _run(self) -> None:
        model = self._llm
        assert isinstance(model, SimulatedLLM)
        messages, _ = self._chat_ctx.to_provider_format("openai")
        tools = llm.ToolContext(self._tools).parse_function_tools("openai")
        body = {"messages": messages, "tools": tools}
        try:
            bill, answer = model.vendor.ask(
                openai_prompt.parts(body), tool_wanted=openai_prompt.tool_wanted(body)
            )
        except RefusedError:
            raise APIStatusError("overloaded", status_code=503) from None
        request = utils.shortuuid("chatcmpl-")
        written = False
        try:
            async for piece in _in_time(answer, self._conn_options.timeout):
                self._event_ch.send_nowait(llm.ChatChunk(id=request, delta=_delta(piece)))
                written = True
        except DroppedError:
            raise APIConnectionError("connection closed", retryable=not written) from None
        except TimeoutError:
            raise APITimeoutError(retryable=not written) from None
        usage = llm.CompletionUsage(
            prompt_tokens=bill.input_tokens,
            prompt_cached_tokens=bill.cached_input_tokens,
            completion_tokens=bill.output_tokens,
            total_tokens=bill.input_tokens + bill.output_tokens,
        )
        self._event_ch.send_nowait(llm.ChatChunk(id=request, usage=usage))


async def _in_time(answer: AsyncGenerator[Piece], seconds: float) -> AsyncIterator[Piece]:
    """Pass an answer on as HTTP clients read it, with a timeout for each piece."""
    async with aclosing(answer):
        while True:
            # Not `wait_for`: before Python 3.12 it forgets a cancellation that comes together
            # with a piece, and the reply would be written to its end.
            async with asyncio.timeout(seconds):
                try:
                    piece = await anext(answer)
                except StopAsyncIteration:
                    return
            yield piece


def _delta(piece: str | Call) -> llm.ChoiceDelta:
    if isinstance(piece, str):
        return llm.ChoiceDelta(role="assistant", content=piece)
    call = llm.FunctionToolCall(
        name=piece.name, arguments=piece.arguments, call_id=utils.shortuuid("call_")
    )
    return llm.ChoiceDelta(role="assistant", tool_calls=[call])


class SimulatedVoice(tts.TTS[str]):
    """Speaks over a stream; characters are billed when they are sent.

    Args:
        product: What is billed.
        books: What is kept.
        line: Whose time it takes.
        sentences: Whether text is sent in whole sentences, as Cartesia's plugin does, or
            as it is written.
    """

    def __init__(self, product: Product, books: Books, line: Line, *, sentences: bool) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
        )
        self.product = product
        self.books = books
        self.line = line
        self.sentences = sentences

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return self.product.model

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return self.product.provider

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak a complete text."""
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.SynthesizeStream:
        """Speak a text while it is written."""
        return _Speech(self, conn_options)


class _Speech(tts.SynthesizeStream):
    def __init__(self, voice: SimulatedVoice, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=voice, conn_options=conn_options)
        self._voice = voice

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        line = self._voice.line
        bill = Bill(self._voice.product, time.time())
        request = utils.shortuuid("tts_")
        output_emitter.initialize(
            request_id=request,
            sample_rate=SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
            stream=True,
        )
        # A vendor takes text as quickly as it comes, and speaks meanwhile.
        sent = utils.aio.Chan[str]()
        sending = asyncio.create_task(self._send(bill, sent))
        try:
            async for text in sent:
                if bill.ending == "open" and not output_emitter.num_segments:
                    output_emitter.start_segment(segment_id=request)
                    await line.sleep(_SECONDS_TO_FIRST_BYTE)
                output_emitter.push(silence(speech_seconds(text)))
                await line.sleep(speech_seconds(text) / FASTER_THAN_SPEECH)
            if output_emitter.num_segments:
                output_emitter.end_segment()
            bill.ending = "complete"
        finally:
            if bill.ending == "open":
                bill.ending = "cut"
            await utils.aio.cancel_and_wait(sending)

    async def _send(self, bill: Bill, sent: "utils.aio.Chan[str]") -> None:
        try:
            async for text in self._texts():
                if not bill.characters:
                    self._mark_started()
                    self._voice.books.bills.append(bill)
                bill.characters += len(text)
                sent.send_nowait(text)
        finally:
            sent.close()

    async def _texts(self) -> AsyncIterator[str]:
        """Texts that go to the vendor, each when it is sent."""
        if not self._voice.sentences:
            async for text in self._input_ch:
                if isinstance(text, str):
                    yield text
            return
        sentences = tokenize.blingfire.SentenceTokenizer().stream()
        feeding = asyncio.create_task(self._feed(sentences))
        try:
            async for sentence in sentences:
                yield sentence.token + " "
        finally:
            await utils.aio.cancel_and_wait(feeding)
            await sentences.aclose()

    async def _feed(self, sentences: tokenize.SentenceStream) -> None:
        async for text in self._input_ch:
            if isinstance(text, str):
                sentences.push_text(text)
            else:
                sentences.flush()
        sentences.end_input()
