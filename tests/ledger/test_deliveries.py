"""The outbox in the ledger: made with the end of a call, changed with the call, and kept for it."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from pydantic import SecretStr

from livekit_exporter import contract, files
from livekit_exporter.ledger import copying, deliveries
from livekit_exporter.ledger.checking import findings
from livekit_exporter.ledger.rows import Batch, DeliveryRow, DeliveryState
from livekit_exporter.ledger.store import Ledger, LedgerError
from livekit_exporter.prices import catalogue
from livekit_exporter.sidecar.config.settings import Ledger as Place
from livekit_exporter.sidecar.config.settings import Webhook
from tests.intake import Intake
from tests.receivers import SECRET
from tests.records import AT, Writer, call, closed, heard, started
from tests.reports.test_reprice import CORRECTED, run
from tests.sidecars import wait_until

DAY = 86400.0
WEBHOOK = Webhook(url="https://example.com/hook", secret=SecretStr(SECRET))
EVERY: Final[Sequence[DeliveryState]] = ("pending", "delivered", "dead")


@pytest.fixture(params=["embedded", "server"])
def place(request: pytest.FixtureRequest) -> Place:
    """Both kinds of database."""
    if request.param == "embedded":
        return Place()
    return Place(url=SecretStr(request.getfixturevalue("database_url")))


def sending(data_dir: Path, place: Place | None = None, webhook: Webhook = WEBHOOK) -> Intake:
    """A sidecar's loop with a webhook; nobody delivers."""
    intake = Intake(data_dir, ledger=place)
    intake.config = intake.config.model_copy(update={"webhook": webhook})
    intake.ingest.configure(intake.config, catalogue.load())
    return intake


@pytest.fixture
def intake(data_dir: Path, place: Place) -> Iterator[Intake]:
    """A sidecar's loop with a webhook, on either database."""
    made = sending(data_dir, place)
    with closing(made.ingest):
        yield made


def where(intake: Intake) -> Path | str:
    """Where its ledger is."""
    return intake.config.ledger.where(intake.config.data_dir)


def rows(intake: Intake) -> dict[str, DeliveryRow]:
    """Deliveries by call, whatever their state."""
    found = deliveries.listed(where(intake), EVERY)
    assert len({row.session for row in found}) == len(found)
    return {row.session: row for row in found}


def pass_until_some(intake: Intake) -> None:
    """Passes until there is a delivery."""

    def there() -> bool:
        intake.passes()
        return bool(rows(intake))

    wait_until(there, "a call is at its end")


def attempt(intake: Intake, session: str = "s1", **outcome: object) -> DeliveryRow:
    """A courier tried, and hands over what became of it."""
    row = rows(intake)[session]
    tried = replace(row, attempts=row.attempts + 1, last_attempt_at=time.time())
    tried = replace(tried, **outcome)  # type: ignore[arg-type]
    intake.ingest.handover.put(tried)
    return tried


def test_a_call_is_to_be_delivered_when_it_ends_and_not_before(
    intake: Intake, data_dir: Path
) -> None:
    with Writer(data_dir) as journal:
        journal.put(*call()[:-1])
        intake.passes()
        assert rows(intake) == {}

        before = time.time()
        journal.put(closed())
    pass_until_some(intake)

    row = rows(intake)["s1"]
    assert (row.state, row.revision, row.attempts) == ("pending", 1, 0)
    assert before <= row.made_at == row.next_attempt_at <= time.time()


def test_a_call_of_a_killed_process_is_to_be_delivered_too(intake: Intake) -> None:
    intake.take(started(), heard())

    assert rows(intake)["s1"].state == "pending"


def test_without_a_webhook_nothing_is(intake: Intake) -> None:
    """And what ended then is not delivered later, when there is one."""
    intake.ingest.configure(
        intake.config.model_copy(update={"webhook": Webhook()}), catalogue.load()
    )
    intake.take(*call("before"))
    intake.ingest.configure(intake.config, catalogue.load())
    intake.take(*call("after"))
    intake.passes()

    assert rows(intake).keys() == {"after"}


def test_ids_are_of_call_revision_and_instance(data_dir: Path, tmp_path: Path) -> None:
    """The same call through another directory is another one's; a restart changes nothing."""
    ids: list[str] = []
    for folder in (data_dir, data_dir, tmp_path / "other"):
        intake = sending(folder)
        with closing(intake.ingest):
            if folder != data_dir or not ids:
                intake.take(*call())
            else:
                intake.passes()
            ids.append(rows(intake)["s1"].id)

    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("call_")
    assert ids[0].endswith("_1")
    assert "." not in ids[0], "the signature is over parts with points between"


