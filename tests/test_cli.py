"""The command line: what it prints, where it says no, and that it is documented."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from livekit_exporter import __version__
from livekit_exporter.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = "".join(
    path.read_text("utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
)


def commands(command: object, words: str = "livekit-exporter") -> dict[str, object]:
    """Every group and command by the words that lead to it."""
    found = {words: command}
    for name, inner in getattr(command, "commands", {}).items():
        found |= commands(inner, f"{words} {name}")
    return found


GROUPS_AND_COMMANDS = commands(typer.main.get_command(app))
COMMANDS = [words for words, each in GROUPS_AND_COMMANDS.items() if not hasattr(each, "commands")]


def program(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the real program."""
    return subprocess.run(
        [sys.executable, "-m", "livekit_exporter", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environ},
    )


def test_commands_were_found() -> None:
    """An empty list would pass the test below."""
    assert {"livekit-exporter serve", "livekit-exporter config check"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_documented(command: str) -> None:
    """A command that no document names is a command that nobody finds."""
    assert re.search(rf"\b{command}\b", DOCUMENTS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_explains_itself(command: str) -> None:
    """Every command has help, and every option of it says what it does."""
    result = CliRunner().invoke(app, [*command.split()[1:], "--help"])

    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize("words", GROUPS_AND_COMMANDS)
def test_help_shows_every_bracket(words: str) -> None:
    """Rich takes unescaped brackets for markup and drops them, `[default: 7d]` for one."""
    command = GROUPS_AND_COMMANDS[words]
    texts = [getattr(command, name, None) for name in ("help", "short_help", "epilog")]
    defaults = []
    for parameter in getattr(command, "params", ()):
        if getattr(parameter, "hidden", False):
            continue
        texts.append(getattr(parameter, "help", None))
        stated = getattr(parameter, "show_default", False)
        defaults += [f"[default: ({stated})]"] if isinstance(stated, str) else []
    brackets = [found for text in texts for found in re.findall(r"\[[^\]]*\]", text or "")]

    result = CliRunner().invoke(app, [*words.split()[1:], "--help"], env={"COLUMNS": "300"})

    shown = " ".join(result.output.replace("│", " ").split())
    assert [each for each in (*brackets, *defaults) if each not in shown] == []


def test_help_states_the_default_period() -> None:
    """A default that only the help names is in the help."""
    result = CliRunner().invoke(app, ["report", "cost", "--help"], env={"COLUMNS": "300"})

    assert "[default: (7d)]" in result.output


def test_version_is_printed() -> None:
    """One line with the name, for scripts."""
    result = program("--version")

    assert (result.returncode, result.stdout) == (0, f"livekit-exporter {__version__}\n")


def test_help_loads_nothing_heavy() -> None:
    """Help and completion answer at once."""
    heavy = ["sqlalchemy", "aiohttp", "prometheus_client", "pydantic", "livekit", "yaml"]
    code = (
        "import sys; from typer.testing import CliRunner; from livekit_exporter.cli.app import app;"
        " CliRunner().invoke(app, ['--help']);"
        f" print(sorted(set({heavy!r}) & set(sys.modules)))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout == "[]\n"


def test_good_configuration_is_ok(tmp_path: Path) -> None:
    """Exit code 0 and a line that says so."""
    file = tmp_path / "exporter.yaml"
    file.write_text("log: {level: info}\n")

    result = program("config", "check", str(file))

    assert (result.returncode, result.stdout, result.stderr) == (0, f"{file}: ok\n", "")


def test_mistake_in_the_configuration_is_one_line(tmp_path: Path) -> None:
    """File, line, setting and remedy on standard error, exit code 1, no traceback."""
    file = tmp_path / "exporter.yaml"
    file.write_text("\nlog:\n  format: jsn\n")

    result = program("config", "check", str(file))

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"livekit-exporter: {file}:3: log.format: input should be 'text' or 'json', not 'jsn';"
        " did you mean 'json'?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--listen-address", "7889"], "--listen-address: listen_address: the port is"),
        (["serve", "--log-level", "loud"], "--log-level: log.level: input should be"),
        (["serve", "--config", "missing.yaml"], "missing.yaml: cannot read the configuration"),
        (["replay", "missing.jsonl"], "missing.jsonl"),
        (["config", "check", "missing.yaml"], "missing.yaml: cannot read the configuration"),
    ],
)
def test_mistake_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    """Whatever a person can mistype, the answer is a line and exit code 1."""
    result = program(*arguments, LIVEKIT_EXPORTER_DATA_DIR=str(tmp_path))

    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"livekit-exporter: .*\n", result.stderr)
    assert message in result.stderr


def test_replay_prints_its_counts(tmp_path: Path) -> None:
    """As a line for people, as JSON for programs."""
    stream = tmp_path / "events.jsonl"
    stream.write_text("not json\n")

    for_people = program("replay", str(stream), "--data-dir", str(tmp_path))
    for_programs = program("replay", str(stream), "--data-dir", str(tmp_path), "--json")

    assert for_people.stdout.startswith("1 lines: 0 records of 0 sessions")
    assert json.loads(for_programs.stdout)["lines"] == 1


def test_demo_without_livekit_says_what_to_install() -> None:
    """The sidecar's image has no agents in it."""
    code = (
        "import sys; sys.modules['livekit'] = None;"
        " from livekit_exporter.cli.app import main; sys.argv = ['x', 'demo']; main()"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert result.stderr == (
        "livekit-exporter: the demo needs LiveKit's agents; install them with:"
        " pip install 'livekit-exporter[agent]'\n"
    )


def test_wrong_usage_is_told_apart_from_failure() -> None:
    """An unknown option is exit code 2, as for every program built on click."""
    assert program("serve", "--no-such-option").returncode == click.UsageError.exit_code
