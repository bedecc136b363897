"""A study of agents: folds that lend nothing to themselves, intervals by hand, and results that depend on the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bondhu.agents import study
from bondhu.agents.budget import Budget
from bondhu.agents.demonstrations import Demonstration
from bondhu.agents.study import ARMS, FULL, LOCALISED, RANDOM, Material, Result
from bondhu.domains.coding.tasks import Task, share
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput, UnknownName
from tests.agents.repairs import judge, one, several
from tests.coding.inside import Inside

CLONED = "without the outcome model"
SHORT = Budget(executions=25)


def gathered(tasks: Sequence[Task], others: Sequence[Task] = ()) -> Material:
    *nothing, found = study.gathered(tasks, others, judge(), np.random.default_rng(0))
    assert nothing == [None] * (2 * len(tasks) + len(others))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def material() -> Material:
    return gathered(several(), [one("other")])


def test_material_is_peoples_bugs_and_injected_ones_by_the_task(material: Material) -> None:
    assert set(material.people) == {each.id for each in several()}
    assert all(each.human for each in material.people.values())
    names = {name for name, _ in material.injected}
    assert {"other"} < names <= {each.id for each in several()} | {"other"}
    for name, each in material.injected:
        assert each.task.id.startswith(f"{name}/bug")
        assert not each.human


def test_what_cannot_be_learned_from_is_passed_over() -> None:
    odd = [
        replace(one("unknown"), solution=None),
        replace(one("unparsed"), source="def step(:\n"),
        replace(one("wrong"), solution="def step(:\n"),
        replace(one("other entry"), entry="nothing"),
    ]
    found = gathered(odd, [replace(one("more"), solution=None)])
    assert found.people == {}
    assert {name for name, _ in found.injected} <= {"unparsed"}  # whose solution is right


def test_without_some_tasks_nothing_of_them_is_left(material: Material) -> None:
    for fold in study.folds(several()):
        names = {each.id for each in fold}
        left = material.without(fold)
        assert names.isdisjoint(each.task.id.partition("/")[0] for each in left)
        assert {each.task.solution for each in left}.isdisjoint(each.solution for each in fold)
        total = sum(name not in names for name in (*material.people, *(name for name, _ in material.injected)))
        assert len(left) == total
    assert len(material.without([])) == len(material.people) + len(material.injected)


def test_folds_deal_every_task_once_by_the_hash_of_its_id() -> None:
    found = study.folds(several())
    assert len(found) == study.FOLDS
    assert sorted(each.id for fold in found for each in fold) == sorted(each.id for each in several())
    for number, fold in enumerate(found):
        assert all(number / 5 <= share(each) < (number + 1) / 5 for each in fold)
    assert sum(bool(fold) for fold in found) > 1


class Watched(Material):
    """Says what was asked for, and what was given."""

    def without(self, tasks: Sequence[Task]) -> list[Demonstration]:
        found = super().without(tasks)
        asked.append(({each.id for each in tasks}, found))
        return found


asked: list[tuple[set[str], list[Demonstration]]] = []


def test_no_agent_learns_from_the_tasks_that_it_is_to_repair(material: Material) -> None:
    asked.clear()
    inside = Inside()
    steps = study.compared(
        several(), Watched(material.people, material.injected), Judge(inside), [CLONED, FULL], budget=SHORT
    )
    begun, repaired = 0, set[str]()
    for result in steps:
        # Programs that were run since the last result: those of practice, if any, and of this repair.
        programs, begun = inside.programs[begun:], len(inside.programs)
        members, shown = asked[-1]
        assert result.task in members
        assert members.isdisjoint(each.task.id.partition("/")[0] for each in shown)
        entries = {each.entry for each in programs if each.entry != "bench"}
        assert entries - {each.task.entry for each in shown} <= {result.task}
        repaired.add(result.task)
    assert repaired == {each.id for each in several()}


def test_every_task_is_repaired_by_every_arm_and_fixed_is_by_held_out_tests(material: Material) -> None:
    arms = [RANDOM, LOCALISED]
    found = list(study.compared(several(), material, judge(), arms, budget=SHORT))
    assert len(found) == 12
    assert {(each.arm, each.task) for each in found} == {(arm, each.id) for arm in arms for each in several()}
    assert all(each.executions <= 25 for each in found)
    assert all(each.solved for each in found if each.fixed)
    assert sum(each.fixed for each in found) > 6
    unseen = [replace(each, held_out=one().tests[:1]) for each in several()]  # tests of another function
    assert not any(each.fixed for each in study.compared(unseen, material, judge(), arms, budget=SHORT))


def test_what_an_arm_does_depends_on_the_seed_and_not_on_other_arms(material: Material) -> None:
    def runs(arms: list[str], seed: int) -> list[int]:
        found = list(study.compared(several(), material, judge(), arms, seed, SHORT))
        return [each.executions for each in study.of_arm(found, RANDOM)]

    assert runs([RANDOM], 0) == runs([LOCALISED, RANDOM], 0)
    assert runs([RANDOM], 0) != runs([RANDOM], 1)


def test_an_arm_that_learns_is_refused_where_there_is_nothing_to_learn_from() -> None:
    alone = [one()]
    nothing = gathered(alone)
    assert list(study.compared(alone, nothing, judge(), [RANDOM]))
    with pytest.raises(InvalidInput, match="nothing to learn from"):
        next(study.compared(alone, nothing, judge(), [RANDOM, CLONED]))


def test_a_source_that_does_not_parse_is_a_bug_that_is_not_fixed(material: Material) -> None:
    odd = [replace(several()[0], source="def double(:\n")]
    (found,) = study.compared(odd, material, judge(), [RANDOM])
    assert (found.solved, found.fixed, found.executions) == (False, False, 1)


def test_means_and_their_intervals_by_hand() -> None:
    rng = np.random.default_rng(0)
    assert study.mean([3.0, 3.0, 3.0], rng) == (3.0, 3.0, 3.0)
    assert study.mean([0.0, 1.0], rng) == (0.5, 0.0, 1.0)  # each end is drawn every fourth time
    value, low, high = study.mean([float(each) for each in range(100)], rng)
    deviation = np.std(np.arange(100)) / 10
    assert value == 49.5
    assert (low, high) == pytest.approx((value - 1.96 * deviation, value + 1.96 * deviation), abs=0.6)


def test_ratios_are_of_the_same_tasks_drawn_together() -> None:
    rng = np.random.default_rng(0)
    assert study.ratio([2.0, 8.0, 20.0], [1.0, 4.0, 10.0], rng) == (2.0, 2.0, 2.0)
    # Of two tasks: 1/4 twice the first, 1/4 twice the second, else both.
    assert study.ratio([1.0, 9.0], [2.0, 3.0], rng) == (2.0, 0.5, 3.0)


def result(arm: str, name: str, executions: int, *, fixed: bool = True) -> Result:
    return Result(arm, name, fixed, fixed, executions, 1.0)


def test_a_summary_has_a_row_for_each_arm() -> None:
    found = [result(RANDOM, "b", 40), result(RANDOM, "a", 20, fixed=False)]
    found += [result(CLONED, "a", 10), result(CLONED, "b", 20)]
    random, cloned = study.summary(found, [RANDOM, CLONED], np.random.default_rng(0))
    assert (random.fixed.value, random.executions.value, cloned.executions.value) == (0.5, 30.0, 15.0)
    assert random.ratio == (1.0, 1.0, 1.0)
    assert cloned.ratio == (0.5, 0.5, 0.5)
    (alone,) = study.summary(found[2:], [CLONED], np.random.default_rng(0))
    assert alone.ratio is None


def test_of_an_interrupted_study_only_tasks_that_every_arm_came_to_are_whole() -> None:
    found = [result(RANDOM, "a", 1), result(RANDOM, "b", 1), result(CLONED, "a", 1)]
    assert study.whole(found, [RANDOM, CLONED]) == [found[0], found[2]]
    assert study.whole(found, [RANDOM]) == found[:2]


def test_unknown_arms_are_refused_with_the_nearest_name() -> None:
    assert study.named([RANDOM, FULL, RANDOM]) == [RANDOM, FULL]
    assert next(iter(ARMS)) == RANDOM
    with pytest.raises(UnknownName, match="No arm 'random operator'") as caught:
        study.named(["random operator"])
    assert RANDOM in caught.value.fix


def test_programs_drawn_to_practise_on_are_broken_ones(material: Material) -> None:
    shown = material.without([])
    drawn = study.some(shown, 5, np.random.default_rng(0))
    assert len({each.id for each in drawn}) == 5
    assert all(each.source != each.solution for each in drawn)
    assert len(study.some(shown, 10_000, np.random.default_rng(0))) == len(shown)


def test_predictions_are_made_for_tasks_that_the_model_did_not_see(material: Material) -> None:
    said, came = study.predicted(several(), material, judge())
    assert said.shape == (len(came), 5)
    np.testing.assert_allclose(said.sum(axis=1), 1.0, rtol=1e-6)
    assert (came == 0).sum() >= 5  # drawn at random, most toy bugs are mended
