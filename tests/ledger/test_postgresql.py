"""The same ledger in PostgreSQL: exact, shared, and quiet about its password."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

import pytest

pytest.importorskip("psycopg", reason="needs psycopg: pip install -e '.[postgres]'")

import psycopg
from sqlalchemy import inspect

from livekit_exporter.ledger import schema
from livekit_exporter.ledger.backends.locate import locate
from livekit_exporter.ledger.backends.server import Server
from livekit_exporter.ledger.rows import Batch, Position, SeriesRow, TurnRow
from livekit_exporter.ledger.store import Ledger, LedgerError
from tests.ledger.test_store import SESSION, batch_of, full_batch, usage
from tests.postgres import PASSWORD, Postgres, free_port
from tests.records import AT


def count(url: str, table: str) -> int:
    """Rows of a table, asked with nothing but the driver."""
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608
        assert found is not None
        return int(found[0])


def message(url: str) -> str:
    """What is said when a ledger cannot be opened; never a password."""
    with pytest.raises(LedgerError) as caught:
        Ledger(url)
    text = str(caught.value)
    assert "\n" not in text
    for secret in (PASSWORD, "s3cr3t"):
        assert secret not in text
    return text


def test_what_was_committed_is_there_after_a_restart(database_url: str) -> None:
    """Calls, turns, series and positions, to the last digit."""
    with closing(Ledger(database_url, "one")) as ledger:
        ledger.commit(full_batch())
        assert ledger.size_bytes() > 0
    with closing(Ledger(database_url, "one")) as ledger:
        assert ledger.open_sessions() == [SESSION]
        assert ledger.turn("s1", "speech-1") == TurnRow(session="s1", speech="speech-1", at=AT)
        assert ledger.series() == full_batch().series
        assert ledger.positions() == {"s1-aa.jsonl": Position(100, discarding=True)}
        assert ledger.models(0.0) == [("llm", "openai", "gpt-4.1-mini", 1, 0, 0.5)]
        assert ledger.spend(AT - 100) == ledger.spend(0.0) == {("support", "reported"): 0.5}
        assert ledger.last_record_at() == AT


def test_rows_are_replaced_changed_and_added_up(database_url: str) -> None:
    """A call is one row, waste finds its usage, a day's cost is a sum."""
    with closing(Ledger(database_url)) as ledger:
        ledger.commit(full_batch())
        again = full_batch()
        again.sessions["s1"].turns = 3
        again.wasted[1] = (0.25, "interrupted")
        ledger.commit(again)

        found = ledger.session("s1")
        assert found is not None
        assert found.turns == 3
        assert ledger.spend(0.0) == {("support", "reported"): 1.0}
    with psycopg.connect(database_url) as connection:
        wasted = connection.execute("SELECT wasted_usd, waste_reason FROM usage ORDER BY id")
        assert wasted.fetchall() == [(0.25, "interrupted"), (0.0, None)]


def test_a_batch_that_fails_leaves_nothing(database_url: str) -> None:
    """Its last row is refused by the database, long after its first was written."""
    with closing(Ledger(database_url)) as ledger:
        batch = full_batch()
        batch.positions["bad"] = Position(None)  # type: ignore[arg-type]
        with pytest.raises(LedgerError, match="cannot write ledger 'postgresql://127"):
            ledger.commit(batch)
        for table in ("usage", "sessions", "turns", "series", "positions", "daily", "failures"):
            assert count(database_url, table) == 0, table

        ledger.commit(full_batch())
        assert count(database_url, "usage") == 1


def test_sidecars_in_one_database_do_not_see_one_another(database_url: str) -> None:
    """Each has its own calls, turns, series, positions and spend, under the same names."""
    with closing(Ledger(database_url)) as one, closing(Ledger(database_url)) as two:
        assert one.instance != two.instance
        one.commit(full_batch())
        assert not any((two.open_sessions(), two.turns("s1"), two.series(), two.models(0.0)))
        assert not any((two.session("s1"), two.positions(), two.spend(0.0)))

        two.commit(full_batch())
        two.forget(series_before=0.0, now=AT)

        assert one.series() == full_batch().series
        assert (one.spend(0.0), two.spend(0.0)) == (
            {("support", "reported"): 0.5},
            {("support", "reported"): 0.5},
        )


