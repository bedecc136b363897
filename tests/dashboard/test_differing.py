"""Two policies on the same decisions: what differs, for whom, and how many people that is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bondhu.dashboard.figures.differing import SEVERAL, Move, Seen, Segment, compared, differing
from bondhu.types import Decision, Names
from tests.dashboard.shopping import grown
from tests.service import eater
from tests.service.stand import Clock

ACTIONS = ("red", "blue")
RED, BLUE, EITHER = [0.9, 0.1], [0.1, 0.9], [0.5, 0.5]


def seen(before: list[list[float]], after: list[list[float]], **more: object) -> Seen:
    rows = len(before)
    plain: dict[str, object] = {
        "user": np.arange(rows),
        "id": [f"d{number}" for number in range(rows)],
        "time": np.arange(rows, dtype=float) + 100.0,
        "context": {},
    }
    return Seen(np.array(before), np.array(after), **{**plain, **more})  # type: ignore[arg-type]


def test_decisions_people_and_the_distance_are_counted() -> None:
    found = compared(seen([RED, RED, RED, BLUE], [RED, BLUE, BLUE, BLUE], user=np.array([7, 7, 8, 9])), ACTIONS, 3)
    assert (found.decisions, found.people, found.differ, found.moved) == (4, 3, 2, 2)
    assert found.distance == pytest.approx(0.4)  # half of them by 0.8
    assert (found.since, found.left_out) == (100.0, 3)
    assert found.moves == (Move("red", "blue", 2, 2, "d2"),)


def test_what_is_equally_good_does_not_differ_from_any_of_it() -> None:
    found = compared(seen([EITHER, RED], [BLUE, EITHER]), ACTIONS)
    assert found.differ == 0
    assert found.distance == pytest.approx(0.4)
    three = compared(seen([[0.5, 0.5, 0.0]], [[0.0, 0.1, 0.9]]), ("a", "b", "c"))
    assert three.moves == (Move(SEVERAL, "c", 1, 1, "d0"),)


def test_segments_come_with_the_largest_share_first() -> None:
    mood = Names(np.array([0, 0, 1, 1]), ["happy", "sad", "never met"])
    found = compared(
        seen([RED] * 4, [RED, BLUE, BLUE, BLUE], user=np.array([1, 1, 2, 2]), context={"mood": mood}), ACTIONS
    )
    assert found.segments == (
        Segment("mood", "sad", 2, 1, 2, 1, pytest.approx(0.8)),
        Segment("mood", "happy", 2, 1, 1, 1, pytest.approx(0.4)),
    )
    assert [each.share for each in found.segments] == [1.0, 0.5]


def test_nothing_to_ask_about_is_nothing() -> None:
    found = compared(seen([], []), ACTIONS, 2)
    assert (found.decisions, found.left_out, found.moves) == (0, 2, ())


def test_both_versions_are_asked_about_the_newest_decisions_that_they_can_be_asked_about(tmp_path: Path) -> None:
    place = grown(tmp_path)
    first, live = place.app.versions()
    logged = place.app.log.read("shop", 0, 1e12)
    gone = Decision(
        *("gone", "shop", "s", "u", place.clock.now - 5, {"mood": "sad", "age": 1}),
        *(("yellow",), "yellow", 1.0, (), "baseline", "live"),
    )
    other = gone._replace(id="other", context={"hat": 1}, allowed=("red",), action="red")
    place.app.log.append([gone, other])
    found = differing(place.app, first, live, most=50)
    assert found.decisions + found.left_out == 50
    assert found.left_out == 2
    assert found.people == len(set(list(logged.user)[-48:]))
    assert {each.field for each in found.segments} == {"mood", "age"}
    assert sum(each.decisions for each in found.segments if each.field == "mood") == 48


def test_actions_that_come_along_are_told_by_their_own_names(tmp_path: Path) -> None:
    app = eater.deployment(tmp_path, Clock())
    rng = np.random.default_rng(0)
    tea = [{"id": name, "features": []} for name in ("tea", "milk")]
    for number in range(4):
        order = tea if number % 2 else tea[::-1]
        made = Decision(
            *(
                f"d{number}",
                "personalizer",
                f"s{number}",
                None,
                app.now() - 10,
                {"contextFeatures": [], "actions": order},
            ),
            *(("actions-1", "actions-2"), "actions-1", 1.0, (), "baseline", "live"),
        )
        app.log.append([made])
    found = differing(app, "baseline", "baseline")
    assert (found.decisions, found.differ) == (4, 0)
    chances = np.array([[0.9, 0.1]] * 2), np.array([[0.1, 0.9]] * 2)
    moved = compared(seen(*map(np.ndarray.tolist, chances), called=[["tea", "milk"], ["milk", "tea"]]), ACTIONS)
    assert {(each.before, each.after) for each in moved.moves} == {("tea", "milk"), ("milk", "tea")}
    assert rng.integers(1) == 0
