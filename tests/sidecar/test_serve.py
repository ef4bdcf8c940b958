"""The sidecar as a process: killed, told to stop, refused its directory, its disk or its port."""

import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from livekit_exporter import files
from livekit_exporter.prices import catalogue, pricing
from livekit_exporter.record import UsageReported
from tests.conftest import Serve
from tests.records import AT, LLM, STT, Writer, call, heard, spoken, started, thought, write_journal
from tests.sidecars import Samples, total, wait_until

KILLS = 6


def rows(data_dir: Path, query: str) -> list[tuple[object, ...]]:
    """Ask the ledger with nothing but SQLite."""
    with closing(sqlite3.connect(files.ledger(data_dir), timeout=60)) as ledger:
        return list(ledger.execute(query))


def taken(data_dir: Path) -> int:
    """Usage rows in the ledger; 0 while there is no table."""
    with suppress(sqlite3.OperationalError):
        return int(str(rows(data_dir, "SELECT count(*) FROM usage")[0][0]))
    return 0


def cost(*records: UsageReported) -> float:
    """What the catalogue charges for records."""
    prices = catalogue.load()
    return sum(
        float(
            pricing.price(
                prices,
                stage=record.stage,
                provider=record.provider,
                model=record.model,
                label=record.label,
                usage=record.usage,
                at=record.at,
                streamed=record.streamed,
                connection=record.connection,
            ).cost
        )
        for record in records
    )


WRITER = """
import sys, time
from pathlib import Path
from tests.records import AT, Writer, closed, heard, spoken, started, thought

data_dir, calls, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
journals = [Writer(data_dir, f"s{n}-aa") for n in range(calls)]
for n, journal in enumerate(journals):
    journal.put(started(f"s{n}"))
for turn in range(rounds):
    at = AT + turn
    for n, journal in enumerate(journals):
        session = f"s{n}"
        journal.put(
            heard(session, at=at, seconds=1.5),
            thought(session, at=at, speech=f"speech-{turn}", tokens=turn),
            spoken(session, at=at, speech=f"speech-{turn}", characters=turn),
        )
    time.sleep(0.002)
for n, journal in enumerate(journals):
    journal.put(closed(f"s{n}", at=AT + rounds))
"""


def test_a_sidecar_killed_at_any_moment_counts_everything_once(
    data_dir: Path, serve: Serve
) -> None:
    """Rows, offsets and series stand in one transaction, so SIGKILL repeats and loses nothing."""
    calls, rounds = 8, 833
    truth = calls * cost(
        *(
            record
            for turn in range(rounds)
            for record in (
                heard(seconds=1.5),
                thought(tokens=turn),
                spoken(characters=turn),
            )
        )
    )
    chance = random.Random(7)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(data_dir), str(calls), str(rounds)],
        cwd=Path(__file__).parents[2],
    )
    with writer:
        expected = 3 * calls * rounds
        marks = sorted(chance.randrange(expected) for _ in range(KILLS - 1))
        # The first one dies while it makes its tables, the others where it happens to be.
        for mark in [0, *marks]:
            sidecar = serve()
            if mark == 0:
                wait_until(files.ledger(data_dir).exists, "the ledger is made")
            else:
                sidecar.wait_ready()
            wait_until(lambda mark=mark: taken(data_dir) >= mark, "it is on the way")  # type: ignore[misc]
            sidecar.kill()
    assert writer.returncode == 0

    last = serve()
    wait_until(
        lambda: total(last.samples(), "livekit_agent_sessions_closed_total") == calls,
        "all calls are in",
    )
    page = last.samples()

    assert taken(data_dir) == expected
    assert total(page, "livekit_exporter_records_total") == expected + 2 * calls
    assert total(page, "livekit_exporter_records_rejected_total") == 0
    assert total(page, "livekit_agent_requests_total") == expected
    assert total(page, "livekit_agent_llm_ttft_seconds_count") == calls * rounds
    assert total(page, "livekit_agent_llm_ttft_seconds_sum") == pytest.approx(calls * rounds * 0.4)
    assert total(page, "livekit_agent_audio_seconds_total", stage="stt") == calls * rounds * 1.5
    assert total(page, "livekit_agent_cost_usd_total") == pytest.approx(truth, abs=1e-9)
    for table in ("usage", "sessions", "turns", "daily"):
        summed = rows(data_dir, f"SELECT sum(cost_usd) FROM {table}")[0][0]  # noqa: S608 - a list
        counted = truth if table != "turns" else truth - calls * rounds * cost(heard(seconds=1.5))
        assert summed == pytest.approx(counted, abs=1e-9), table
    wait_until(lambda: list(files.journals(data_dir).iterdir()) == [], "all are deleted")