def test_a_late_record_is_a_new_revision_of_the_same_call(intake: Intake) -> None:
    """Due when the call has been as it is for a moment."""
    intake.take(started(), heard())
    attempt(intake, state="delivered", delivered_at=1.0, status=200)
    intake.passes()
    first = rows(intake)["s1"]
    assert first.state == "delivered"

    intake.take(closed(at=AT + 60))

    second = rows(intake)["s1"]
    assert (second.state, second.revision, second.attempts) == ("pending", 2, 0)
    assert (second.status, second.delivered_at) == (None, None)
    assert second.next_attempt_at == second.made_at + deliveries.SETTLE_SECONDS
    assert first.id.removesuffix("_1") == second.id.removesuffix("_2")


def test_an_attempt_at_an_older_revision_says_nothing_of_the_newer(intake: Intake) -> None:
    """It was on its way while the call changed."""
    intake.take(started(), heard())
    late = attempt(intake, state="delivered", delivered_at=1.0)
    intake.ingest.handover.noted([late])
    intake.take(closed(at=AT + 60))

    intake.ingest.handover.put(late)
    intake.passes()

    assert (rows(intake)["s1"].state, rows(intake)["s1"].revision) == ("pending", 2)


def test_a_change_while_there_is_no_webhook_is_delivered_when_there_is(intake: Intake) -> None:
    """Otherwise one id would stand for two states of a call."""
    intake.take(started(), heard())
    intake.ingest.configure(
        intake.config.model_copy(update={"webhook": Webhook()}), catalogue.load()
    )
    intake.take(closed(at=AT + 60))

    assert rows(intake)["s1"].revision == 2


def test_a_repriced_call_is_delivered_again_and_no_other(intake: Intake) -> None:
    """Of those that were delivered, or were to be; in the transaction of the repricing."""
    intake.take(*call("costs"))
    intake.take(started("free"), closed("free"))
    for session in ("costs", "free"):
        attempt(intake, session, state="delivered", delivered_at=1.0)
    intake.passes()

    run(intake)
    intake.passes()

    found = rows(intake)
    assert (found["costs"].state, found["costs"].revision) == ("pending", 2)
    assert (found["free"].state, found["free"].revision) == ("delivered", 1)


def test_attempts_are_noted_and_counted(intake: Intake) -> None:
    for session in ("one", "two", "three"):
        intake.take(*call(session))
    attempt(intake, "one", state="delivered", delivered_at=5.0, status=200)
    attempt(intake, "two", state="dead", status=410, error="HTTP 410 Gone")
    waiting = attempt(intake, "three", next_attempt_at=time.time() + 60, error="refused")
    intake.passes()

    found = rows(intake)
    assert [found[name].state for name in ("one", "two", "three")] == [
        *("delivered", "dead", "pending")
    ]
    assert found["three"] == waiting
    assert intake.counter(contract.WEBHOOK_DELIVERIES) == 1
    assert intake.counter(contract.WEBHOOK_ERRORS) == 2
    assert intake.counter(contract.WEBHOOK_DEAD_LETTERS) == 1
    assert intake.ingest.handover.tried() == ()


def test_counters_of_deliveries_go_on_after_a_restart(data_dir: Path, place: Place) -> None:
    """They are in the transaction that notes the attempt."""
    first = sending(data_dir, place)
    with closing(first.ingest):
        first.take(*call())
        attempt(first, state="delivered", delivered_at=5.0)
        first.passes()
    second = sending(data_dir, place)
    with closing(second.ingest):
        second.passes()

        assert second.counter(contract.WEBHOOK_DELIVERIES) == 1


