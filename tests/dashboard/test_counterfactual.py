"""What other actions brought to people in the same situation, or why nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bondhu.dashboard.columns.sheets import Sheet, empty
from bondhu.dashboard.figures.counterfactual import brought
from bondhu.equations.intervals import student
from bondhu.types import Names
from tests.service.shop import shop

SITUATION = {"mood": "sad", "age": "0 to 20"}


def sheet(rows: list[tuple[str, str, str, int, float]], probability: Sequence[float] | None = None) -> Sheet:
    """Action, mood, age, user and reward of each row; whatever is done is done in all cases, where nothing is given."""
    action, mood, age, user, reward = zip(*rows, strict=True)
    return replace(
        empty(shop()),
        time=np.arange(len(rows), dtype=float),
        action=Names.of(action),
        user=np.array(user),
        probability=np.array(probability or [1.0] * len(rows), np.float32),
        reward=np.array(reward),
        context={"mood": Names.of(mood), "age": Names.of(age)},
    )


def test_a_mean_has_the_interval_of_its_people() -> None:
    worth = np.random.default_rng(0).normal(size=60)
    people = np.arange(60) // 4
    rows = [("blue", "sad", "0 to 20", int(user), float(each)) for user, each in zip(people, worth, strict=True)]
    (found,) = brought(sheet(rows), SITUATION, ["mood", "age"], ["blue"])
    assert (found.decisions, found.people, found.given_up, found.refused) == (60, 15, (), "")
    assert found.reward.value == pytest.approx(worth.mean())
    assert (found.reward.low, found.reward.high) == pytest.approx(student(worth, 0.95, people), rel=1e-6)


def test_the_field_that_matters_least_is_given_up_first() -> None:
    near = [("blue", "sad", "0 to 20", user, 1.0) for user in range(20)]
    older = [("blue", "sad", "20 to 40", user, 0.0) for user in range(20, 40)]
    happy = [("blue", "happy", "0 to 20", user, -1.0) for user in range(40, 60)]
    (found,) = brought(sheet(near + older + happy), SITUATION, ["mood", "age"], ["blue"])
    assert (found.given_up, found.decisions, found.reward.value) == (("age",), 40, 0.5)
    (found,) = brought(sheet(near + older + happy), SITUATION, ["age", "mood"], ["blue"])
    assert (found.given_up, found.decisions, found.reward.value) == (("mood",), 40, 0.0)


def test_too_few_decisions_or_people_are_refused_with_their_number() -> None:
    few = [("blue", "sad", "0 to 20", user, 1.0) for user in range(29)]
    same = [("red", "sad", "0 to 20", user % 9, 1.0) for user in range(50)]
    of = sheet(few + same, [0.4] * 29 + [0.6] * 50)
    blue, red, green = brought(of, SITUATION, ["mood", "age"], ["blue", "red", "green"])
    assert blue.refused.startswith("29 settled decisions of 29 people with the same mood: fewer than 30")
    assert red.refused.startswith("50 settled decisions of 9 people")
    assert green.refused.startswith("0 settled decisions of 0 people")
    assert np.isnan([each.reward.value for each in (blue, red, green)]).all()


def test_what_policies_that_look_at_a_given_up_field_chose_is_undone() -> None:
    """The young like blue, and a policy that knows it gives it to 90 % of them, but to 10 % of the others."""
    rng = np.random.default_rng(0)
    young, blue = rng.random(4_000) < 0.5, rng.random(4_000)
    chance = np.where(young, 0.9, 0.1)
    taken = blue < chance
    rows = [
        ("blue" if is_ else "red", "sad", "0 to 20" if was else "20 to 40", user % 800, float(was == is_))
        for user, (is_, was) in enumerate(zip(taken.tolist(), young.tolist(), strict=True))
    ]
    of = sheet(rows, np.where(taken, chance, 1 - chance).tolist())
    other = {"mood": "sad", "age": "40 to 60"}  # of which nobody was: the age is given up
    found = brought(of, other, ["mood", "age"], ["blue", "red"])
    assert [each.given_up for each in found] == [("age",), ("age",)]
    for each in found:  # the plain means are 0.9
        assert each.reward.value == pytest.approx(0.5, abs=0.1)
        assert each.reward.low < 0.5 < each.reward.high


def test_an_action_that_some_are_never_given_is_refused() -> None:
    rows = [("blue", "sad", "0 to 20", user, 1.0) for user in range(40)]
    rows += [("red", "sad", "20 to 40", user, 0.0) for user in range(40, 140)]
    (found,) = brought(sheet(rows), {"mood": "sad", "age": "40 to 60"}, ["mood", "age"], ["blue"])
    assert found.refused == "With the same mood it could be taken in about 29 % of the decisions only."


def test_a_few_heavy_decisions_are_not_many() -> None:
    rows = [("blue", "sad", "0 to 20", user, 1.0) for user in range(60)]
    (found,) = brought(sheet(rows, [0.01] * 2 + [0.9] * 58), SITUATION, ["mood", "age"], ["blue"])
    assert found.refused.startswith("60 settled decisions of 60 people, worth 3 even ones, with the same mood")


def test_most_fields_are_never_given_up() -> None:
    fields = ["mood", "age", "day"]
    rows = [("blue", "sad", "20 to 40", user, 1.0) for user in range(100)]
    of = replace(sheet(rows), context={**sheet(rows).context, "day": Names.of(["mo"] * 100)})
    (found,) = brought(of, {**SITUATION, "day": "tu"}, fields, ["blue"])
    assert found.refused.startswith("0 settled decisions of 0 people with the same mood, age")
    (found,) = brought(of, {"mood": "sad", "age": "20 to 40", "day": "tu"}, fields, ["blue"])
    assert (found.given_up, found.refused, found.reward.value) == (("day",), "", 1.0)
    assert np.isnan(found.reward.low)  # where all earned the same nothing says how sure that is


def test_the_first_field_is_never_given_up_and_unsettled_rewards_do_not_count() -> None:
    happy = [("blue", "happy", "0 to 20", user, 1.0) for user in range(100)]
    open_ = [("blue", "sad", "0 to 20", user, np.nan) for user in range(100)]
    (found,) = brought(sheet(happy + open_), SITUATION, ["mood", "age"], ["blue"])
    assert found.refused.startswith("0 settled decisions")


def test_without_fields_to_compare_nothing_is_said() -> None:
    rows = [("blue", "sad", "0 to 20", user, 1.0) for user in range(50)]
    (found,) = brought(sheet(rows), {}, ["mood"], ["blue"])
    assert found.refused == "No field of the context says which decisions are like this one."