def test_counters_only_ever_rise_over_kills(data_dir: Path, serve: Serve) -> None:
    """Prometheus sees no reset: a restarted sidecar continues where the ledger stands."""
    pages: list[Samples] = []
    with Writer(data_dir) as journal:
        journal.put(started())
        for turn in range(4):
            sidecar = serve()
            sidecar.wait_ready()
            pages.append(sidecar.samples())
            journal.put(*(thought(at=AT + turn, speech=f"speech-{turn}") for _ in range(10)))
            wait_until(lambda turn=turn: taken(data_dir) >= 10 * (turn + 1))  # type: ignore[misc]
            sidecar.kill()

    for before, after in pairwise(pages):
        for key, value in before.items():
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert after[key] >= value, key


def test_a_second_sidecar_says_who_holds_the_directory(data_dir: Path, serve: Serve) -> None:
    """Two would each count half, or all twice."""
    first = serve()
    url = first.url

    second = serve()

    assert second.wait() == 1
    (line,) = second.said.splitlines()
    assert f"process {first.process.pid} " in line
    assert url in line
    assert str(data_dir) in line
    assert first.get("/-/healthy")[0] == 200


def test_a_directory_is_free_once_its_sidecar_is_killed(serve: Serve) -> None:
    """The system takes the lock back; nobody has to delete a file."""
    first = serve()
    first.wait_ready()
    first.kill()

    second = serve()

    second.wait_ready()


def test_sigterm_takes_in_what_is_there_and_exits_with_zero(data_dir: Path, serve: Serve) -> None:
    """A rolling update loses no page and no record."""
    config = data_dir.with_name("config.yaml")
    config.write_text("poll_seconds: 30\n")
    sidecar = serve("--config", str(config))
    sidecar.wait_ready()
    write_journal(data_dir, call())

    sidecar.signal(signal.SIGTERM)

    assert sidecar.wait() == 0
    assert rows(data_dir, "SELECT session, reason, ended FROM sessions") == [
        ("s1", "user_initiated", 1)
    ]
    assert "Traceback" not in sidecar.said


def test_sigterm_while_agents_are_writing_exits_with_zero(data_dir: Path, serve: Serve) -> None:
    """A half-written line is no reason to wait for ever, and no reason to fail."""
    sidecar = serve()
    sidecar.wait_ready()
    with Writer(data_dir) as journal:
        journal.put(started(), thought())
        journal.write(b'{"v":1,"kind":"usa')

        sidecar.signal(signal.SIGTERM)

        assert sidecar.wait() == 0
    assert taken(data_dir) == 1