def test_an_attempt_is_kept_until_it_could_be_noted(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that cannot be written for a while costs no second delivery."""
    intake.take(*call())
    attempt(intake, state="delivered", delivered_at=5.0)
    commit = Ledger.commit

    def refuse(_ledger: Ledger, _batch: Batch) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(Ledger, "commit", refuse)
    assert not intake.ingest.attempt()
    assert len(intake.ingest.handover.tried()) == 1

    monkeypatch.setattr(Ledger, "commit", commit)
    intake.passes()
    assert rows(intake)["s1"].state == "delivered"
    assert intake.counter(contract.WEBHOOK_DELIVERIES) == 1


def test_a_commit_whose_answer_was_lost_counts_once(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is asked whether it knows the attempt already."""
    intake.take(*call())
    attempt(intake, error="refused", next_attempt_at=time.time() + 60)
    commit = Ledger.commit

    def lose(ledger: Ledger, batch: Batch) -> None:
        commit(ledger, batch)
        raise LedgerError("the connection broke")

    monkeypatch.setattr(Ledger, "commit", lose)
    assert not intake.ingest.attempt()
    monkeypatch.setattr(Ledger, "commit", commit)
    intake.passes()

    assert rows(intake)["s1"].attempts == 1
    assert intake.counter(contract.WEBHOOK_ERRORS) == 1
    assert intake.ingest.handover.tried() == ()


def test_what_is_due_comes_in_its_order_and_no_more_than_asked_for(intake: Intake) -> None:
    now = time.time()
    for number in range(5):
        intake.take(*call(f"s{number}"))
        attempt(intake, f"s{number}", next_attempt_at=now + 100 - number)
    intake.passes()
    ledger = intake.ingest.ledger
    assert ledger is not None

    assert ledger.due(now, 9).deliveries == []
    assert ledger.due(now, 9).next_at == pytest.approx(now + 96)
    found = ledger.due(now + 98, 2)
    assert [row.session for row in found.deliveries] == ["s4", "s3"]
    assert found.next_at == pytest.approx(now + 99)
    pending, oldest = ledger.backlog()
    assert pending == 5
    assert oldest == rows(intake)["s0"].made_at


def test_a_clock_that_was_set_back_puts_nothing_off(intake: Intake) -> None:
    """No pause is longer than an hour, so what is due in days is due now."""
    intake.take(*call())
    ledger = intake.ingest.ledger
    assert ledger is not None

    day_before = time.time() - DAY
    assert [row.session for row in ledger.due(day_before, 9).deliveries] == ["s1"]


@pytest.mark.parametrize("state", ["delivered", "dead"])
def test_retention_waits_for_what_is_to_be_delivered(
    data_dir: Path, place: Place, state: str
) -> None:
    """And takes the delivery with its call, once that is done or given up."""
    intake = sending(data_dir, place.model_copy(update={"keep_days": 30.0}))
    long_ago = time.time() - 100 * DAY
    with closing(intake.ingest):
        intake.take(started(at=long_ago), heard(at=long_ago), closed(at=long_ago + 60))
        later(intake)
        assert rows(intake)["s1"].state == "pending"
        assert intake.figure("SELECT count(*) FROM usage") == 1

        attempt(intake, state=state)
        intake.passes()
        later(intake)

        assert rows(intake) == {}
        assert intake.figure("SELECT count(*) FROM sessions") == 0
        assert list(findings(where(intake))) == []


def test_retention_does_not_wait_for_nobody(data_dir: Path, place: Place) -> None:
    """What a removed webhook has not taken goes with its call."""
    keeping = place.model_copy(update={"keep_days": 30.0})
    intake = sending(data_dir, keeping)
    long_ago = time.time() - 100 * DAY
    with closing(intake.ingest):
        intake.take(started(at=long_ago), closed(at=long_ago + 60))
        without = intake.config.model_copy(update={"webhook": Webhook(), "ledger": keeping})
        intake.ingest.configure(without, catalogue.load())
        later(intake)

        assert rows(intake) == {}


def test_retention_waits_for_others_that_live_and_for_no_others(
    data_dir: Path, tmp_path: Path, database_url: str
) -> None:
    """A pod that is gone delivers nothing any more."""
    place = Place(url=SecretStr(database_url), keep_days=30.0)
    long_ago = time.time() - 100 * DAY
    other = sending(tmp_path / "other", Place(url=SecretStr(database_url)))
    with closing(other.ingest):
        other.take(started(at=long_ago), closed(at=long_ago + 60))
    intake = sending(data_dir, place)
    with closing(intake.ingest):
        intake.passes()
        later(intake)
        assert rows(intake).keys() == {"s1"}

        import psycopg

        with psycopg.connect(database_url) as server:
            server.execute(
                "UPDATE instances SET committed_at = %s WHERE instance IN"
                " (SELECT instance FROM deliveries)",
                (long_ago,),
            )
        later(intake)
        assert rows(intake) == {}


def later(intake: Intake) -> None:
    """An hour passes."""
    intake.clock.advance(3600)
    for _ in range(3):
        intake.passes()


def test_a_retry_makes_deliveries_due_beside_a_running_sidecar(intake: Intake) -> None:
    """Under their old ids; the sidecar goes on writing."""
    for session in ("dead", "other"):
        intake.take(*call(session))
        attempt(intake, session, state="dead", status=404, refusals=10, first_attempt_at=5.0)
    intake.passes()
    before = rows(intake)

    assert deliveries.retry(where(intake), [before["dead"]]) == 1
    intake.take(*call("meanwhile"))

    after = rows(intake)
    assert (after["dead"].state, after["other"].state) == ("pending", "dead")
    assert after["dead"].id == before["dead"].id
    assert (after["dead"].attempts, after["dead"].refusals) == (0, 0)
    assert after["dead"].first_attempt_at is None
    assert after["dead"].next_attempt_at == pytest.approx(time.time(), abs=60)
    assert after["meanwhile"].state == "pending"


def test_a_retry_of_a_call_that_changed_since_changes_nothing(intake: Intake) -> None:
    intake.take(started(), heard())
    attempt(intake, state="dead")
    intake.passes()
    listed = rows(intake)["s1"]
    intake.take(closed(at=AT + 60))

    assert deliveries.retry(where(intake), [listed]) == 0
    assert rows(intake)["s1"].revision == 2


def test_there_is_nothing_to_retry_in_no_ledger(data_dir: Path) -> None:
    """And none is made."""
    with pytest.raises(LedgerError, match="there is none"):
        deliveries.listed(files.ledger(data_dir), EVERY)
    assert not files.ledger(data_dir).exists()


def test_a_copied_ledger_delivers_what_the_old_one_had_to(
    data_dir: Path, database_url: str
) -> None:
    """Under the same ids."""
    intake = sending(data_dir)
    with closing(intake.ingest):
        intake.take(*call("one"))
        intake.take(*call("two"))
        attempt(intake, "one", state="dead", error="HTTP 410 Gone", status=410)
        intake.passes()
        before = rows(intake)

    copying.copy(files.ledger(data_dir), database_url, lambda *_: None)

    assert {row.session: row for row in deliveries.listed(database_url, EVERY)} == before
    moved = sending(data_dir, Place(url=SecretStr(database_url)))
    with closing(moved.ingest):
        moved.passes()
        ledger = moved.ingest.ledger
        assert ledger is not None
        assert [row.id for row in ledger.due(time.time(), 9).deliveries] == [before["two"].id]


def test_a_delivery_of_no_call_is_found(data_dir: Path) -> None:
    intake = sending(data_dir)
    with closing(intake.ingest):
        intake.take(*call())
        assert list(findings(where(intake))) == []
    path = files.ledger(data_dir)
    with closing(sqlite3.connect(path)) as ledger, ledger:
        ledger.execute("UPDATE deliveries SET session = 'gone'")

    assert list(findings(path)) == ["deliveries: 1 rows of call 'gone', which is not there"]


def test_a_call_that_ends_is_to_be_delivered_or_has_not_ended(data_dir: Path, place: Place) -> None:
    """A transaction that fails after the session's row leaves neither."""
    intake = sending(data_dir, place)
    with closing(intake.ingest), pytest.MonkeyPatch.context() as patched:

        def fail(*_: object) -> None:
            raise LedgerError("the power failed")

        patched.setattr(Ledger, "_add", fail)
        with suppress(AssertionError):
            intake.take(*call())
        assert intake.ask("SELECT * FROM sessions") == intake.ask("SELECT * FROM deliveries") == []

        patched.undo()
        pass_until_some(intake)
        assert intake.figure("SELECT count(*) FROM sessions WHERE ended") == 1


def test_the_page_tells_of_a_backlog_only_while_there_is_one(intake: Intake) -> None:
    """Without one there is no age to alert on."""
    oldest = "livekit_exporter_webhook_oldest_pending_timestamp_seconds"
    intake.passes()
    page = intake.page()
    assert "livekit_exporter_webhook_pending 0.0" in page
    assert f"\n{oldest} " not in page

    intake.take(*call())
    ledger = intake.ingest.ledger
    assert ledger is not None
    intake.ingest.handover.backlog = ledger.backlog()
    intake.passes()
    assert "livekit_exporter_webhook_pending 1.0" in intake.page()
    assert f"\n{oldest} " in intake.page()


def test_repriced_costs_are_those_of_the_corrected_prices() -> None:
    """The repricing above would change nothing if the corrected prices were the shipped ones."""
    assert CORRECTED.version != catalogue.load().version
