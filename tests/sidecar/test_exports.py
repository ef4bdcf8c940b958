"""The file of a call that ended: what is in it, when it is there, and whom it names."""

import json
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from livekit_exporter import contract, files
from livekit_exporter.sidecar.config.settings import Config, Export
from livekit_exporter.sidecar.exports import file_name
from tests.intake import Intake
from tests.records import (
    AT,
    answered,
    asked,
    call,
    closed,
    committed,
    heard,
    spoken,
    started,
    thought,
)

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "call.schema.json").read_text("utf-8"))
PERSON = replace(started(), user="anna@example.test", room="room-of-anna", job="AJ_1")


def written(data_dir: Path) -> list[Path]:
    """Exports that were written."""
    return sorted(files.calls(data_dir).glob("*/*"))


def exported(data_dir: Path) -> dict[str, Any]:
    """The one export, valid by the published schema."""
    (file,) = written(data_dir)
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)
    return document


def with_settings(intake: Intake, **settings: object) -> None:
    """Change how exports are written."""
    config = Config(data_dir=intake.config.data_dir, export=Export.model_validate(settings))
    intake.ingest.configure(config, intake.prices)


def test_a_call_is_exported_with_its_turns(intake: Intake) -> None:
    """Under the day that it began, with every request in the turn whose cost it is part of."""
    intake.take(
        PERSON,
        heard(at=AT + 1),
        asked(),
        committed(),
        thought(),
        spoken(),
        answered(),
        heard(at=AT + 20),
        closed(at=AT + 30),
    )

    (file,) = written(intake.config.data_dir)
    assert file.parent.name == "2026-11-18"
    assert file.name == "s1.json"
    document = exported(intake.config.data_dir)
    (turn,) = document["turns"]
    assert [len(turn[stage]) for stage in ("stt", "llm", "tts")] == [1, 1, 1]
    assert turn["latency_seconds"] == 0.9
    assert turn["cost_usd"] == pytest.approx(
        sum(request["cost_usd"] for stage in ("stt", "llm", "tts") for request in turn[stage])
    )
    assert [request["stage"] for request in document["outside_turns"]] == ["stt"]
    assert document["cost_usd"] == pytest.approx(
        turn["cost_usd"] + document["outside_turns"][0]["cost_usd"], abs=1e-12
    )
    assert document["cost_usd"] == pytest.approx(
        sum(total["cost_usd"] for total in document["stages"].values()), abs=1e-12
    )
    assert document["latencies"]["latency_seconds"]["p95"] == 0.9
    assert (document["incomplete"], document["user"]) == (False, "anna@example.test")


def test_a_killed_call_is_exported_as_incomplete(intake: Intake) -> None:
    """The sidecar writes it, so nobody has to say goodbye."""
    intake.take(started(), heard())

    document = exported(intake.config.data_dir)
    assert (document["reason"], document["incomplete"]) == ("lost", True)


def test_an_unknown_price_is_null_in_the_export(intake: Intake) -> None:
    """And counted, because the sum lacks it."""
    intake.take(started(), asked(), thought(model="gpt-99"), answered(), closed())

    document = exported(intake.config.data_dir)
    assert document["turns"][0]["llm"][0]["cost_usd"] is None
    assert document["unpriced_requests"] == document["stages"]["llm"]["unpriced_requests"] == 1


def test_what_is_said_after_the_end_is_exported_too(intake: Intake) -> None:
    """A second journal of the same call: its first was taken for the whole."""
    intake.take(started(), heard())
    assert exported(intake.config.data_dir)["incomplete"]

    intake.take(closed(at=AT + 60))

    assert exported(intake.config.data_dir)["duration_seconds"] == 60
    assert intake.counter(contract.CALLS_EXPORTED) == 2


def test_names_are_hashed_alike_and_not_to_be_guessed(data_dir: Path, tmp_path: Path) -> None:
    """The key is the installation's: the same name has one hash here and another elsewhere."""
    documents = []
    for folder in (data_dir, tmp_path / "other"):
        intake = Intake(folder)
        with closing(intake.ingest):
            with_settings(intake, redaction="hash")
            intake.take(PERSON, closed())
            intake.take(replace(PERSON, session="s2"), closed("s2"))
        documents.append([json.loads(file.read_text("utf-8")) for file in written(folder)])
    (first, second), (elsewhere, _) = documents

    assert first["user"] == second["user"] != elsewhere["user"]
    assert first["redaction"] == "hash"
    text = json.dumps(documents)
    assert "anna" not in text
    assert "AJ_1" not in text
    assert stat.S_IMODE(files.redaction_key(data_dir).stat().st_mode) == 0o600