def test_a_port_in_use_is_one_line(serve: Serve) -> None:
    """Where, what, what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"

        sidecar = serve("--listen-address", address)

        assert sidecar.wait() == 1
    (line,) = sidecar.said.splitlines()
    assert line.startswith(f"livekit-exporter: cannot listen on {address}: ")
    assert "--listen-address" in line


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of one MiB in memory at the data directory; options on request."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root and mount(8)")
    where = tmp_path / "data"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")

    def remount(options: str) -> Path:
        subprocess.run(["mount", "-o", f"remount,{options}", str(where)], check=True)
        return where

    yield remount
    subprocess.run(["umount", "--lazy", str(where)], check=True)


def test_a_read_only_directory_is_a_reason_and_mends(
    mount: Callable[[str], Path], data_dir: Path, serve: Serve
) -> None:
    """503 with the file and the system's word while it lasts, everything counted afterwards."""
    write_journal(data_dir, call())
    mount("ro")
    sidecar = serve()

    wait_until(lambda: "Read-only file system" in sidecar.get("/-/ready")[1], "it says why")
    status, body = sidecar.get("/-/ready")
    assert (status, body.count("\n")) == (503, 1)
    assert str(data_dir) in body
    assert sidecar.get("/metrics")[0] == 200

    mount("rw")
    sidecar.wait_ready()
    assert total(sidecar.samples(), "livekit_agent_sessions_closed_total") == 1
    assert sidecar.said.count("Read-only file system") == 1


def test_a_full_directory_is_a_reason_and_mends(
    mount: Callable[[str], Path], data_dir: Path, serve: Serve
) -> None:
    """Nothing is lost and nothing counted twice while the disk is full."""
    mount("size=1m")
    sidecar = serve()
    sidecar.wait_ready()
    with Writer(data_dir) as journal:
        journal.put(started(), *(thought(speech=f"speech-{n}") for n in range(50)))
        wait_until(lambda: taken(data_dir) == 50)
        free = os.statvfs(data_dir).f_bavail * os.statvfs(data_dir).f_frsize
        journal.put(*(thought(speech=f"speech-{n}") for n in range(300)))
        fill(data_dir / "ballast")
        assert free > 0

        wait_until(lambda: sidecar.get("/-/ready")[0] == 503, "it says why")
        status, body = sidecar.get("/-/ready")
        assert (status, body.count("\n")) == (503, 1)
        assert str(files.ledger(data_dir)) in body
        assert "full" in body
        before = sidecar.samples()
        counted = total(before, "livekit_agent_requests_total")
        assert counted == taken(data_dir)
        assert total(before, "livekit_exporter_ledger_errors_total") >= 1
        assert total(before, "livekit_exporter_journal_lag_bytes") > 0

        (data_dir / "ballast").unlink()
        sidecar.wait_ready()
    wait_until(lambda: taken(data_dir) == 350)
    page = sidecar.samples()
    assert total(page, "livekit_agent_requests_total") == 350
    assert total(page, "livekit_agent_cost_usd_total") == pytest.approx(
        rows(data_dir, "SELECT sum(cost_usd) FROM usage")[0][0], abs=1e-12
    )


