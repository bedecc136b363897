"""Rewards worked out by hand, weights as settings, and shaping that leaves the best policy what it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bondhu.domains.coding.assertions import assertions
from bondhu.domains.coding.cheating import Report
from bondhu.domains.coding.quality import Quality
from bondhu.domains.coding.reward import (
    Attempt,
    Weights,
    attempt,
    completion,
    efficiency,
    from_table,
    load,
    reward,
    step,
)
from bondhu.domains.coding.shaping import price, progress
from bondhu.domains.coding.signs import Evidence
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import Judge
from bondhu.equations.planning import action_values
from bondhu.errors import InvalidInput, SandboxUnavailable, SettingsInvalid, UnknownName
from bondhu.sandbox.program import Outcome, Program
from bondhu.types import Floats
from tests.coding.inside import Inside

YES, NO = True, False


@pytest.mark.parametrize(
    ("attempt", "came", "total"),
    [
        (Attempt((YES, YES, YES)), "solved", 3 + 10),
        (Attempt((YES, YES, YES), held_out=(YES, YES)), "solved", 3 + 10),
        (Attempt((YES, YES, NO)), "partial", 1 + 5),
        (Attempt((NO, NO, NO)), "failed", -3 - 5),
        (Attempt((YES, NO, NO), ended="cpu"), "timeout", -1 - 2),
        (Attempt((NO, NO), ended="wall"), "timeout", -2 - 2),
        (Attempt((YES, YES), ended="wall"), "solved", 2 + 10),  # it hung after the last answer: judged by its answers
        (Attempt((NO, NO, NO), ended="invalid"), "failed", -3 - 5 - 1),
        (Attempt((YES, YES, YES), cheated=True), "failed", -3 - 5 - 5),
        (Attempt((YES, YES, NO, NO), before=0.5), "failed", 0 - 5),  # no better than the source as it was found
        (Attempt((YES, YES, YES, NO), before=0.5), "partial", 2 + 5),
        (Attempt((YES, YES), held_out=(NO, NO, NO)), "failed", 2 - 5),  # learned by heart
        (Attempt((YES, YES), held_out=(YES, NO)), "partial", 2 + 5),
        (Attempt((YES, YES), held_out=(YES, NO), before=0.5), "failed", 2 - 5),
    ],
)
def test_each_way_to_end_is_worth_what_was_worked_out_by_hand(attempt: Attempt, came: str, total: float) -> None:
    assert completion(attempt) == came
    assert reward(attempt).total == total


def test_every_component_of_a_solution_is_reported_and_adds_up() -> None:
    attempt = Attempt(
        (YES, YES, YES),
        quality=Quality(1.0, 0.5, 0.8, 1.0),
        cpu=0.02,
        reference_cpu=0.01,
        memory=131_072,
        reference_memory=65_536,
        tokens=2_000,
        cost=0.05,
        operations={"run": 3},
    )
    paid = reward(attempt, Weights(operations={"run": -0.1}))
    assert paid.components == pytest.approx(
        {
            "tests": 3.0, "completion": 10.0, "readability": 0.25, "complexity": 0.125, "style": 0.2, "security": 0.25,
            "run_time": 0.5, "memory": 0.25, "tokens": -0.2, "cost": -0.05, "operations": -0.3, "invalid": 0.0,
            "cheating": 0.0,
        }
    )  # fmt: skip
    assert paid.total == pytest.approx(14.025)


def test_a_wrong_program_earns_nothing_by_being_short_or_quick() -> None:
    wrong = Attempt((NO, YES), quality=Quality(1.0, 1.0, 1.0, 1.0), cpu=0.001, reference_cpu=1.0)
    assert reward(wrong).total == reward(Attempt((NO, YES))).total == 5.0
    assert "style" not in reward(wrong).components


def test_each_weight_scales_its_component_alone() -> None:
    attempt = Attempt((YES, YES, NO), tokens=1_000)
    weights = Weights(tests=0.5, completion=2.0, partial=1.5, tokens=-1.0)
    assert reward(attempt, weights).components == {
        "tests": 0.5, "completion": 3.0, "tokens": -1.0, "cost": 0.0, "operations": 0.0, "invalid": 0.0, "cheating": 0.0
    }  # fmt: skip
    for name in ("solved", "failed", "timeout"):
        assert reward(attempt, replace(weights, **{name: 99.0})) == reward(attempt, weights)


def test_noise_below_what_can_be_measured_does_not_pay() -> None:
    assert efficiency(0.001, 0.002, least=0.005) == efficiency(0.004, 0.001, least=0.005) == 1.0
    assert efficiency(0.02, 0.01, least=0.005) == 0.5
    assert efficiency(0.01, 0.02, least=0.005) == 1.0  # faster than the reference is as good as it


LOOPS = "def f(x):\n    while x > 1:\n        pass\n    return x\n"


@pytest.mark.parametrize(
    ("source", "tests", "total"),
    [
        ("def f(x):\n    return x\n", "assert f(1) == 1\nassert f(2) == 2\n", 2 + 10),
        ("def f(x):\n    return 1\n", "assert f(1) == 1\nassert f(2) == 2\n", 0 + 5),
        ("def f(x):\n    return y\n", "assert f(1) == 1\nassert f(2) == 2\n", -2 - 5),
        (LOOPS, "assert f(1) == 1\nassert f(2) == 2\n", 0 - 2),
        (LOOPS, "assert f(1) == 1\nfor x in (2, 3):\n    assert f(x) == x\n", 0 - 2),  # a test with its own calls
        ("def f(x)\n    return x\n", "assert f(1) == 1\nassert f(2) == 2\n", -2 - 5 - 1),
    ],
)
def test_what_the_judge_says_is_an_attempt(source: str, tests: str, total: float) -> None:
    task = Task("f", "f", "", source, assertions(tests, "f"))
    made = attempt(Judge(Inside()).judge(task, source))
    assert reward(made).total == total


def test_held_out_tests_and_proven_cheating_are_part_of_an_attempt() -> None:
    task = Task("f", "f", "", "", assertions("assert f(1) == 1\n", "f"), assertions("assert f(2) == 2\n", "f"))
    judge, source = Judge(Inside()), "def f(x):\n    return 1\n"
    visible, hidden = judge.judge(task, source), judge.judge(task, source, held_out=True)
    assert reward(attempt(visible)).total == 1 + 10
    assert reward(attempt(visible, hidden)).total == 1 - 5
    assert not attempt(visible, hidden, Report((Evidence("visible tests only", 0, ""),))).cheated
    assert reward(attempt(visible, hidden, Report((Evidence("unstable answers", 0, ""),)))).total == -1 - 5 - 5


def test_a_broken_sandbox_is_an_error_and_no_reward() -> None:
    class Broken(Inside):
        def run(self, program: Program) -> Outcome:
            raise SandboxUnavailable()

    task = Task("f", "f", "", "", assertions("assert f(1) == 1\n", "f"))
    with pytest.raises(SandboxUnavailable):
        reward(attempt(Judge(Broken()).judge(task, "def f(x):\n    return x\n")))


def test_nothing_judged_is_no_reward() -> None:
    with pytest.raises(InvalidInput, match="without a test result"):
        reward(Attempt(()))


@pytest.mark.parametrize("amount", [{"tokens": -1}, {"cost": -0.1}, {"cost": float("nan")}, {"before": -1.0}])
def test_nothing_is_earned_by_amounts_below_nothing(amount: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="Count from 0"):
        reward(Attempt((YES,), **amount))


def test_weights_come_from_a_toml_table(tmp_path: Path) -> None:
    file = tmp_path / "coding.toml"
    file.write_text("[reward]\nsolved = 20\ntimeout = -5.0\n[reward.operations]\nmodel = -0.5\n")
    weights = load(file)
    assert (weights.solved, weights.timeout, weights.partial) == (20, -5.0, 5.0)
    assert reward(Attempt((YES,), operations={"model": 3}), weights).total == 1 + 20 - 1.5
    file.write_text("")
    assert load(file) == Weights()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[reward]\nsolvd = 1", r"unknown weight 'solvd'. Did you mean 'solved'\?"),
        ("[reward]\nsolved = '10'", "reward.solved is '10'. Give a finite number."),
        ("[reward]\nsolved = true", "reward.solved is True"),
        ("[reward]\nsolved = nan", "reward.solved is nan"),
        ("[reward]\noperations = 3", "Give a table of names"),
        ("[reward.operations]\nrun = inf", "reward.operations.run is inf"),
        ("reward = 3", "Make it a table"),
        ("[reward", "is not TOML"),
    ],
)
def test_a_bad_table_is_refused_with_the_key_and_what_to_do(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "coding.toml"
    file.write_text(text)
    with pytest.raises(SettingsInvalid, match=says):
        load(file)
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load(tmp_path / "absent.toml")


def test_an_unknown_weight_names_the_nearest() -> None:
    with pytest.raises(SettingsInvalid, match="Did you mean 'readability'"):
        from_table({"readibility": 1.0})


def test_operations_have_prices_and_cannot_earn_by_negative_counts() -> None:
    assert price({"run": 4, "model": 1}, {"run": -0.25, "model": -2.0}) == -3.0
    with pytest.raises(UnknownName, match="Did you mean 'model'"):
        price({"modl": 1}, {"model": -2.0})
    with pytest.raises(InvalidInput, match="Count from 0"):
        price({"run": -4}, {"run": -0.25})


def test_progress_is_the_difference_of_potentials_and_nothing_after_the_end() -> None:
    assert progress(0.25, 0.75, 0.9) == pytest.approx(0.9 * 0.75 - 0.25)
    assert progress(0.75, None, 0.9) == -0.75
    with pytest.raises(InvalidInput, match="lies in"):
        progress(0.0, 1.0, 1.5)


def test_the_hints_of_an_episode_sum_to_minus_the_first_potential() -> None:
    shares, discount = [0.25, 0.5, 0.25, 1.0, None], 0.9
    hints = [progress(before, after, discount) for before, after in pairwise(shares) if before]
    assert sum(discount**t * hint for t, hint in enumerate(hints)) == pytest.approx(-0.25)


def test_a_step_reports_its_hint_and_its_price_and_adds_to_the_end() -> None:
    weights = Weights(progress=2.0, operations={"run": -0.5})
    on_the_way = step(0.25, 0.75, 0.9, {"run": 1}, weights)
    assert on_the_way.components == pytest.approx({"progress": 0.85, "operations": -0.5})
    last = step(0.75, None, 0.9, weights=weights) + reward(Attempt((YES, YES, YES, YES)), weights)
    assert last.components["progress"] == -1.5
    assert last.total == pytest.approx(-1.5 + 4 + 10)


# A small repair: states are 0 to 3 tests passed of 3. A careful edit gains one test with chance 0.6, or loses one; a
# rewrite passes all with chance 0.25, and none otherwise; handing in ends the episode. Editing costs 0.2 a step.
TESTS, DISCOUNT = 3, 0.95
CAREFUL, REWRITE, HAND_IN = range(3)
AT_THE_END = (-5.0 - 3, 5.0 - 1, 5.0 + 1, 10.0 + 3)


def repair() -> tuple[Floats, Floats]:
    """Chances `[S, A, S]` (rows of zeros end) and rewards `[S, A]`."""
    transition, paid = np.zeros((TESTS + 1, 3, TESTS + 1)), np.full((TESTS + 1, 3), -0.2)
    for state in range(TESTS + 1):
        transition[state, CAREFUL, min(state + 1, TESTS)] += 0.6
        transition[state, CAREFUL, max(state - 1, 0)] += 0.4
        transition[state, REWRITE, [0, TESTS]] = 0.75, 0.25
        paid[state, HAND_IN] = AT_THE_END[state]
    return transition, paid


def solved_by_iteration(transition: Floats, paid: Floats) -> Floats:
    values = np.zeros(len(paid))
    for _ in range(2_000):
        values = action_values(transition, paid, values, DISCOUNT).max(axis=1)
    return action_values(transition, paid, values, DISCOUNT)


def hinted(transition: Floats, paid: Floats, worth: float) -> Floats:
    """The rewards with the expected hint of each step."""
    hints = np.zeros_like(paid)
    for state in range(TESTS + 1):
        before = worth * state / TESTS
        for action in (CAREFUL, REWRITE):
            for after, chance in enumerate(transition[state, action]):
                hints[state, action] += chance * progress(before, worth * after / TESTS, DISCOUNT)
        hints[state, HAND_IN] = progress(before, None, DISCOUNT)
    return paid + hints


@pytest.mark.parametrize("worth", [1.0, 10.0, 1_000.0, -50.0])
def test_shaping_leaves_the_best_repair_what_it_is(worth: float) -> None:
    transition, paid = repair()
    plain, shaped = (
        solved_by_iteration(transition, paid),
        solved_by_iteration(transition, hinted(transition, paid, worth)),
    )
    potential = worth * np.arange(TESTS + 1) / TESTS
    np.testing.assert_allclose(shaped, plain - potential[:, None], atol=1e-9 * max(1.0, abs(worth)))
    assert shaped.argmax(axis=1).tolist() == plain.argmax(axis=1).tolist()


def test_a_hint_for_every_test_passed_changes_the_best_repair() -> None:
    transition, paid = repair()
    naive = paid + 2.0 * np.einsum("sap,p->sa", transition, np.arange(TESTS + 1.0) / TESTS)
    plain, changed = solved_by_iteration(transition, paid), solved_by_iteration(transition, naive)
    assert plain.argmax(axis=1)[TESTS] == HAND_IN
    assert changed.argmax(axis=1)[TESTS] == CAREFUL  # it never hands in, and collects for ever