def test_the_longest_names_of_any_language_fit(database_url: str) -> None:
    """An index of PostgreSQL holds 2.7 kB; a journal may say 200 characters of four bytes each."""
    name = "".join(chr(0x1F300 + number) for number in range(200))
    row = replace(
        usage(agent=name),
        session=name, speech=name, provider=name, model=name, user=name, labels=name * 50,
    )  # fmt: skip
    session = replace(SESSION, session=name, journal=name[:60], agent=name, labels=name * 50)
    with closing(Ledger(database_url)) as ledger:
        ledger.commit(
            Batch(
                usage=[row],
                sessions={name: session},
                turns={(name, name): TurnRow(session=name, speech=name, at=AT)},
                series=[SeriesRow(name, name * 50, 1.0, None, AT)],
                positions={name[:60]: Position(1)},
            )
        )

        assert ledger.session(name) == session
        assert len(ledger.turns(name)) == 1


def test_processes_that_start_at_once_make_one_ledger(database_url: str) -> None:
    """One makes the tables, the others find them."""
    code = "import sys; from livekit_exporter.ledger.store import Ledger; Ledger(sys.argv[1])"
    racers = [
        subprocess.Popen([sys.executable, "-c", code, database_url], stderr=subprocess.PIPE)
        for _ in range(5)
    ]
    for racer in racers:
        _, said = racer.communicate()
        assert racer.returncode == 0, said.decode()

    assert count(database_url, "ledger_version") == 1
    assert count(database_url, "instances") == 5


def test_both_databases_have_the_same_tables(database_url: str) -> None:
    """Names, keys and what may be missing."""
    with closing(Ledger(database_url)), closing(locate(database_url)) as database:
        there = inspect(database.engine)
        assert set(there.get_table_names()) == set(schema.metadata.tables)
        for table in schema.metadata.tables.values():
            found = {column["name"]: column["nullable"] for column in there.get_columns(table.name)}
            assert found == {column.name: column.nullable for column in table.columns}
            key = there.get_pk_constraint(table.name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key]
            assert {index["name"] for index in there.get_indexes(table.name)} == {
                index.name for index in table.indexes
            }


def test_a_newer_ledger_is_refused(database_url: str) -> None:
    """This program does not know what it would destroy."""
    Ledger(database_url).close()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE ledger_version SET version_num = '99'")

    assert "version 99" in message(database_url)


