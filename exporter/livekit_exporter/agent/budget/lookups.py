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
from decimal import Decimal
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlencode
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, UnknownHandler

from livekit_exporter import files
from livekit_exporter.agent.budget.watch import Day, Watch
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
    """The answer is none of a sidecar's."""


class LookupFailedError(Exception):
    """The sidecar could not be asked, or its answer is none; the cause says why."""


def sidecar_url(explicit: str | None, root: Path) -> str:
    """Where the sidecar is: as told, by the environment, by its own word, or the usual place.

    Args:
        explicit: As the agent's author wrote it.
        root: The data directory, where a sidecar says at which address it listens.
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
    """What others have spent.

    Raises:
        LookupFailedError: Nobody answers, or nothing that can be understood.
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
        raise AnswerError("its answer is no spend")
    return said


def _amount(said: Mapping[str, object], name: str) -> Decimal:
    number = said.get(name)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise AnswerError(f"'{name}' of its answer is {number!r}")
    if not 0 <= number < math.inf:
        raise AnswerError(f"'{name}' of its answer is {number!r}")
    return Decimal(str(number))


class _Answer:
    """What a lookup brought, to be read by the journal's writer."""

    def __init__(self, watch: Watch, session: str, day: Day | None, error: str) -> None:
        self._watch, self._session, self._day, self._error = watch, session, day, error

    def records(self) -> Sequence[Record]:
        """Let the watch know; a record of a failure."""
        self._watch.learn(self._day)
        if self._day is not None:
            return ()
        return (BudgetLookupFailed(session=self._session, at=time.time(), error=self._error),)


class Lookups:
    """Asks when the call begins and then again and again, until its journal ends.

    A `journal.Follower` for its end only.

    Args:
        journal: The call's journal, whose writer reads the answers.
        watch: Who wants to know.
        session: Session id.
        url: Where the sidecar is by now.
        question: Parameters of the question.
        every_seconds: How often.
    """

    def __init__(
        self,
        journal: Journal,
        watch: Watch,
        session: str,
        url: Callable[[], str],
        question: Mapping[str, str],
        every_seconds: float,
    ) -> None:
        self._journal = journal
        self._watch = watch
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
        """Begin to ask."""
        self._thread.start()

    def take(self, record: Record) -> None:
        """Nothing: records are none of its business."""

    def end(self) -> None:
        """The call is over."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            answer = self._look_up()
            # What is put into a journal that closes counts as lost, which this is not.
            if not self._journal.closing:
                self._journal.put(answer)
            self._ended.wait(self._every_seconds)

    def _look_up(self) -> _Answer:
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
            return _Answer(self._watch, self._session, None, type(cause).__name__)
        self._away = False
        return _Answer(self._watch, self._session, day, "")
