"""Mistakes in price files: each is reported with file, line, what is wrong and what to do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from livekit_exporter.prices.catalogue import Catalogue
from livekit_exporter.prices.files import compile as price_compiler
from livekit_exporter.prices.files.located import PriceFileError

GOOD = """\
schema: 1
currency: USD
providers:
  acme:
    hosts: [api.acme.test]
    names: [Acme]
  bolt: {usd_per_1m_credits: 50, source: plan page, checked: 2026-01-01}
entries:
  - id: acme/mind
    stage: llm
    match: [mind, "mind-<date>"]
    basis: tokens
    prices:
      - per_1m: {input: 2, cached_input: 0.5, output: 8}
        source: acme.test/pricing
        checked: 2026-10-21
      - valid_from: 2027-01-01
        per_1m: {input: 4, cached_input: 1, output: 16}
        above_input_tokens:
          - {over: 1000, per_1m: {input: 5, cached_input: 2, output: 20}}
        source: acme.test/pricing
        checked: 2026-10-21
  - id: acme/ear
    stage: stt
    match: [ear]
    basis: tokens
    min_seconds_per_request: 10
    prices:
      - {per_1m: {input: 1, output: 1}, source: acme.test/pricing, checked: 2026-10-21}
    fallback:
      basis: audio_time
      prices:
        - {per_minute: 0.006, source: acme.test/pricing, checked: 2026-10-21}
  - id: bolt/voice
    stage: tts
    basis: characters
    prices:
      - {credits_per_char: 1.5, source: bolt.test, checked: 2026-10-21}
  - id: acme/leg
    stage: platform
    basis: call_time
    round_up_seconds: 60
    prices:
      - {per_minute: 0.01, source: acme.test, checked: 2026-10-21}
