"""A log that repeats itself is summed up."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from web.observability import repeats
from web.observability.logs import JsonLines
from web.observability.repeats import MAX_KINDS, MOST, Repeats


class Log:
    """A logger with one handler, and what it has written."""

    def __init__(self, formatter: logging.Formatter | None = None) -> None:
        self.written = io.StringIO()
        self.handler = logging.StreamHandler(self.written)
        self.handler.setFormatter(formatter)
        self.repeats = Repeats(self.handler)
        self.handler.addFilter(self.repeats)
        self.logger = logging.getLogger(f"{__name__}.{id(self)}")
        self.logger.propagate = False
        self.logger.addHandler(self.handler)
        self.logger.setLevel(logging.INFO)

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().splitlines()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    monkeypatch.setattr(repeats, "WINDOW_S", 3600)  # until the test sums up
    log = Log()
    yield log
    log.repeats._timer.cancel()


def test_the_first_of_a_kind_are_logged_and_the_others_counted(log: Log) -> None:
    for number in range(1237):
        log.logger.warning("bad request from port %d of 0x%x", number, number)
        log.logger.info("session.started")
    log.logger.error("something else")
    told = [line for line in log.lines if line != "session.started"]
    assert len(log.lines) - len(told) == 1237, "what is no warning is not counted"
    assert told == [
        *(f"bad request from port {number} of 0x{number:x}" for number in range(MOST)),
        "something else",
    ]
    log.repeats.sum_up()
    assert log.lines[-1] == "… 1,234 more like this: bad request from port 0 of 0x0"
    log.repeats.sum_up()
    log.logger.warning("bad request from port %d of 0x%x", 1, 1)
    assert log.lines[-1] == "bad request from port 1 of 0x1", "and it begins anew"


def test_it_is_summed_up_when_the_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "WINDOW_S", 0.05)
    log = Log()
    for _ in range(MOST + 1):
        log.logger.warning("again")
    log.repeats._timer.join()
    assert log.lines == [*["again"] * MOST, "… 1 more like this: again"]


def test_memory_is_bounded_however_many_kinds_come(log: Log) -> None:
    for number in range(MAX_KINDS + 50):
        log.logger.warning("kind %s", "x" * number)
    assert len(log.lines) == MAX_KINDS + MOST
    log.repeats.sum_up()
    assert log.lines[-1].startswith(f"… {50 - MOST} more like this: kind xxx")


def test_the_sum_says_no_more_than_the_lines_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "WINDOW_S", 3600)
    log = Log(JsonLines())
    for _ in range(MOST + 2):
        try:
            raise ValueError("Ada")
        except ValueError:
            log.logger.exception("%s broke after %d s", "Ada", 7)
    log.repeats.sum_up()
    log.repeats._timer.cancel()
    told = [json.loads(line) for line in log.lines]
    assert [line["event"] for line in told] == [
        *["… broke after 7 s"] * MOST,
        "… 2 more like this: … broke after 7 s",
    ]
    assert "exception" not in told[-1]
    assert "Ada" not in log.written.getvalue()
