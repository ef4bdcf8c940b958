"""A user's prices over the shipped ones, and what they make of an event."""

import json
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from livekit_exporter.cli.app import app
from livekit_exporter.cli.quote import quote
from livekit_exporter.prices.catalogue import Catalogue, from_compiled, load
from livekit_exporter.prices.files import overlay
from livekit_exporter.prices.files.located import PriceFileError
from tests.prices.test_price_files import GOOD, MISTAKES

AT = 1_795_000_000.0
HEAD = "schema: 1\ncurrency: USD\n"
OWN = (
    HEAD
    + """\
providers:
  cartesia: {usd_per_1m_credits: 39.2, source: our plan, checked: 2026-11-01}
  openai: {names: [Our proxy]}
  ours: {hosts: [gpu.internal]}
entries:
  - id: openai/gpt-4.1-mini
    prices:
      - {per_1m: {input: 1, output: 2}, source: our contract, checked: 2026-11-01}
  - id: ours/llama
    stage: llm
    free: self-hosted
  - id: ours/ear
    stage: stt
    basis: audio_time
    prices:
      - {per_hour: 0.36, source: our GPU, checked: 2026-11-01}
"""
)


def laid(tmp_path: Path, text: str) -> Catalogue:
    """The shipped catalogue with a file over it."""
    file = tmp_path / "own.yaml"
    file.write_text(text)
    return from_compiled(overlay.load(file))


def rates(catalogue: Catalogue, entry: str) -> dict[str, Decimal]:
    """Prices in force of an entry."""
    prices = catalogue.prices_of(catalogue.entries[entry], AT)
    assert prices is not None
    return dict(prices.rates)


def test_own_price_replaces_the_shipped_one(tmp_path: Path) -> None:
    """The rest of the entry and every other entry stay."""
    own, shipped = laid(tmp_path, OWN), load()

    assert rates(own, "openai/gpt-4.1-mini")["input_token"] == Decimal("0.000001")
    assert own.entries["openai/gpt-4.1-mini"].match == shipped.entries["openai/gpt-4.1-mini"].match
    assert own.entries["openai/gpt-4.1"] == shipped.entries["openai/gpt-4.1"]
    assert own.version != shipped.version
    assert rates(own, "ours/ear") == {"audio_second": Decimal("0.0001")}


def test_own_plan_reprices_credits(tmp_path: Path) -> None:
    """One number at the provider moves every price in its credits."""
    assert rates(laid(tmp_path, OWN), "cartesia/sonic")["character"] == Decimal("0.0000392")


def test_own_name_is_added_to_the_shipped_ones(tmp_path: Path) -> None:
    """A proxy's name does not take the vendor's own away."""
    own = laid(tmp_path, OWN)

    assert {own.provider(name) for name in ("our proxy", "api.openai.com")} == {"openai"}


def test_mistake_against_a_shipped_price_is_shown_in_the_users_file(tmp_path: Path) -> None:
    """What the two files make together is wrong where the user wrote."""
    text = f"{HEAD}entries:\n  - id: openai/gpt-4.1\n    basis: characters\n"

    with pytest.raises(PriceFileError) as caught:
        laid(tmp_path, text)

    assert {(Path(p.file).name, p.line) for p in caught.value.problems} == {("own.yaml", 4)}


def test_plan_without_source_is_refused(tmp_path: Path) -> None:
    """The shipped plan's source is none for another plan's price."""
    with pytest.raises(PriceFileError, match=r"own\.yaml:4: provider 'cartesia': 'source' is"):
        laid(tmp_path, f"{HEAD}providers:\n  cartesia: {{usd_per_1m_credits: 1}}\n")


def test_an_id_twice_is_still_a_mistake(tmp_path: Path) -> None:
    """Merging hides no mistake of the file itself."""
    entry = "  - {id: openai/gpt-4.1}\n"

    with pytest.raises(PriceFileError, match=r"own\.yaml:5: .*declared twice"):
        laid(tmp_path, f"{HEAD}entries:\n{entry}{entry}")


