"""Problems of the exporter are logged once a minute each, and never reach the call."""

import logging
from concurrent.futures import ThreadPoolExecutor

from livekit_exporter.agent.rate_limited_log import RateLimitedLog
from tests.agent.logs import EXPORTER, logged, raising_handler


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_site_in_a_loop_logs_once_a_minute() -> None:
    """Also where every round has another address in its text."""
    clock = Clock()
    log = RateLimitedLog(EXPORTER, clock)

    with logged(logging.WARNING) as lines:
        for second in range(150):
            clock.now = second
            log.warning("cannot reach %s", f"sidecar-{second}")

    assert lines.texts() == [
        f"livekit-exporter: cannot reach sidecar-{second}" for second in (0, 60, 120)
    ]


def test_two_sites_do_not_silence_each_other() -> None:
    """A disk that is full must not hide a budget that does not hold."""
    log = RateLimitedLog(EXPORTER, Clock())

    with logged(logging.WARNING) as lines:
        for _ in range(3):
            log.warning("the disk is full")
            log.warning("the budget does not hold", error=ValueError("0"))

    assert lines.texts() == [
        "livekit-exporter: the disk is full",
        "livekit-exporter: the budget does not hold",
    ]
    assert [record.levelno for record in lines.records] == [logging.WARNING, logging.ERROR]
    assert lines.records[1].exc_info is not None


def test_threads_that_fail_together_log_one_line() -> None:
    """Journals of several calls meet the same full disk."""
    log = RateLimitedLog(EXPORTER, Clock())

    with logged(logging.WARNING) as lines, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: log.warning("call %d", number), range(400)))

    assert len(lines.records) == 1


def test_neither_a_handler_that_raises_nor_a_wrong_format_reaches_the_caller() -> None:
    """The handlers are the user's."""
    log = RateLimitedLog(EXPORTER, Clock())

    with raising_handler():
        log.warning("the disk is full")
        log.warning("%d of %d", "one")  # noqa: PLE1206 - the mistake


def test_a_reset_lets_every_message_through_again() -> None:
    """As if a minute had gone by."""
    log = RateLimitedLog(EXPORTER, Clock())
    with logged(logging.WARNING) as lines:
        log.warning("the disk is full")
        log.reset()
        log.warning("the disk is full")

    assert len(lines.records) == 2
