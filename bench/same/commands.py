"""Commands whose answers are compared, and the files they read."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.same import streams
from bench.same.version import Answer, Version

_SINCE: Final = ("--since", "2026-11-10", "--until", "2026-11-24")
_FORMS: Final = ("table", "csv", "json")

_REVENUE: Final = "user,revenue_usd\nuser-1,5.00\nuser-2,1.20\nuser-9,3.00\n"
_MONTHLY: Final = "tenant,period,revenue_usd\nacme,2026-11,5.00\nhooli,2026-11,1.20\n"
_COSTS: Final = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,"
    "project_id,organization_id,organization_name\n"
    '1794960000,1795046400,,,0.12,usd,"gpt-4.1-mini-2025-04-14, input",p,o,Acme\n'
    '1794960000,1795046400,,,0.02,usd,"gpt-5.4, output",p,o,Acme\n'
    '1795046400,1795132800,,,0.20,usd,"gpt-4.1-mini-2025-04-14, output",p,o,Acme\n'
)
_USAGE: Final = "Day,Name,Seconds\n2026-11-18,nova-3,100\n2026-11-19,nova-3,50\n2026-11-19,x,y\n"

_REPORTS: Final[Sequence[Sequence[str]]] = (
    ("report", "cost"),
    ("report", "cost", "--by", "hour,agent", "--limit", "9"),
    ("report", "cost", "--by", "session,user", "--stage", "llm", "--limit", "12"),
    ("report", "cost", "--by", "tenant,channel", "--label", "channel=phone"),
    ("report", "cost", "--by", "provider,model,persona", "--timezone", "Asia/Tokyo"),
    ("report", "latency"),
    ("report", "latency", "--by", "model,stage"),
    ("report", "latency", "--by", "day,persona", "--agent", "support"),
    ("report", "usage"),
    ("report", "usage", "--by", "day,user", "--provider", "openai"),
    ("report", "waste"),
    ("report", "waste", "--by", "model"),
    ("report", "waste", "--by", "day,tenant"),
    ("report", "compare", "agent=support", "agent=sales"),
    ("report", "compare", "model=openai/gpt-4.1-mini", "model=openai/gpt-5.4"),
    ("report", "compare", "since=2026-11-15,until=2026-11-18", "since=2026-11-18,until=2026-11-22"),
    ("report", "whatif", "llm=groq/llama-3.3-70b-versatile"),
    ("report", "whatif", "llm=openai/gpt-5.4", "tts=cartesia/sonic", "--by", "agent"),
    ("report", "whatif", "--prices", "own-prices.yaml"),
    ("report", "advise"),
    ("report", "advise", "--agent", "support"),
    ("report", "margin", "revenue.csv"),
    ("report", "margin", "revenue.csv", "--user", "user-1"),
    ("reconcile", "costs.csv"),
    ("reconcile", "usage.csv", "--date-column", "Day", "--model-column", "Name", "--usage-column",
     "Seconds", "--unit", "audio_seconds"),
    ("calls", "list"),
    ("calls", "list", "--sort", "cost", "--limit", "7"),
    ("calls", "list", "--sort", "latency", "--user", "user-1"),
    ("calls", "list", "--sort", "turns", "--model", "gpt-4.1-mini"),
    ("calls", "list", "--sort", "duration", "--label", "tenant=acme"),
)  # fmt: skip
"""Each is asked in every form, about the same days."""

_ONCE: Final[Sequence[Sequence[str]]] = (
    ("report", "cost", "--by", "model", *_SINCE, "--chart"),
    ("report", "cost", *_SINCE, "--chart"),
    ("report", "latency", *_SINCE, "--chart"),
    ("report", "cost", "--by", "day", *_SINCE, "--html", "cost.html"),
    ("report", "latency", *_SINCE, "--html", "latency.html"),
    ("report", "waste", *_SINCE, "--html", "waste.html"),
    ("report", "cost", *_SINCE, "--format", "parquet", "--output", "cost.parquet"),
    ("report", "cost", "--by", "modle", *_SINCE),
    ("report", "cost", "--since", "soon"),
    ("report", "cost"),
    ("report", "forecast"),
    ("report", "forecast", "--format", "json"),
    ("report", "margin", "monthly.csv", "--by", "tenant"),
    ("calls", "show", "call0000"),
    ("calls", "show", "call0003"),
    ("calls", "show", "call0004", "--json"),
    ("calls", "show", "call0005", "--json"),
    ("calls", "show", "call0010"),
    ("calls", "show", "call00"),
    ("calls", "show", "nobody"),
    ("webhook", "list"),
    ("webhook", "list", "--delivered"),
    ("webhook", "list", "--delivered", "--json"),
)

_PRICES: Final[Sequence[Sequence[str]]] = (
    ("prices", "list", "--at", "2026-11-20"),
    ("prices", "list", "--at", "2026-11-20", "--json"),
    ("prices", "list", "--provider", "openai", "--stage", "tts", "--at", "2026-01-01"),
    ("prices", "list", "--model", "flash", "--prices", "own-prices.yaml", "--at", "2026-11-20"),
    ("prices", "show", "openai/gpt-5.4", "--at", "2026-11-20"),
    ("prices", "show", "openai/gpt-5.4", "--at", "2026-11-20", "--json"),
    ("prices", "show", "gemini-3.5-flash", "--at", "2026-11-20"),
    ("prices", "show", "openai/gpt-4o-mini-tts", "--at", "2026-11-20"),
    ("prices", "show", "twilio/us-inbound-local", "--at", "2026-11-20"),
    ("prices", "show", "deepseek/deepseek-chat", "--at", "2026-11-20"),
    ("prices", "show", "gpt-4.1-min"),
    ("prices", "check", "own-prices.yaml"),
    ("prices", "check", "wrong"),
    ("prices", "diff", "genai-prices", "--day", "2026-11-20"),
    ("prices", "diff", "genai-prices", "--day", "2026-11-20", "--json"),
    ("config", "check", "wrong.yaml"),
)

_UNPRICED: Final[Sequence[Sequence[str]]] = (
    ("prices", "list", "--unpriced"),
    ("prices", "list", "--unpriced", "--json"),
)

_WRONG: Final = {
    "price": "entries:\n  - id: openai/gpt-4.1-mini\n    prices: [{per_1m: {input: abc}}]\n",
    "key": "schema: 1\ncurrency: USD\nentries:\n  - id: openai/x\n    stage: llm\n    pries: []\n",
    "id": "schema: 1\ncurrency: USD\nentries:\n  - prices: []\n",
    "day": "schema: 1\ncurrency: USD\nentries:\n  - id: openai/gpt-4.1-mini\n    prices:\n"
    "      - {per_1m: {input: 1, output: 2}, source: a, checked: 2026-13-01}\n",
    "twice": "schema: 1\ncurrency: USD\nentries:\n  - id: openai/x\n  - id: openai/x\n",
    "currency": "schema: 1\ncurrency: EUR\nentries: []\n",
    "unit": "schema: 1\ncurrency: USD\nentries:\n  - id: openai/gpt-4.1-mini\n    prices:\n"
    "      - {per_1k: {input: 1}, source: a, checked: 2026-11-01}\n",
    "syntax": "schema: 1\n  currency: [\n",
    "negative": "schema: 1\ncurrency: USD\nentries:\n  - id: openai/gpt-4.1-mini\n    prices:\n"
    "      - {per_1m: {input: -1, output: 2}, source: a, checked: 2026-11-01}\n",
    "hours": "schema: 1\ncurrency: USD\nentries:\n  - id: openai/gpt-4.1-mini\n    prices:\n"
    "      - {per_1m: {input: 1, output: 2}, source: a, checked: 2026-11-01,\n"
    "         windows: [{hours: 25:00-26:00, per_1m: {input: 1, output: 2}}]}\n",
}


def write_inputs(place: Path) -> None:
    """Write the files that commands name."""
    for name, text in (
        ("revenue.csv", _REVENUE),
        ("monthly.csv", _MONTHLY),
        ("costs.csv", _COSTS),
        ("usage.csv", _USAGE),
        ("wrong.yaml", "log:\n  format: jsn\n"),
    ):
        (place / name).write_text(text)
    folder = place / "wrong"
    folder.mkdir()
    for name, text in _WRONG.items():
        (folder / f"{name}.yaml").write_text(text)


def _named(version: Version, command: Sequence[str], answer: Answer) -> Iterator[tuple[str, bytes]]:
    name = version.neutral(" ".join(command).encode()).decode()
    yield f"$ {name}", f"exit status {answer.status}\n".encode() + answer.out
    if answer.err:
        yield f"$ {name} (standard error)", answer.err


def _run(
    version: Version,
    commands: Sequence[Sequence[str]],
    more: Sequence[str] = (),
    stdin: bytes = b"",
) -> Iterator[tuple[str, bytes]]:
    answers = version.run([[*each, *more] for each in commands], stdin)
    for command, answer in zip(commands, answers, strict=True):
        yield from _named(version, command, answer)


def asked(version: Version, data_dir: Path, config: Path) -> Iterator[tuple[str, bytes]]:
    """Answers of all commands about a ledger, and what they leave in it."""
    place = ("--data-dir", str(data_dir), "--config", str(config))
    in_forms = [[*each, *_SINCE, "--format", form] for each in _REPORTS for form in _FORMS]
    yield from _run(version, in_forms, place)
    yield from _run(version, [each for each in _ONCE if each[:2] != ("calls", "show")], place)
    yield from _run(version, [each for each in _ONCE if each[:2] == ("calls", "show")], place)
    for name in ("cost.html", "latency.html", "waste.html", "cost.parquet"):
        yield name, (version.place / name).read_bytes()
    yield from _run(version, _UNPRICED, ("--data-dir", str(data_dir)))
    yield from _run(version, [("ledger", "check", str(data_dir))])
    reprice = ("prices", "reprice", "--since", "2026-11-10", "--prices", "repriced.yaml")
    (version.place / "repriced.yaml").write_text(
        "schema: 1\ncurrency: USD\nentries:\n  - id: openai/gpt-4.1-mini\n    prices:\n"
        "      - {per_1m: {input: 7, cached_input: 1, output: 9}, source: z, checked: 2026-11-02}\n"
    )
    yield from _run(
        version,
        [
            [*reprice, "--dry-run"],
            [*reprice, "--stage", "llm", "--format", "json"],
            [*reprice, "--format", "csv"],
        ],
        place,
    )
    yield from _run(version, [("prices", "repricings"), ("prices", "repricings", "--json")], place)
    yield from _run(version, [("ledger", "check", str(data_dir))])
    yield from _run(version, [("report", "cost", "--by", "model", *_SINCE)], place)


def prices(version: Version) -> Iterator[tuple[str, bytes]]:
    """Answers about prices, which need no ledger."""
    yield from _run(version, _PRICES)
    yield from _run(version, [("prices", "quote")], stdin=streams.quoted())
