"""A PostgreSQL server of our own, on loopback, that a test may kill."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import psycopg
import pytest

from tests.sidecars import wait_until

PASSWORD: Final = "s3cr3t/of:the@test"
_QUOTED: Final = "s3cr3t%2Fof%3Athe%40test"


def programs() -> Path | None:
    """Where Debian puts the newest PostgreSQL, or wherever else it is on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts)
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).parent if on_path else None


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """One cluster; ended and deleted at the end of the block."""

    def __init__(self) -> None:
        where = programs()
        if where is None:
            pytest.skip("PostgreSQL is not installed")
        self._programs = where
        self._user = _harmless_user()
        # Not below pytest's folder: that is closed to the user that the server runs as.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.port = free_port()

    def __enter__(self) -> Self:
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            *("initdb", "--pgdata", str(self._data), "--username", "meter", "--encoding", "UTF8"),
            *("--auth", "scram-sha-256", "--pwfile", str(secret), "--no-sync", "--locale", "C"),
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def log(self) -> str:
        """What the server said."""
        return (self._folder / "log").read_text(errors="replace")

    def url(self, database: str) -> str:
        """URL of a database of it."""
        return f"postgresql://meter:{_QUOTED}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection in which every statement is a transaction."""
        return psycopg.connect(self.url(database), autocommit=True)

    def new_database(self) -> str:
        """Make an empty database; its name."""
        self._databases += 1
        name = f"ledger_{self._databases}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._as_harmless_user(),
                    str(self._programs / "postgres"),
                    *("-D", str(self._data), "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                    # The machine goes on when the server is killed, so nothing has to be synced.
                    *("-c", "fsync=off", "-c", "max_connections=40", "-c", "shared_buffers=16MB"),
                ],
                stdout=log,
                stderr=log,
                cwd="/",
            )

        def answers() -> bool:
            process = self._process
            if process is None or process.poll() is not None:
                # The children of a killed one hold its memory for a moment longer.
                self.start()
                return True
            with suppress(psycopg.OperationalError):
                self.connect().close()
                return True
            return False

        wait_until(answers, "PostgreSQL answers")

    def kill(self) -> None:
        """SIGKILL to the postmaster; what it was doing is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as_harmless_user(), str(self._programs / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr

    def _as_harmless_user(self) -> list[str]:
        if self._user is None:
            return []
        return [
            *("setpriv", f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}"),
            *("--clear-groups", "--"),
        ]


def _harmless_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL does not run as root, and there is no other user")
