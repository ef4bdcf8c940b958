"""Simulated language models: they read the script's next reply word by word."""

from typing import Any, Final

from livekit.agents import APIConnectionError, APIConnectOptions, NotGivenOr, llm, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN

from livekit_exporter.demo.line import Line
from livekit_exporter.demo.products import GPT_MINI, Product
from livekit_exporter.demo.truth import Quantities, Truth

LOOK_UP: Final = "look_up"
TRANSFER: Final = "transfer_to_specialist"

_SECONDS_TO_FIRST_TOKEN: Final = 0.35
_SECONDS_TO_FAIL: Final = 0.2
_TOKENS_PER_SECOND: Final = 40
_CHARACTERS_PER_TOKEN: Final = 4
_INSTRUCTION_TOKENS: Final = 1_150
"""Instructions and tool descriptions, of the size people write them."""
_TOKENS_PER_ITEM: Final = 4
_CACHE_BLOCK: Final = 128
"""Prompts are cached in blocks of tokens, and below the least size not at all."""
_LEAST_CACHED: Final = 1_024
_WORDS_PER_CHUNK: Final = 3


class SimulatedLLM(llm.LLM[str]):
    """A chat model.

    Args:
        line: The call it takes part in.
        truth: Where its usage is written down.
        product: What it pretends to be.
        may_fail: Whether the script's failures are this model's.
    """

    def __init__(self, line: Line, truth: Truth, product: Product, *, may_fail: bool) -> None:
        super().__init__()
        self._line = line
        self._truth = truth
        self._product = product
        self._may_fail = may_fail
        self._longest_prompt = 0

    @property
    def model(self) -> str:
        """The model it pretends to be."""
        return self._product.model

    @property
    def provider(self) -> str:
        """The provider it pretends to be."""
        return self._product.provider

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
        """Answer the turn that the script has come to."""
        return _Stream(self, self._line, chat_ctx, tools or [], conn_options)

    def fails(self) -> bool:
        """True for a request that the script lets fail."""
        if self._may_fail and self._line.failures_left:
            self._line.failures_left -= 1
            return True
        return False

    def report(self, request: str, quantities: Quantities) -> None:
        """Write down what the request has used so far."""
        self._truth.reported(self._product, request, quantities)

    def cached(self, prompt: int) -> int:
        """Tokens of a prompt that the provider remembers from an earlier one."""
        if self._product != GPT_MINI:
            return 0
        known = min(self._longest_prompt, prompt) // _CACHE_BLOCK * _CACHE_BLOCK
        self._longest_prompt = max(self._longest_prompt, prompt)
        return known if known >= _LEAST_CACHED else 0


class _Stream(llm.LLMStream):
    def __init__(
        self,
        model: SimulatedLLM,
        line: Line,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool],
        conn_options: APIConnectOptions,
    ) -> None:
        super().__init__(model, chat_ctx=chat_ctx, tools=tools, conn_options=conn_options)
        self._model = model
        self._line = line

    async def _run(self) -> None:
        if self._model.fails():
            await self._line.sleep(_SECONDS_TO_FAIL)
            raise APIConnectionError("the script lets this request fail")
        request = utils.shortuuid("chatcmpl-")
        self._model.report(request, Quantities())
        prompt = _prompt_tokens(self._chat_ctx)
        await self._line.sleep(self._line.latency(_SECONDS_TO_FIRST_TOKEN) + self._line.llm_delay)
        tool = self._tool_needed()
        completion = await (self._call(request, tool) if tool else self._answer(request))
        usage = llm.CompletionUsage(
            prompt_tokens=prompt,
            prompt_cached_tokens=self._model.cached(prompt),
            completion_tokens=completion,
            total_tokens=prompt + completion,
        )
        self._model.report(
            request,
            Quantities(
                input_tokens=usage.prompt_tokens,
                cached_input_tokens=usage.prompt_cached_tokens,
                output_tokens=usage.completion_tokens,
            ),
        )
        self._event_ch.send_nowait(llm.ChatChunk(id=request, usage=usage))

    def _tool_needed(self) -> str | None:
        """The tool that the script wants, unless it has answered or is not there any more."""
        turn = self._line.turn
        items = self._chat_ctx.items
        if turn.tool is None or not items:
            return None
        if items[-1].type == "function_call_output":
            return None
        wanted = TRANSFER if turn.tool == "transfers" else LOOK_UP
        return wanted if any(tool.id == wanted for tool in self._tools) else None

    async def _call(self, request: str, tool: str) -> int:
        arguments = '{"reference": "A-1024"}' if tool == LOOK_UP else "{}"
        self._event_ch.send_nowait(
            llm.ChatChunk(
                id=request,
                delta=llm.ChoiceDelta(
                    role="assistant",
                    tool_calls=[
                        llm.FunctionToolCall(
                            name=tool, arguments=arguments, call_id=utils.shortuuid("call_")
                        )
                    ],
                ),
            )
        )
        return _tokens(tool + arguments)

    async def _answer(self, request: str) -> int:
        reply = self._line.turn.reply
        words = reply.split(" ")
        for start in range(0, len(words), _WORDS_PER_CHUNK):
            text = " ".join(words[start : start + _WORDS_PER_CHUNK]) + " "
            self._event_ch.send_nowait(
                llm.ChatChunk(id=request, delta=llm.ChoiceDelta(role="assistant", content=text))
            )
            await self._line.sleep(_tokens(text) / _TOKENS_PER_SECOND)
        return _tokens(reply)


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def _prompt_tokens(chat_ctx: llm.ChatContext) -> int:
    total = _INSTRUCTION_TOKENS
    for item in chat_ctx.items:
        text = ""
        if item.type == "message":
            text = item.text_content or ""
        elif item.type == "function_call":
            text = item.arguments
        elif item.type == "function_call_output":
            text = item.output
        total += _TOKENS_PER_ITEM + _tokens(text)
    return total
