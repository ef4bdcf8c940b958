"""Bills that vendors write, with which a call's figures are compared."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from livekit_exporter.prices import pricing
from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.record import Stage, Usage

Ending: TypeAlias = Literal["open", "complete", "dropped", "cut"]


class Product(NamedTuple):
    """Product that a vendor bills for, named as its LiveKit plugin names it."""

    stage: Stage
    provider: str
    model: str


@dataclass(slots=True)
class Bill:
    """One request on a vendor's books.  It grows while the vendor works."""

    product: Product
    at: float
    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Part of `input_tokens`."""
    output_tokens: int = 0
    characters: int = 0
    ending: Ending = "open"

    @property
    def outcome(self) -> str:
        """Outcome of the request, in the words of a script."""
        return "unsaid" if self.ending == "cut" and not self.output_tokens else self.ending

    @property
    def usage(self) -> Usage:
        """Billed usage, in the words of a journal."""
        return Usage(
            input_tokens=self.input_tokens,
            cached_input_tokens=self.cached_input_tokens,
            output_tokens=self.output_tokens,
            total_tokens=self.input_tokens + self.output_tokens,
            characters=self.characters,
        )

    def cost(self, catalogue: Catalogue) -> Decimal:
        """US dollars at the list prices that the ledger uses.

        So a difference between bill and ledger is one of usage, never of price.

        Raises:
            ValueError: The catalogue has no price for it.
        """
        stage, provider, model = self.product
        quote = pricing.price(
            catalogue,
            stage=stage,
            provider=provider,
            model=model,
            label="",
            usage=self.usage,
            at=self.at,
            streamed=False,
            connection=False,
        )
        if quote.status == "unpriced":
            raise ValueError(f"{provider} {model}: the catalogue has no price; bill another model")
        return quote.cost


@dataclass(slots=True)
class Books:
    """Requests of one call that vendors bill, in the order in which they came."""

    bills: list[Bill] = field(default_factory=list)

    def of(self, stage: Stage) -> list[Bill]:
        """The bills of one stage."""
        return [bill for bill in self.bills if bill.product.stage == stage]

    def latest(self, stage: Stage) -> Bill | None:
        """The newest bill of a stage."""
        return next((bill for bill in reversed(self.bills) if bill.product.stage == stage), None)


GPT_MINI: Final = Product("llm", "api.openai.com", "gpt-4.1-mini")
GPT: Final = Product("llm", "api.openai.com", "gpt-4.1")
SONIC: Final = Product("tts", "Cartesia", "sonic-3")