def test_names_are_dropped(intake: Intake) -> None:
    """Neither user nor room nor job; labels are the operator's own words and stay."""
    with_settings(intake, redaction="drop")
    intake.take(replace(PERSON, labels={"tenant": "acme"}), closed())

    document = exported(intake.config.data_dir)
    assert (document["user"], document["room"], document["job"]) == (None, None, None)
    assert document["labels"] == {"tenant": "acme"}


def test_nothing_is_written_when_it_is_not_wanted(intake: Intake) -> None:
    """And what was not written comes when it is wanted again."""
    with_settings(intake, enabled=False)
    intake.take(*call())
    assert written(intake.config.data_dir) == []

    with_settings(intake, enabled=True)
    intake.passes()
    assert len(written(intake.config.data_dir)) == 1


@pytest.mark.parametrize("session", ["../../escape", "a/b", ".hidden", "x" * 200, "sätze", "a\nb"])
def test_a_strange_id_is_no_path(intake: Intake, session: str) -> None:
    """The name of the file is a digest; the id stands inside."""
    intake.take(started(session), closed(session))

    (file,) = written(intake.config.data_dir)
    assert file.stem == file_name(session) != session
    assert exported(intake.config.data_dir)["session"] == session


def test_a_full_disk_costs_no_export_and_holds_nothing_up(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file where the folder should be: the ledger goes on, the export comes later."""
    intake = Intake(data_dir)
    files.make(data_dir)
    files.calls(data_dir).write_text("in the way")
    with closing(intake.ingest):
        intake.take(*call())

        assert intake.counter(contract.SESSIONS_CLOSED) == 1
        assert intake.counter(contract.EXPORT_ERRORS) == 1
        assert "the ledger has it, trying again" in caplog.text

        files.calls(data_dir).unlink()
        intake.clock.advance(10)
        intake.passes()
    assert exported(data_dir)["session"] == "s1"


def test_an_export_that_a_crash_prevented_comes_at_the_next_start(data_dir: Path) -> None:
    """The ledger knows which calls have none."""
    first = Intake(data_dir)
    with closing(first.ingest):
        with_settings(first, enabled=False)
        first.take(*call())

    second = Intake(data_dir)
    with closing(second.ingest):
        second.passes()
    assert exported(data_dir)["session"] == "s1"


def test_files_follow_the_mode_of_their_directory(data_dir: Path) -> None:
    """Shared with a group where the directory is, private where it is not."""
    files.make(data_dir)
    data_dir.chmod(0o2770)
    intake = Intake(data_dir)
    with closing(intake.ingest):
        intake.take(*call())

    (file,) = written(data_dir)
    assert stat.S_IMODE(file.stat().st_mode) == 0o660
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o2770


def test_days_that_are_too_old_are_removed(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole days only, and nothing that is not ours."""
    intake.take(*call())
    folder = files.calls(intake.config.data_dir)
    for name in ("2020-01-01", "notes", "2020-1-1"):
        (folder / name).mkdir()
    with_settings(intake, keep_days=2)
    monkeypatch.setattr("time.time", lambda: AT + 86400)
    intake.clock.advance(3600)
    intake.passes()

    assert sorted(path.name for path in folder.iterdir()) == ["2020-1-1", "2026-11-18", "notes"]


def test_no_text_of_the_conversation_is_in_an_export(intake: Intake) -> None:
    """Not a field that could hold any."""
    intake.take(*call())

    names = {name.lower() for name in _names(exported(intake.config.data_dir))}
    assert not names & {"text", "transcript", "content", "message", "prompt"}


def _names(part: object) -> list[str]:
    if isinstance(part, dict):
        return [*part, *(name for inner in part.values() for name in _names(inner))]
    if isinstance(part, list):
        return [name for inner in part for name in _names(inner)]
    return []


def test_many_ended_calls_are_exported_in_several_passes(intake: Intake) -> None:
    """Journals do not wait for files."""
    names = [f"s{number}" for number in range(60)]
    intake.take(*map(started, names), *map(closed, names))
    assert len(written(intake.config.data_dir)) == 50
    intake.passes()
    assert len(written(intake.config.data_dir)) == 60