def fill(ballast: Path) -> None:
    """Take all room that there is."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_disk_full_from_the_start_is_a_reason_and_mends(
    mount: Callable[[str], Path], data_dir: Path, serve: Serve
) -> None:
    """The page and its health answer although there is not even a ledger."""
    mount("size=1m")
    write_journal(data_dir, call())
    fill(data_dir / "ballast")
    sidecar = serve()

    wait_until(lambda: "have not been read" not in sidecar.get("/-/ready")[1], "it says why")
    status, body = sidecar.get("/-/ready")
    assert (status, body.count("\n")) == (503, 1)
    assert str(data_dir) in body
    assert sidecar.get("/metrics")[0] == 200

    (data_dir / "ballast").unlink()
    sidecar.wait_ready()
    assert total(sidecar.samples(), "livekit_agent_turns_total") == 1


def test_a_corrupt_ledger_is_a_reason_and_mends_when_it_is_moved_away(
    data_dir: Path, serve: Serve
) -> None:
    """The journals wait for whoever comes to look."""
    write_journal(data_dir, call())
    files.ledger(data_dir).write_bytes(b"this is no database" * 1000)
    sidecar = serve()

    wait_until(lambda: "cannot open ledger" in sidecar.get("/-/ready")[1], "it says why")
    status, body = sidecar.get("/-/ready")
    assert (status, body.count("\n")) == (503, 1)
    assert str(files.ledger(data_dir)) in body
    assert "Traceback" not in sidecar.said

    files.ledger(data_dir).unlink()
    sidecar.wait_ready()
    assert total(sidecar.samples(), "livekit_agent_turns_total") == 1


def test_sighup_takes_a_good_configuration_and_refuses_a_bad_one(
    tmp_path: Path, serve: Serve
) -> None:
    """A mistake keeps the old settings in force, and the page says that there was one."""
    config = tmp_path / "config.yaml"
    config.write_text("budget:\n  day_usd: 10\n")
    sidecar = serve("--config", str(config))
    sidecar.wait_ready()

    def budget() -> float:
        return total(sidecar.samples(), "livekit_agent_budget_usd", period="day")

    def reloaded() -> float:
        return total(sidecar.samples(), "livekit_exporter_config_last_reload_successful")

    wait_until(lambda: budget() == 10)
    config.write_text("budget:\n  day_usd: 25\n")
    sidecar.signal(signal.SIGHUP)
    wait_until(lambda: budget() == 25, "the new budget is in force")
    assert reloaded() == 1

    config.write_text("budget:\n  day_usd: much\n")
    sidecar.signal(signal.SIGHUP)
    wait_until(lambda: reloaded() == 0, "the mistake is shown")
    assert budget() == 25
    assert f"{config}:2" in sidecar.said
    assert sidecar.get("/-/ready")[0] == 200

    config.unlink()
    sidecar.signal(signal.SIGHUP)
    wait_until(lambda: "cannot read the configuration" in sidecar.said)

    config.write_text("budget:\n  day_usd: 30\n")
    sidecar.signal(signal.SIGHUP)
    wait_until(lambda: budget() == 30)
    wait_until(lambda: reloaded() == 1)


def test_the_end_of_the_parent_ends_the_sidecar(data_dir: Path, tmp_path: Path) -> None:
    """In-worker mode: the sidecar must not outlive a worker that was killed."""
    program = textwrap.dedent(
        """
        import sys
        from livekit_exporter.cli.app import app
        app(["serve", "--data-dir", sys.argv[1], "--listen-address", "127.0.0.1:0",
             "--parent-fd", "0"])
        """
    )
    write_journal(data_dir, call())
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(data_dir)], stdin=subprocess.PIPE, stderr=log
        )
    with child:
        wait_until(lambda: taken(data_dir) == 3)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(60) == 0


def test_a_killed_agent_is_closed_as_lost(data_dir: Path, serve: Serve) -> None:
    """No goodbye and no writer: what the journal says is all there will be."""
    sidecar = serve()
    with Writer(data_dir) as journal:
        journal.put(started(), heard())
        wait_until(lambda: total(sidecar.samples(), "livekit_agent_active_sessions") == 1)

    wait_until(
        lambda: total(sidecar.samples(), "livekit_agent_sessions_closed_total", reason="lost") == 1
    )
    # Gauges follow the counters of a batch, they are not on the page with them.
    wait_until(lambda: total(sidecar.samples(), "livekit_agent_active_sessions") == 0)


def test_declared_models_are_on_the_page_before_they_are_used(data_dir: Path, serve: Serve) -> None:
    """`rate()` misses a series' first value, so it has to be zero."""
    sidecar = serve()
    with Writer(data_dir) as journal:
        journal.put(started())
        wait_until(lambda: total(sidecar.samples(), "livekit_agent_sessions_total") == 1)
        page = sidecar.samples()

    for model in (LLM, STT):
        having = {("agent", "support"), ("stage", model.stage), ("model", model.model)}
        assert [
            value
            for (name, labels), value in page.items()
            if name == "livekit_agent_cost_usd_total" and having <= labels
        ] == [0.0]
