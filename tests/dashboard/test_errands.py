"""Longer work beside the pages: one thing at a time, results kept, failures told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from threading import Event
from time import monotonic, sleep
from typing import Any

import pytest

from bondhu.dashboard.columns.errands import CROWDED, MOST, PATIENCE, UNKNOWN, Beside
from bondhu.dashboard.page import Failed, Pending
from bondhu.errors import InvalidInput


@pytest.fixture
def beside() -> Iterator[Beside]:
    made = Beside()
    yield made
    made.close()


def told(beside: Beside, key: object, work: Callable[[], Any]) -> Any:
    """What comes of it in the end."""
    end = monotonic() + 20
    while isinstance(result := beside.ask(key, work), Pending):
        assert monotonic() < end
        sleep(0.005)
    return result


def never() -> None:
    raise AssertionError("it was known already")


def test_work_is_begun_once_and_its_result_kept(beside: Beside) -> None:
    go, done = Event(), []

    def work() -> int:
        go.wait(20)
        done.append(1)
        return 42

    first = beside.ask("it", work)
    assert isinstance(first, Pending)
    assert beside.ask("it", never) == first
    assert beside.look("it") == first
    before = beside.generation
    go.set()
    assert told(beside, "it", never) == 42
    assert (beside.look("it"), beside.generation, done) == (42, before + 1, [1])


def test_looking_begins_nothing(beside: Beside) -> None:
    assert beside.look("it") is None
    assert beside.generation == 0


def test_one_thing_is_done_at_a_time_in_order(beside: Beside) -> None:
    order: list[str] = []
    go = Event()
    beside.ask("first", lambda: go.wait(20))
    beside.ask("second", lambda: order.append("second"))
    beside.ask("third", lambda: order.append("third"))
    go.set()
    assert told(beside, "third", never) is None
    assert order == ["second", "third"]


def test_a_refusal_is_told_with_what_to_do(beside: Beside) -> None:
    def refused() -> None:
        raise InvalidInput("There is no trial.", fix="Begin one.")

    assert told(beside, "it", refused) == Failed("There is no trial. Begin one.")


def test_what_nobody_foresaw_is_logged_and_the_next_errand_done(
    beside: Beside, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert told(beside, "bad", lambda: 1 / 0) == Failed(UNKNOWN)
    assert "ZeroDivisionError" in caplog.text
    assert told(beside, "good", lambda: 7) == 7


def test_a_failure_may_be_asked_again_after_a_while() -> None:
    now = [0.0]
    beside = Beside(again=30.0, clock=lambda: now[0])
    assert told(beside, "it", lambda: 1 / 0) == Failed(UNKNOWN)
    now[0] = 29.0
    assert beside.ask("it", never) == Failed(UNKNOWN)
    now[0] = 30.0
    assert isinstance(beside.ask("it", lambda: 3), Pending)
    assert told(beside, "it", never) == 3
    beside.close()


def test_only_so_many_results_are_kept_the_ones_asked_for_last() -> None:
    beside = Beside(kept=3)
    for key in range(3):
        assert told(beside, key, lambda key=key: key) == key
    assert beside.ask(0, never) == 0  # asked for again: no longer the oldest
    assert told(beside, 3, lambda: 3) == 3
    assert [beside.look(key) for key in range(4)] == [0, None, 2, 3]
    beside.close()


def test_nothing_is_begun_after_the_end(beside: Beside) -> None:
    beside.close()
    assert isinstance(beside.ask("it", never), Pending)
    assert isinstance(beside.look("it"), Pending)


class Busy:
    """One errand under way until `go`, and so many that wait for it."""

    def __init__(self, waiting: int) -> None:
        self.now, self.go, self.done = [0.0], Event(), list[object]()
        self.beside = Beside(clock=lambda: self.now[0])
        begun = Event()
        self.beside.ask("first", lambda: (begun.set(), self.go.wait(20)))
        assert begun.wait(20)
        for number in range(waiting):
            assert isinstance(self.ask(number), Pending)

    def ask(self, key: object) -> Any:
        return self.beside.ask(key, lambda: self.done.append(key))

    def end(self, last: object) -> None:
        """Until the last one is done."""
        self.go.set()
        assert told(self.beside, last, never) is None
        self.beside.close()


def test_only_so_many_wait_and_who_comes_then_is_told_to_come_again() -> None:
    busy = Busy(MOST)
    for number in range(60):
        assert busy.ask(f"one of many {number}") is CROWDED
    assert busy.beside.look("one of many 0") is None  # it was not kept
    assert isinstance(busy.ask(0), Pending)  # who waits goes on waiting
    busy.end(MOST - 1)
    assert busy.done == [*range(MOST)]
    assert CROWDED.why == "Too much is asked at once. Come again in a minute."


def test_an_errand_that_nobody_asks_for_again_makes_room() -> None:
    busy = Busy(MOST)
    busy.now[0] = PATIENCE - 1.0
    for number in range(1, MOST):
        busy.ask(number)
    assert busy.ask("late") is CROWDED
    busy.now[0] = PATIENCE
    assert isinstance(busy.ask("late"), Pending)
    assert busy.beside.look(0) is None
    assert busy.ask("later still") is CROWDED
    busy.end("late")
    assert busy.done == [*range(1, MOST), "late"]