"""


def problems(text: str) -> list[str]:
    """Messages about a price file."""
    with pytest.raises(PriceFileError) as caught:
        price_compiler.compiled([price_compiler.parse(text, "prices.yaml")])
    return str(caught.value).splitlines()


def test_good_file_compiles(written: Callable[[str], Catalogue]) -> None:
    """The file that the mistakes below are made in is right."""
    assert len(written(GOOD).entries) == 4


MISTAKES = [
    pytest.param(
        "    stage: llm\n",
        "    stagee: llm\n",
        [
            (
                "9: entry 'acme/mind': 'stage' is missing; say one of stt, llm, tts, realtime,"
                " turn_detection, interruption, avatar, platform, custom"
            ),
            "10: entry 'acme/mind': key 'stagee' is not known; did you mean 'stage'?",
        ],
        id="misspelt key",
    ),
    pytest.param(
        "        checked: 2026-10-21\n      - valid_from",
        "        as_of: 2026-10-21\n      - valid_from",
        [
            (
                "14: entry 'acme/mind': 'checked' is missing;"
                " say on which day the source was read, as 2026-10-21"
            ),
            "16: entry 'acme/mind': key 'as_of' is not known; did you mean 'checked'?",
        ],
        id="another word for a key",
    ),
    pytest.param(
        "{input: 2, cached_input: 0.5, output: 8}\n        source: acme.test/pricing\n",
        "{input: 2, cached_input: 0.5, output: 8}\n",
        ["14: entry 'acme/mind': 'source' is missing; say where the price was read"],
        id="no source",
    ),
    pytest.param(
        "stage: llm",
        "stage: lm",
        ["10: entry 'acme/mind': stage 'lm' is not known; did you mean 'llm'?"],
        id="unknown stage",
    ),
    pytest.param(
        "basis: characters",
        "basis: chars",
        ["36: entry 'bolt/voice': basis 'chars' is not known; did you mean 'characters'?"],
        id="unknown basis",
    ),
    pytest.param(
        "per_minute: 0.006",
        'per_minute: "0,006"',
        [
            (
                "33: entry 'acme/ear': 'per_minute' is '0,006', which is no number;"
                " write digits with a point, as 0.0048"
            )
        ],
        id="decimal comma",
    ),
    pytest.param(
        "per_minute: 0.006",
        "per_minute: 6e-3",
        [
            (
                "33: entry 'acme/ear': 'per_minute' is '6e-3', which is no number;"
                " write digits with a point, as 0.0048"
            )
        ],
        id="exponent",
    ),
    pytest.param(
        "per_minute: 0.006",
        "per_minute: $0.006",
        [
            (
                "33: entry 'acme/ear': 'per_minute' is '$0.006', which is no number;"
                " write digits with a point, as 0.0048"
            )
        ],
        id="currency sign",
    ),
    pytest.param(
        "per_minute: 0.006",
        "per_minute: -0.006",
        ["33: entry 'acme/ear': 'per_minute' is '-0.006'; it cannot be negative"],
        id="negative price",
    ),
    pytest.param(
        "per_minute: 0.006",
        "per_minute:",
        ["33: entry 'acme/ear': 'per_minute' must be text, and not empty"],
        id="empty price",
    ),
    pytest.param(
        "{per_minute: 0.01,",
        "{per_1m_chars: 15,",
        [
            (
                "44: entry 'acme/leg': 'per_1m_chars' is a price for 'characters', but the basis"
                " is 'call_time'; an entry bills one basis, use per_second or per_minute or"
                " per_hour or credits_per_second"
            ),
            (
                "44: entry 'acme/leg': there is no price;"
                " give exactly one of per_second, per_minute, per_hour, credits_per_second"
            ),
        ],
        id="price of another basis",
    ),
    pytest.param(
        "{per_minute: 0.01,",
        "{per_minute: 0.01, per_hour: 0.6,",
        [
            (
                "44: entry 'acme/leg': per_minute and per_hour are given;"
                " give exactly one of per_second, per_minute, per_hour, credits_per_second"
            )
        ],
        id="two prices",
    ),
    pytest.param(
        "per_1m: {input: 2, cached_input: 0.5, output: 8}",
        "per_1m_tokens: {input: 2, cached_input: 0.5, output: 8}",
        [
            "14: entry 'acme/mind': key 'per_1m_tokens' is not known; did you mean 'per_1m'?",
            (
                "14: entry 'acme/mind': 'per_1m' is missing;"
                " give USD per million tokens, as {input: 0.40, output: 1.60}"
            ),
        ],
        id="misspelt token prices",
    ),
    pytest.param(
        "per_1m: {input: 2, cached_input: 0.5, output: 8}",
        "per_1m: {input: 2, cached: 0.5}",
        [
            "14: entry 'acme/mind': key 'cached' is not known; did you mean 'cached_input'?",
            "14: entry 'acme/mind': 'per_1m' lacks 'output'; write 0 where it is free",
        ],
        id="token prices without output",
    ),
    pytest.param(
        "{input: 2, cached_input: 0.5,",
        "{input: 0.5, cached_input: 2,",
        ["14: entry 'acme/mind': 'cached_input' 2 is above 'input' 0.5; are the two swapped?"],
        id="cached dearer than input",
    ),
    pytest.param(
        "{over: 1000, per_1m: {input: 5, cached_input: 2, output: 20}}",
        "{over: 1k, per_1m: {input: 5, output: 20}}",
        ["20: entry 'acme/mind': 'over' is '1k'; write a whole number above zero"],
        id="threshold that is no number",
    ),
    pytest.param(
        "{over: 1000, per_1m: {input: 5, cached_input: 2, output: 20}}",
        "{over: 1000, per_1m: {input: 5, output: 20}}",
        [
            (
                "20: entry 'acme/mind': tier over 1000 lacks 'cached_input' of 'per_1m',"
                " which the base has"
            )
        ],
        id="tier without a price of its base",
    ),
    pytest.param(
        "valid_from: 2027-01-01",
        "valid_from: 2027-02-30",
        [
            (
                "17: entry 'acme/mind': 'valid_from' is '2027-02-30', which is no day;"
                " write it as 2026-10-21"
            ),
            "17: entry 'acme/mind': 'valid_from' is missing; only the first block may do without",
        ],
        id="no such day",
    ),
    pytest.param(
        "      - per_1m: {input: 2, cached_input: 0.5, output: 8}",
        "      - valid_from: 2027-03-01\n        per_1m: {input: 2, cached_input: 0.5, output: 8}",
        [
            (
                "18: entry 'acme/mind': 'valid_from' 2027-01-01 does not come after 2027-03-01;"
                " order the blocks by date, oldest first"
            )
        ],
        id="blocks out of order",
    ),
    pytest.param(
        "id: acme/ear",
        "id: acme/mind",
        ["23: entry 'acme/mind': declared twice; an id names one price"],
        id="id twice",
    ),
    pytest.param(
        "id: acme/ear",
        "id: acm/ear",
        [
            (
                "23: entry 'acm/ear': provider 'acm' is not declared; declare it under 'providers',"
                " did you mean 'acme'?"
            )
        ],
        id="undeclared provider",
    ),
    pytest.param(
        "id: acme/ear",
        "id: ear",
        ["23: entry 'ear': the id must read 'provider/model', without blanks"],
        id="id without provider",
    ),
    pytest.param(
        "stage: stt\n    match: [ear]\n    basis: tokens\n    min_seconds_per_request: 10\n",
        "stage: llm\n    match: [mind]\n    basis: tokens\n",
        [
            (
                "25: entry 'acme/ear': model 'mind' of stage 'llm' is already priced by"
                " 'acme/mind'; a model has one price"
            )
        ],
        id="model priced twice",
    ),
    pytest.param(
        "match: [ear]",
        'match: ["*ear"]',
        [
            (
                "25: entry 'acme/ear': model '*ear' cannot be matched;"
                " '*' stands for the rest of a name, at its end only"
            )
        ],
        id="star at the front",
    ),
    pytest.param(
        "match: [ear]",
        'match: ["ear-<day>"]',
        [
            (
                "25: entry 'acme/ear': model 'ear-<day>' cannot be matched;"
                " a snapshot's date is written '<date>', once"
            )
        ],
        id="unknown placeholder",
    ),
    pytest.param(
        "match: [ear]",
        "match: ear",
        ["25: entry 'acme/ear': 'match' must be a list, '- ...' on lines of their own or [...]"],
        id="text for a list",
    ),
    pytest.param(
        "match: [ear]",
        "match: []",
        [
            (
                "25: entry 'acme/ear': 'match' lists no model; list one, leave 'match' out to match"
                " the id, or name the entry in the provider's 'defaults'"
            )
        ],
        id="nothing to match",
    ),
    pytest.param(
        "    names: [Acme]",
        "    names: [Acme]\n    defaults: {stt: acme/eer}",
        [
            (
                "7: provider 'acme': default entry 'acme/eer' of stage 'stt' does not exist;"
                " did you mean 'acme/ear'?"
            )
        ],
        id="default that does not exist",
    ),
    pytest.param(
        "    names: [Acme]",
        "    names: [Acme]\n    defaults: {tts: acme/ear}",
        ["7: provider 'acme': default entry 'acme/ear' prices stt of 'acme', not tts of 'acme'"],
        id="default of another stage",
    ),
    pytest.param(
        "  bolt: {",
        "  bolt: {names: [acme], ",
        ["7: provider 'bolt': 'acme' already means provider 'acme'; a name has one owner"],
        id="name with two owners",
    ),
    pytest.param(
        "hosts: [api.acme.test]",
        'hosts: ["https://api.acme.test/v1"]',
        [
            (
                "5: provider 'acme': host 'https://api.acme.test/v1' is none;"
                " write it in lower case without scheme, port or path"
            )
        ],
        id="address for a host",
    ),
    pytest.param(
        "usd_per_1m_credits: 50, source: plan page, checked: 2026-01-01",
        "names: [Bolt]",
        [
            (
                "38: entry 'bolt/voice': 'credits_per_char' needs a price for credits;"
                " give the provider 'usd_per_1m_credits'"
            )
        ],
        id="credits without a price",
    ),
    pytest.param(
        "    round_up_seconds: 60\n",
        "    min_seconds_per_request: 60\n",
        ["42: entry 'acme/leg': 'min_seconds_per_request' is for stt that bills 'audio_time'"],
        id="minimum in the wrong place",
    ),
    pytest.param(
        "      basis: audio_time\n      prices:\n        - {per_minute: 0.006,",
        "      basis: tokens\n      prices:\n        - {per_1m: {input: 1, output: 1},",
        [
            "27: entry 'acme/ear': 'min_seconds_per_request' is for stt that bills 'audio_time'",
            (
                "31: entry 'acme/ear': the fallback bills 'tokens' like the entry;"
                " it is for requests that report nothing of the entry's basis"
            ),
        ],
        id="fallback on the same basis",
    ),
    pytest.param(
        "schema: 1",
        "schema: 2",
        ["1: schema '2' is not supported; write 'schema: 1'"],
        id="another schema",
    ),
    pytest.param(
        "currency: USD",
        "currency: EUR",
        ["2: currency 'EUR' is not supported; write 'currency: USD'"],
        id="another currency",
    ),
    pytest.param(
        "    basis: characters\n",
        "    basis: characters\n    basis: tokens\n",
        ["37: key 'basis' already stands on line 36; remove one"],
        id="key twice",
    ),
    pytest.param(
        "    hosts: [api.acme.test]",
        "    hosts: [api.acme.test",
        ["6: not valid YAML: expected ',' or ']', but got ':'"],
        id="broken YAML",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "messages"), MISTAKES)
def test_mistake_names_place_and_remedy(right: str, wrong: str, messages: list[str]) -> None:
    """Every kind of mistake gives file, line, entry, the offending value and the fix."""
    assert GOOD.count(right) == 1

    assert problems(GOOD.replace(right, wrong)) == [f"prices.yaml:{m}" for m in messages]


def test_all_mistakes_are_reported_at_once() -> None:
    """Nobody mends a file one run at a time."""
    text = GOOD.replace("per_minute: 0.006", "per_minute: cheap").replace("stage: tts", "stage: t")

    assert [message.partition(": ")[0] for message in problems(text)] == [
        "prices.yaml:33",
        "prices.yaml:35",
    ]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        pytest.param(
            {"input: 2, cached_input: 0.5, output: 8": "input: 2, cached_input: 3, out: 8"},
            [14, 14, 14],
            id="a sum over prices",
        ),
        pytest.param(
            {"2027-01-01": "2026-02-30", "      - per_1m": "      - checke: 1\n        per_1m"},
            [14, 18, 18],
            id="dates over blocks",
        ),
        pytest.param(
            {
                "per_minute: 0.006": "per_minute: cheap",
                "[ear]": "[mind]",
                "stage: stt": "stage: llm",
            },
            [25, 27, 33],
            id="entries over prices",
        ),
        pytest.param(
            {
                "hosts: [api.acme.test]": "hosts: [b.test, 'http://a']\n    name: x",
                "[Acme]": "[bolt]",
            },
            [5, 6, 8],
            id="names over hosts",
        ),
        pytest.param(
            {
                "1.5, source: bolt.test": "1.5",
                "usd_per_1m_credits: 50, ": "",
                "bolt: {": "bolt: {x: 1, ",
            },
            [7, 38, 38],
            id="a provider's credits",
        ),
    ],
)
def test_one_mistake_does_not_hide_another(changes: dict[str, str], lines: list[int]) -> None:
    """What is wrong with a whole shows beside what is wrong in its parts."""
    text = GOOD
    for right, wrong in changes.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)

    assert [int(message.split(":")[1]) for message in problems(text)] == lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "1: the file is empty; start with 'schema: 1'", id="empty"),
        pytest.param("- a\n", "1: a price file must be a table of keys and values", id="a list"),
        pytest.param("a: &x [*x]\n", "1: an anchor contains itself; write it out", id="a loop"),
        pytest.param("? [a]\n: b\n", "1: a key must be text", id="a list for a key"),
    ],
)
def test_file_that_is_no_price_file(text: str, message: str) -> None:
    """What is no table is refused with a line."""
    assert problems(text)[0] == f"prices.yaml:{message}"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A binary file is named, not a traceback."""
    path = tmp_path / "prices.yaml"
    path.write_bytes(b"\xff\xfe\x00broken")

    with pytest.raises(PriceFileError, match=r"prices\.yaml:1: not valid YAML"):
        price_compiler.read(path)