def test_another_programs_database_is_refused_and_left_alone(database_url: str) -> None:
    """Unless the ledger gets a schema of its own in it."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("CREATE SCHEMA ledger")

    assert "another program's" in message(database_url)
    with closing(Ledger(f"{database_url}?options=-csearch_path%3Dledger")) as ledger:
        ledger.commit(full_batch())
    assert count(database_url, "ledger.usage") == 1
    assert "another program's" in message(database_url)


def test_what_cannot_be_reached_is_one_clear_line(postgres: Postgres, database_url: str) -> None:
    """Where and why, and never the password."""
    assert "authentication failed" in message(database_url.replace("s3cr3t", "s3cr3t-wrong"))
    assert 'database "none" does not exist' in message(postgres.url("none"))
    nobody = database_url.replace(str(postgres.port), str(free_port()))
    assert "Connection refused" in message(nobody)
    assert "no-such-host.invalid" in message(nobody.replace("127.0.0.1", "no-such-host.invalid"))


@pytest.mark.parametrize(
    "url",
    [
        "mysql://meter:s3cr3t@host/ledger",
        "postgresql://meter:s3cr3t@host:port/ledger",
        "s3cr3t",
        "",
    ],
)
def test_a_url_that_is_none_is_one_clear_line(url: str) -> None:
    """What to write instead."""
    assert "postgresql://user:password@host:5432/database" in message(url)


def test_a_missing_driver_is_one_clear_line(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says how to install it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    assert "pip install 'livekit-exporter[postgres]'" in message(database_url)


def test_a_transaction_that_is_still_under_way_is_waited_for(database_url: str) -> None:
    """Its connection was lost here and not there: what is read next must be what holds."""
    with closing(Ledger(database_url, "one")) as ledger, psycopg.connect(database_url) as lost:
        lost.execute("UPDATE instances SET commits = commits + 1 WHERE instance = 'one'")
        lost.execute("INSERT INTO positions VALUES ('one', 'a.jsonl', 7, false, NULL)")
        claim = threading.Thread(target=ledger.claim)
        claim.start()
        time.sleep(0.2)
        assert claim.is_alive()
        lost.commit()
        claim.join()

        assert ledger.positions() == {"a.jsonl": Position(7)}
        ledger.commit(full_batch())


def test_a_transaction_that_comes_too_late_is_refused(database_url: str) -> None:
    """Whatever it wrote has been written since."""
    with closing(Ledger(database_url, "one")) as late, closing(Ledger(database_url, "one")) as now:
        now.commit(full_batch())
        with pytest.raises(LedgerError, match="something else has written as instance 'one'"):
            late.commit(full_batch())

    assert count(database_url, "usage") == 1


class Cut:
    """A network that breaks at the commit, before or after the server has heard of it.

    Args:
        port: The server's.
        delivered: Whether the server still hears it; its answer is lost either way.
    """

    def __init__(self, port: int, *, delivered: bool) -> None:
        self._port, self._delivered = port, delivered
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.armed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:  # noqa: FBT001
        with suppress(OSError):
            while data := source.recv(65536):
                if asking and self.armed and b"COMMIT" in data:
                    self.armed = False
                    source.close()
                    if self._delivered:
                        sink.sendall(data)
                        time.sleep(0.5)
                    break
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.mark.parametrize("delivered", [True, False])
def test_a_commit_whose_outcome_is_unknown_is_resolved_by_reading_again(
    postgres: Postgres, database_url: str, *, delivered: bool
) -> None:
    """The same error here, two truths there."""
    with Cut(postgres.port, delivered=delivered) as cut:
        through = database_url.replace(str(postgres.port), str(cut.port))
        with closing(Ledger(through, "one")) as ledger:
            cut.armed = True
            with pytest.raises(LedgerError):
                ledger.commit(full_batch())
            ledger.claim()

            assert bool(ledger.positions()) is delivered
            if not ledger.positions():
                ledger.commit(full_batch())

    assert count(database_url, "usage") == 1


def test_a_report_reads_one_state_and_cannot_write(database_url: str) -> None:
    """Whatever is written meanwhile."""
    with (
        closing(Ledger(database_url)) as ledger,
        closing(Server(database_url, read_only=True)) as report,
        report.snapshot() as connection,
    ):
        query = "SELECT count(*) FROM usage"
        assert connection.exec_driver_sql(query).scalar() == 0
        ledger.commit(full_batch())
        assert connection.exec_driver_sql(query).scalar() == 0

        with pytest.raises(LedgerError, match="read-only"), report.snapshot() as other:
            other.exec_driver_sql("DELETE FROM usage")


def test_old_calls_are_deleted_whoever_took_them_in(database_url: str) -> None:
    """A pod that is gone deletes nothing any more; two that are there delete nothing twice."""
    for number in range(3):
        batch = batch_of(usage())
        batch.sessions["s1"] = replace(SESSION, ended=True)
        with closing(Ledger(database_url, f"gone-{number}")) as gone:
            gone.commit(batch)
    open_one = full_batch()
    with closing(Ledger(database_url, "one")) as one, closing(Ledger(database_url, "two")) as two:
        one.commit(open_one)
        deleted = [0, 0]

        def delete(number: int, ledger: Ledger) -> None:
            deleted[number] = ledger.forget_calls(AT + 1, 10)

        threads = [threading.Thread(target=delete, args=each) for each in enumerate((one, two))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert max(deleted) >= 1
        assert count(database_url, "sessions") == count(database_url, "usage") == 1
        assert one.session("s1") is not None
        assert one.shrink() is False