def program(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a `prices` command in this process, as a pipe would see it."""
    words = ["prices", *arguments]
    result = CliRunner().invoke(app, words, given, env={"NO_COLOR": "1"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return subprocess.CompletedProcess(words, result.exit_code, result.stdout, result.stderr)


def test_check_names_every_mistake_of_every_file(tmp_path: Path) -> None:
    """File, line, value and remedy, for one broken file per kind of mistake."""
    expected = ""
    files = []
    for number, case in enumerate(MISTAKES):
        right, wrong, messages = case.values
        file = tmp_path / f"{number:02}.yaml"
        file.write_text(GOOD.replace(str(right), str(wrong)))
        files.append(str(file))
        assert isinstance(messages, list)
        expected += "".join(f"{file}:{message}\n" for message in messages)
    assert len(files) >= 20

    result = program("check", *files)

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == expected


def test_check_of_a_good_file(tmp_path: Path) -> None:
    """Exit code 0 and a line that says so."""
    file = tmp_path / "own.yaml"
    file.write_text(OWN)

    assert program("check", str(file)).stdout == f"{file}: ok\n"


def metrics(provider: str, model: str, tokens: int) -> str:
    """One line of LLM metrics."""
    return json.dumps(
        {
            "type": "llm_metrics",
            "at": "2026-11-20T12:00:00Z",
            "prompt_tokens": tokens,
            "metadata": {"model_provider": provider, "model_name": model},
        }
    )


def test_quote_tells_unknown_unused_and_free_apart(tmp_path: Path) -> None:
    """No price, no usage, and a price of zero are three answers."""
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    lines = [
        metrics("api.openai.com", "gpt-99", 1000),
        metrics("api.openai.com", "gpt-4.1-mini", 0),
        metrics("gpu.internal:8000", "llama", 1000),
        metrics("api.openai.com", "gpt-4.1-mini", 1000),
    ]

    result = program("quote", "--prices", str(file), given="\n".join(lines))

    assert result.returncode == 0
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(a["status"], a["price_id"], a["cost_usd"]) for a in answers] == [
        ("unpriced", None, None),
        ("nothing_to_bill", None, "0"),
        ("priced", "ours/llama", "0"),
        ("priced", "openai/gpt-4.1-mini", "0.001000"),
    ]
    assert answers[0]["why"] == "no entry of the catalogue prices this model"
    assert answers[3]["block"] == {
        "basis": "tokens",
        "valid_from": None,
        "above_input_tokens": None,
        "time_of_day": None,
        "source": "our contract",
        "checked": "2026-11-01",
        "confidence": "high",
    }


def test_quote_answers_bad_lines_and_goes_on() -> None:
    """Each is named by its number, and the exit code is 1 at the end."""
    bad = ["{", "[]", '{"type": "x"}', '{"type": "llm_metrics", "at": "noon"}']
    good = metrics("api.openai.com", "gpt-4.1-mini", 1000)

    result = program("quote", given="\n".join([*bad, good]))

    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 1
    assert [answer.get("line") for answer in answers] == [1, 2, 3, 4, None]
    assert Decimal(answers[-1]["cost_usd"]) == Decimal("0.0004")


@pytest.mark.parametrize("junk", ["NaN", "-5", "1e30", '"many"', "[]", "{}", "Infinity", "true"])
@pytest.mark.parametrize(
    ("kind", "field", "model"),
    [
        ("llm_metrics", "prompt_tokens", ("api.openai.com", "gpt-4.1-mini")),
        ("tts_metrics", "characters_count", ("Cartesia", "sonic-3")),
        ("stt_metrics", "audio_duration", ("Deepgram", "nova-3")),
        ("realtime_model_metrics", "session_duration", ("api.x.ai", "grok-voice-latest")),
    ],
)
def test_junk_in_a_quantity_is_unpriced(
    junk: str, kind: str, field: str, model: tuple[str, str]
) -> None:
    """What cannot have been counted has no price, and no number stands in for it."""
    metadata = json.dumps({"model_provider": model[0], "model_name": model[1]})

    answer = quote(f'{{"type": "{kind}", "{field}": {junk}, "metadata": {metadata}}}', load())

    assert (answer["status"], answer["cost_usd"], answer["parts"]) == ("unpriced", None, [])
    assert answer["why"] == "a quantity is negative, absurd or no number"


def test_what_is_said_to_be_free_loses_its_price(tmp_path: Path) -> None:
    """And what gets a price is free no more."""
    free = laid(tmp_path, f"{HEAD}entries:\n  - {{id: openai/whisper-1, free: our own host}}\n")

    assert free.entries["openai/whisper-1"].free == "our own host"
    assert not free.entries["openai/whisper-1"].tariffs


def test_check_reads_a_directory(tmp_path: Path) -> None:
    """Every file in it is named, the good ones as good."""
    (tmp_path / "good.yaml").write_text(OWN)
    (tmp_path / "bad.yml").write_text(OWN.replace("per_hour", "per_day"))
    (tmp_path / "notes.txt").write_text("no prices")

    result = program("check", str(tmp_path))

    assert result.returncode == 1
    assert result.stdout == f"{tmp_path / 'good.yaml'}: ok\n"
    assert (
        f"{tmp_path / 'bad.yml'}:18: entry 'ours/ear': key 'per_day' is not known" in result.stderr
    )


def test_check_of_a_directory_without_prices_says_so(tmp_path: Path) -> None:
    """An empty answer would look like success."""
    result = program("check", str(tmp_path))

    assert result.returncode == 1
    assert "no price files in it" in result.stderr


def test_every_kind_of_mistake_is_told_apart_in_a_directory(tmp_path: Path) -> None:
    """File, line, what is wrong and what to do, for each of more than twenty kinds."""
    cases = [tuple(case.values) for case in MISTAKES]
    for number, (wrong, right, _) in enumerate(cases):
        text = GOOD.replace(str(wrong), str(right))
        (tmp_path / f"{number:02}.yaml").write_text(text)

    result = program("check", str(tmp_path))

    assert (result.returncode, result.stdout) == (1, "")
    said = result.stderr.splitlines()
    assert len(cases) > 20
    for number, (_, _, messages) in enumerate(cases):
        assert isinstance(messages, list)
        for message in messages:
            assert f"{tmp_path}/{number:02}.yaml:{message}" in said
