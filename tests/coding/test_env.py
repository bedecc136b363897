"""Masks at every stage, rewards worked out by hand, and the same twice."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bondhu.domains.coding.edits import OPERATORS
from bondhu.domains.coding.env import CodingEnv
from bondhu.domains.coding.reward import Weights
from bondhu.domains.coding.rules import OPERATIONS, PRICES, Rules, from_table
from bondhu.domains.coding.tasks import Task
from bondhu.domains.coding.testing import assertions
from bondhu.errors import InvalidInput, SettingsInvalid, UnknownName
from tests.coding.inside import Inside
from tests.coding.toys import (
    ASK,
    BACK,
    BROKEN,
    COMPARISON,
    COMPILE,
    CONSTANT,
    CONTEXT,
    EDIT,
    FIRST,
    FIRST_LINE,
    GENERATE,
    MORE,
    RIGHT,
    SEARCH,
    SECOND,
    SECOND_LINE,
    SMALL,
    SOLVING,
    SUBMIT,
    TASK,
    TEST,
    UNDO,
    allowed,
    toy,
    walked,
)

HELPED = Task(
    "toy/helped",
    "area",
    "The area.",
    "PI = 3\n\n\ndef squared(x):\n    return x + x\n\n\ndef area(r):\n    return PI * squared(r)\n",
    assertions("assert area(3) == NINE * 3", "area", "NINE = 9"),
    preamble="NINE = 9",
)


# --------------------------------------------------------------------------------------------------- menus and masks


def test_the_mask_is_exact_at_every_stage() -> None:
    env = toy()
    _, info = env.reset(seed=0)
    assert env.action_space.n == 17
    begin = [EDIT, SEARCH, COMPILE, TEST, ASK, SUBMIT]  # no proposals, nothing to undo, nothing more to show
    assert allowed(info) == begin
    expected = [
        (TEST, [EDIT, SEARCH, COMPILE, ASK, SUBMIT]),  # the same results would come again
        (EDIT, [FIRST_LINE, SECOND_LINE, MORE, BACK]),
        (MORE, [FIRST_LINE, BACK]),  # three lines can be edited, in pages of two
        (BACK, [EDIT, SEARCH, COMPILE, ASK, SUBMIT]),
        (EDIT, [FIRST_LINE, SECOND_LINE, MORE, BACK]),
        (SECOND_LINE, [CONSTANT, BACK]),  # line 5 compares nothing
        (BACK, [FIRST_LINE, SECOND_LINE, MORE, BACK]),
        (FIRST_LINE, [COMPARISON, CONSTANT, BACK]),  # line 4
        (COMPARISON, [FIRST, SECOND, MORE, BACK]),
        (MORE, [FIRST, SECOND, MORE, BACK]),
        (MORE, [FIRST, BACK]),  # five other comparisons, in pages of two
        (FIRST, [EDIT, UNDO, SEARCH, COMPILE, TEST, ASK, SUBMIT]),
        (UNDO, [EDIT, SEARCH, COMPILE, ASK, SUBMIT]),  # the results are those of this program again
        (SEARCH, [EDIT, COMPILE, ASK, SUBMIT]),
        (COMPILE, [EDIT, ASK, SUBMIT]),
        (ASK, [EDIT, ASK, SUBMIT]),
        (ASK, [EDIT, ASK, SUBMIT]),
        (ASK, [EDIT, SUBMIT]),  # three questions may be asked
    ]
    for number, (action, then) in enumerate(expected):
        _, _, terminated, truncated, info = env.step(action)
        assert (allowed(info), terminated, truncated) == (then, False, False), number


def test_the_most_suspicious_lines_come_first_once_the_tests_have_run() -> None:
    env = toy()
    env.reset(seed=0)
    env.step(EDIT)
    assert [env.meaning(each) for each in (FIRST_LINE, SECOND_LINE)] == ["line 2", "line 4"]  # in order of the source
    env.step(BACK)
    env.step(TEST)
    seen, *_ = env.step(EDIT)
    assert [env.meaning(each) for each in (FIRST_LINE, SECOND_LINE)] == ["line 4", "line 5"]
    # Ochiai: both failing tests executed them, and one that passed: 2 / √(2·3).
    suspicion = dict(zip(env.columns.names, seen["features"].tolist(), strict=True))
    assert suspicion["line_0_suspicion"] == suspicion["line_1_suspicion"] == pytest.approx(2 / 6**0.5)
    env.step(FIRST_LINE)
    env.step(COMPARISON)
    assert env.meaning(FIRST) == "line 4: 'value >= 0' -> 'value < 0'"


@pytest.mark.parametrize("action", [GENERATE, UNDO, CONTEXT, FIRST_LINE, BACK, 17, -1])
def test_a_masked_action_is_refused_and_changes_nothing(action: int) -> None:
    env = toy()
    env.reset(seed=0)
    with pytest.raises(InvalidInput, match=rf"The action {action} is masked. Allowed now: 1 \(edit\), 3 \(search\)"):
        env.step(action)
    assert (env.work.steps, env.work.source) == (0, BROKEN)


def test_where_it_is_forgiven_a_masked_action_uses_up_a_step() -> None:
    env = toy(replace(SMALL, forgiving=True))
    rewards, _ = walked(env, [UNDO, BACK])
    assert (rewards, env.work.steps) == ([0.0, 0.0], 2)


def test_without_menus_each_edit_is_an_action() -> None:
    env = toy(replace(SMALL, flat=12, tests_at_once=True))
    _, info = env.reset(seed=0)
    operations = [name for name in OPERATIONS if name != "edit"]
    assert env.action_space.n == len(operations) + 12
    meanings = [env.meaning(number) for number in allowed(info)]
    solving = allowed(info)[meanings.index("line 4: 'value >= 0' -> 'value > 0'")]
    _, reward, terminated, _, info = env.step(solving)
    assert (terminated, info["is_success"], env.work.source) == (True, True, RIGHT)
    assert reward == pytest.approx(0.0 - 0.01 - 0.02 + 4 + 10)  # progress from 0 to the end, edit, test, four tests
    few = toy(replace(SMALL, flat=3))
    assert allowed(few.reset(seed=0)[1])[-3:] == [8, 9, 10]


# -------------------------------------------------------------------------------------------------------- rewards


def test_a_solved_episode_earns_what_was_worked_out_by_hand() -> None:
    rewards, info = walked(toy(), SOLVING)
    # Half of the tests pass: Φ = 1/2, which waiting halves and the end takes back; γ = 1/2.
    by_hand = [0.25 - 0.02, -0.25, -0.25, -0.25, -0.25, -0.25 - 0.01, -0.5 - 0.02 + 4 + 10]
    assert rewards == pytest.approx(by_hand)
    assert info["is_success"] is True
    assert info["components"] == {
        "progress": -0.5, "operations": -0.02, "tests": 4.0, "completion": 10.0, "tokens": 0.0, "cost": 0.0,
        "invalid": 0.0, "cheating": 0.0,
    }  # fmt: skip


def test_shaping_adds_nothing_to_the_discounted_return() -> None:
    shaped, _ = walked(toy(), SOLVING)
    plain, _ = walked(toy(replace(SMALL, weights=Weights(progress=0.0))), SOLVING)
    assert shaped != plain
    assert np.dot(shaped, 0.5 ** np.arange(7)) == pytest.approx(np.dot(plain, 0.5 ** np.arange(7)))


@pytest.mark.parametrize(
    ("actions", "total", "success"),
    [
        ([SUBMIT], 0 - 5, False),  # two tests of four pass, as before, and the held-out one fails
        ([TEST, SUBMIT], 0.25 - 0.02 - 0.5 + 0 - 5, False),
        ([COMPILE, SEARCH, ASK, SUBMIT], -0.01 - 0.01 - 0.05 + 0 - 5, False),
        ([EDIT, SECOND_LINE, COMPARISON, MORE, FIRST, SUBMIT], -0.01 + 4 + 10, True),  # right, and never tested
    ],
)
def test_what_is_submitted_is_judged_as_it_stands(actions: list[int], total: float, success: bool) -> None:
    rewards, info = walked(toy(), actions)
    assert sum(rewards) == pytest.approx(total)
    assert info["is_success"] is success


def test_a_task_learned_by_heart_is_not_solved() -> None:
    wrong = BROKEN.replace("value >= 0", "value > 0 and value != 3")  # passes what is shown
    env = toy(replace(SMALL, tests_at_once=True), proposer=lambda task, rng: [wrong])
    rewards, info = walked(env, [GENERATE])
    assert rewards == pytest.approx([-0.05 - 0.02 + 4 - 5])
    assert info["is_success"] is False


def test_the_step_limit_cuts_or_submits() -> None:
    env = toy(replace(SMALL, steps=2))
    env.reset(seed=0)
    env.step(TEST)
    _, reward, terminated, truncated, info = env.step(COMPILE)
    assert (terminated, truncated, info["is_success"]) == (False, True, False)
    assert reward == pytest.approx(0.25 - 0.5 - 0.01)  # it would go on: the potential stays
    with pytest.raises(InvalidInput, match=r"No episode is under way. Call reset."):
        env.step(SUBMIT)
    env = toy(replace(SMALL, steps=2, submits=True))
    env.reset(seed=0)
    env.step(TEST)
    _, reward, terminated, truncated, _ = env.step(COMPILE)
    assert (terminated, truncated) == (True, False)
    assert reward == pytest.approx(-0.5 - 0.01 + 0 - 5)


def test_the_prices_of_some_operations_may_be_set() -> None:
    rules = from_table({"steps": 5, "weights": {"solved": 20, "operations": {"test": -1.0}}})
    assert rules.weights.operations == {**PRICES, "test": -1.0}
    assert (rules.steps, rules.weights.solved) == (5, 20)
    rewards, _ = walked(toy(replace(SMALL, weights=rules.weights)), [TEST])
    assert rewards == pytest.approx([0.25 - 1.0])


def test_the_quality_of_a_solution_is_paid_where_it_is_reviewed() -> None:
    pytest.importorskip("radon")
    rewards, info = walked(toy(replace(SMALL, reviews=True, examines=True)), SOLVING)
    scores = [info["components"][name] for name in ("readability", "complexity", "style", "security")]
    assert all(0 < score <= 0.25 for score in scores)
    assert rewards[-1] == pytest.approx(-0.52 + 14 + sum(scores))


# ------------------------------------------------------------------------------------------------- what is shown


def test_everything_there_is_to_see_is_text_and_numbers() -> None:
    env = toy()
    seen, _ = env.reset(seed=0)
    assert set(seen) == {
        *("code", "file_tree", "error_messages", "test_results", "tool_outputs", "conversation"),
        "features",
    }
    assert seen["code"].splitlines()[3] == "   4          if value >= 0:"
    assert seen["file_tree"] == "program.py  6 lines\n  positives  lines 1-6  <- the task\ntests.py  4 tests"
    assert seen["test_results"] == "The tests have not been run."
    assert seen["conversation"] == "Task: Count the values above zero."
    seen = env.step(TEST)[0]
    assert seen["test_results"].startswith("2 of 4 tests pass\n")
    assert "assert positives([0, 5]) == 1" in seen["test_results"]
    assert "-1, 0, 3" not in "".join(text for key, text in seen.items() if key != "features")  # held out
    assert seen["tool_outputs"] == "test: 2 of 4 pass"
    seen = env.step(SEARCH)[0]
    assert seen["tool_outputs"].startswith("search: value:\n   1  def positives(values):\n   3  ")
    seen = env.step(ASK)[0]
    assert seen["conversation"].endswith("Answer: For example, this must hold:\nassert positives([]) == 0")
    assert env.step(COMPILE)[0]["tool_outputs"] == "compile: compiles"
    assert env.observation_space.contains(seen)


def test_features_are_named_and_say_what_is_known() -> None:
    env = toy(shows="features")
    env.reset(seed=0)
    seen, *_ = env.step(TEST)
    named = dict(zip(env.columns.names, seen.tolist(), strict=True))
    assert env.observation_space.contains(seen)
    assert len(set(env.columns.names)) == len(env.columns.names) == seen.shape[0]
    known = {name: named[name] for name in ("steps_left", "stage_what", "tested", "results_are_current", "passed")}
    assert known == {"steps_left": 1 - 1 / 64, "stage_what": 1, "tested": 1, "results_are_current": 1, "passed": 0.5}


def test_more_of_a_module_is_shown_on_request() -> None:
    env = CodingEnv([HELPED], Inside(), rules=SMALL)
    seen, info = env.reset(seed=0)
    assert seen["code"] == "   8  def area(r):\n   9      return PI * squared(r)"
    assert "squared  lines 4-5" in seen["file_tree"]
    assert CONTEXT in allowed(info)
    seen = env.step(CONTEXT)[0]
    assert seen["code"].startswith("   1  PI = 3\n")
    seen, *_, info = env.step(CONTEXT)
    assert seen["code"].endswith("# before the tests\nNINE = 9")
    assert CONTEXT not in allowed(info)


def test_what_cannot_be_printed_is_shown_as_an_escape_and_what_is_long_is_cut() -> None:
    strange = replace(TASK, source=f"# é \x01\n{BROKEN}", statement="x" * 20_000)
    env = CodingEnv([strange], Inside(), rules=SMALL)
    seen, _ = env.reset(seed=0)
    env.step(SUBMIT)
    assert env.observation_space.contains(seen)
    assert len(seen["conversation"]) == 10_000
    assert seen["conversation"].endswith("... 20,006 characters in all")


# ---------------------------------------------------------------------------------------- proposals, tasks, stages


def test_proposals_are_taken_one_after_the_other_and_those_that_do_not_parse_never() -> None:
    asked = []

    def proposer(task: Task, rng: np.random.Generator) -> list[str]:
        asked.append(task.id)
        return ["def positives(:", BROKEN, "x = 1\n", BROKEN.replace("0:", "1:"), RIGHT, RIGHT]

    env = toy(proposer=proposer)
    _, info = env.reset(seed=0)
    assert (asked, GENERATE in allowed(info), len(env.work.proposals)) == ([TASK.id], True, 2)
    _, reward, *_ = env.step(GENERATE)
    assert (env.work.source, reward) == (BROKEN.replace("0:", "1:"), -0.05)
    *_, info = env.step(GENERATE)
    assert (env.work.source, GENERATE in allowed(info)) == (RIGHT, False)


def test_stages_go_from_easy_to_hard_and_a_task_may_be_named() -> None:
    tasks = [replace(HELPED, id=f"hard/{number}") for number in range(3)] + [
        replace(TASK, id=f"easy/{n}") for n in range(3)
    ]
    env = CodingEnv(tasks, Inside(), rules=replace(SMALL, stages=2))
    first = {env.reset(seed=seed, options={"stage": 0})[1]["task"] for seed in range(20)}
    second = {env.reset(seed=seed, options={"stage": 1})[1]["task"] for seed in range(20)}
    assert (len(first), len(second), first & second) == (3, 3, set())
    assert {name.partition("/")[0] for name in first} in ({"easy"}, {"hard"})
    assert env.reset(options={"task": "hard/1"})[1]["task"] == "hard/1"
    with pytest.raises(InvalidInput, match=r"No stage 2. There are 2, from 0."):
        env.reset(options={"stage": 2})
    with pytest.raises(UnknownName, match=r"No task 'hard/9'. Did you mean 'hard/"):
        env.reset(options={"task": "hard/9"})
    with pytest.raises(UnknownName, match=r"No option 'stag'. Did you mean 'stage'\?"):
        env.reset(options={"stag": 1})


# ------------------------------------------------------------------------------------- the same twice, and any walk


def trail(seed: int, steps: int, rules: Rules) -> list[Any]:
    """Everything seen and earned on a random walk over allowed actions; every program on it parses."""
    env = CodingEnv(
        [TASK, HELPED], Inside(), rules=rules, proposer=lambda task, rng: [task.source + f"# {rng.random()}\n"]
    )
    rng = np.random.default_rng(seed)
    seen, info = env.reset(seed=seed)
    found: list[Any] = []
    for _ in range(steps):
        action = int(rng.choice(allowed(info)))
        seen, reward, terminated, truncated, info = env.step(action)
        ast.parse(env.work.source)
        texts = [text for key, text in sorted(seen.items()) if key != "features"]
        found.append((action, reward, terminated, truncated, info["task"], texts, seen["features"].tobytes()))
        assert env.observation_space.contains(seen)
        assert info["action_mask"].any()
        if terminated or truncated:
            seen, info = env.reset()
    return found


@pytest.mark.parametrize(
    ("rules", "steps"), [(Rules(steps=20), 120), (Rules(steps=8, flat=64, tests_at_once=True), 50)]
)
def test_random_allowed_actions_never_fail_and_the_same_seed_gives_the_same_episodes(rules: Rules, steps: int) -> None:
    first = trail(7, steps, rules)
    assert first == trail(7, steps, rules)
    assert first != trail(8, steps, rules)
    assert len({tuple(each[5]) for each in first}) > steps / 3  # it was no walk on the spot


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"step": 3}, r"The rules of coding has no 'step'. Did you mean 'steps'\?"),
        ({"steps": 0}, "'steps' got 0. It must be a number from 1"),
        ({"operators": ["comparision_operator"]}, r"'operators' names .*Did you mean 'comparison_operator'\?"),
        ({"operators": []}, "There is no operator to edit with."),
        ({"weights": {"operations": {"tset": -1.0}}}, r"'operations' names 'tset'. Did you mean 'test'\?"),
        ({"weights": {"solve": 1}}, r"unknown weight 'solve'. Did you mean 'solved'\?"),
        ({"weights": 3}, "Give a table of names"),
        ({"discount": 1.5}, "'discount' got 1.5"),
    ],
)
def test_bad_rules_are_refused_with_the_name_and_what_to_do(settings: dict[str, Any], says: str) -> None:
    with pytest.raises((InvalidInput, SettingsInvalid), match=says):
        from_table(settings)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def positives(values:\n    pass\n", "cannot be worked on: Line 1 does not parse: .* in 'def positives"),
        ("def positive(values):\n    pass\n", r"defines no function 'positives'. Did you mean 'positive'\?"),
    ],
)
def test_a_task_that_cannot_be_worked_on_is_refused(source: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        CodingEnv([replace(TASK, source=source)], Inside())


def test_other_nonsense_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"There is no task. Give one at least."):
        CodingEnv([], Inside())
    with pytest.raises(UnknownName, match=r"Nothing is shown as 'feature'. Did you mean 'features'\?"):
        toy(shows="feature")
    with pytest.raises(InvalidInput, match=r"No episode has begun. Call reset first."):
        _ = toy().work
    assert set(SMALL.operators) < set(OPERATORS)
