"""Asks the sidecar what other calls have spent today.

In a thread of its own, with the standard library: neither the event loop nor the
journal waits for a sidecar that does not answer.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlencode
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, UnknownHandler

from livekit_exporter import files
from livekit_exporter.agent.journal import Journal
from livekit_exporter.agent.rate_limited_log import problems
from livekit_exporter.record import BudgetLookupFailed, Record, Scope

ENVIRONMENT: Final = "LIVEKIT_EXPORTER_URL"
DEFAULT_URL: Final = "http://127.0.0.1:7889"

_PATH: Final = "/api/v1/spend"
_TIMEOUT_SECONDS: Final = 3.0
_LONGEST_ANSWER_BYTES: Final = 65_536
_FIELDS: Final[Mapping[Scope, str]] = {"day": "day", "user_day": "user", "tenant_day": "label"}
_HERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where one reaches them
# A sidecar is no business of a proxy, and nothing but HTTP is a sidecar.
_opener: Final = OpenerDirector()
for _handler in (UnknownHandler, HTTPHandler, HTTPSHandler):
    _opener.add_handler(_handler())


class AnswerError(ValueError):
    """The answer is not a sidecar's."""


class LookupFailedError(Exception):
    """The sidecar could not be asked or gave no valid answer; the cause says why."""


@dataclass(frozen=True, slots=True)
class Day:
    """Spend of other calls in the current day of the sidecar's time zone.

    Args:
        start: When it began, Unix seconds.
        end: When the next one begins.
        spent: US dollars by scope, without this call's own.
    """

    start: float
    end: float
    spent: Mapping[Scope, Decimal]


def sidecar_url(explicit: str | None, root: Path) -> str:
    """Find the sidecar: by argument, environment, the data directory, or at the default address.

    Args:
        explicit: The address that the agent's author wrote.
        root: The data directory, where a sidecar writes the address at which it listens.
    """
    told = explicit or os.environ.get(ENVIRONMENT)
    if told:
        return told
    said = files.sidecar_address(root)
    if said is None:
        return DEFAULT_URL
    for everywhere, here in _HERE.items():
        host = f"[{everywhere}]" if ":" in everywhere else everywhere
        said = said.replace(f"//{host}:", f"//{here}:")
    return said


def ask(url: str, question: Mapping[str, str]) -> Day:
    """Ask a sidecar for the spend of others.

    Raises:
        LookupFailedError: It does not answer, or not with a spend.
    """
    address = f"{url.rstrip('/')}{_PATH}?{urlencode(question)}"
    try:
        with _opener.open(address, timeout=_TIMEOUT_SECONDS) as answer:
            return _read(answer.status, answer.read(_LONGEST_ANSWER_BYTES))
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        raise LookupFailedError from error


def _read(status: int, body: bytes) -> Day:
    if status != HTTPStatus.OK:
        raise AnswerError(f"it answers {status}")
    said = _mapping(json.loads(body))
    sums, day = _mapping(said.get("spend")), _mapping(said.get("day"))
    spent: dict[Scope, Decimal] = {}
    for scope, name in _FIELDS.items():
        if name in sums:
            parts = _mapping(sums[name])
            spent[scope] = _amount(parts, "reported_usd") + _amount(parts, "estimated_usd")
    return Day(float(_amount(day, "start_at")), float(_amount(day, "end_at")), spent)


def _mapping(said: object) -> Mapping[str, object]:
    if not isinstance(said, dict):
        raise AnswerError("its answer is no JSON object with the spend")
    return said


def _amount(said: Mapping[str, object], name: str) -> Decimal:
    number = said.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise AnswerError(f"'{name}' of its answer is {number!r}")
    if not 0 <= number < math.inf:
        raise AnswerError(f"'{name}' of its answer is {number!r}")
    return Decimal(str(number))


@dataclass(frozen=True, slots=True)
class _SpendAnswer:
    """The answer to one lookup, to be read by the journal's writer."""

    learn: Callable[[Day | None], None]
    session: str
    day: Day | None
    error: str = ""

    def records(self) -> Sequence[Record]:
        """Hand it to the tracker; a failure makes a record."""
        self.learn(self.day)
        if self.day is not None:
            return ()
        return (BudgetLookupFailed(session=self.session, at=time.time(), error=self.error),)


class Lookups:
    """Asks when the call begins and then at intervals, until its journal ends.

    It is a `journal.Follower` only to be told of that end.

    Args:
        journal: The call's journal, whose writer reads the answers.
        learn: Gets each answer on the writer's thread, `None` for a lookup that failed.
        session: Session id.
        url: Finds the sidecar's address, which may change.
        question: Parameters of the request.
        every_seconds: Seconds between two requests.
    """

    def __init__(
        self,
        journal: Journal,
        learn: Callable[[Day | None], None],
        session: str,
        url: Callable[[], str],
        question: Mapping[str, str],
        every_seconds: float,
    ) -> None:
        self._journal = journal
        self._learn = learn
        self._session = session
        self._url = url
        self._question = {**question, "exclude_session": session}
        self._every_seconds = every_seconds
        self._ended = threading.Event()
        self._away = False
        self._thread = threading.Thread(
            target=self._run, name="livekit-exporter-budget", daemon=True
        )

    def start(self) -> None:
        """Start to ask, in a thread of its own."""
        self._thread.start()

    def take(self, record: Record) -> None:
        """Ignore a record."""

    def end(self) -> None:
        """Stop asking: the call is over."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            answer = self._look_up()
            # It would wake a journal that rests, and count as lost in one that is closed.
            if not (self._ended.is_set() or self._journal.closed):
                self._journal.put(answer)
            self._ended.wait(self._every_seconds)

    def _look_up(self) -> _SpendAnswer:
        url = self._url()
        try:
            day = ask(url, self._question)
        except LookupFailedError as failed:
            cause = failed.__cause__
            if not self._away:
                self._away = True
                problems.warning(
                    "the sidecar at %s cannot be asked what others have spent today (%s);"
                    " budgets go by the last figure known and this call's own spend",
                    url,
                    cause,
                )
            return _SpendAnswer(self._learn, self._session, None, type(cause).__name__)
        self._away = False
        return _SpendAnswer(self._learn, self._session, day)