def test_two_files_share_no_id(written: Callable[[str], Catalogue]) -> None:
    """Files are checked together."""
    first = price_compiler.parse(GOOD, "a.yaml")
    second = price_compiler.parse(GOOD, "b.yaml")

    with pytest.raises(PriceFileError, match=r"b\.yaml:4: provider 'acme': declared twice"):
        price_compiler.compiled([first, second])
    assert written(GOOD).version == written(GOOD).version


def test_version_follows_the_content() -> None:
    """A corrected price is another version, a comment is not."""

    def version(text: str) -> str:
        return price_compiler.compiled([price_compiler.parse(text, "a.yaml")])["version"]

    assert version(GOOD) == version("# prices\n" + GOOD)
    assert version(GOOD) != version(GOOD.replace("0.006", "0.007"))
    assert version(GOOD).startswith("2026-10-21+")


def test_prices_stay_text_until_they_are_decimals() -> None:
    """No price passes through a float: eighteen digits arrive as they were written."""
    price = "123456789.000000000001"
    text = GOOD.replace("per_minute: 0.006", f"per_minute: {price}")

    compiled = price_compiler.compiled([price_compiler.parse(text, "a.yaml")])
    (entry,) = (entry for entry in compiled["entries"] if entry["id"] == "acme/ear")

    assert entry["tariffs"][1]["prices"][0]["usd"] == price


def test_compiled_form_is_fresh() -> None:
    """`python -m livekit_exporter.prices.files.compile` was run after the last change."""
    compiled = price_compiler.compiled(price_compiler.shipped())

    text = price_compiler.COMPILED.read_text(encoding="utf-8")
    assert price_compiler.rendered(compiled) == text
    assert json.loads(text) == compiled


def test_documented_example_is_a_price_file(written: Callable[[str], Catalogue]) -> None:
    """What the documentation shows can be copied."""
    text = (Path(__file__).parents[2] / "docs" / "prices.md").read_text(encoding="utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]

    assert set(written(example).entries) == {"acme/mind", "acme/on-our-gpu", "acme/on-our-cpu"}


def test_one_module_reads_yaml() -> None:
    """Calls read JSON; a YAML parser in the call's process would be felt."""
    room = price_compiler.COMPILED.parent

    read = (*room.glob("*.py"), *(room / "files").glob("*.py"))
    assert [path.name for path in read if "import yaml" in path.read_text()] == ["located.py"]
