"""Games about code: PettingZoo's own checks, rewards by hand, the same seed gives the same match."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pettingzoo.utils.conversions import aec_to_parallel

from bondhu.agents.bug_game import INJECTOR, REPAIRER, BugGame, BugMatch, interest
from bondhu.agents.games import Game, Rules
from bondhu.agents.review_game import ACCEPT, AUTHOR, REJECT, REVIEWER, ReviewGame
from bondhu.agents.suite_game import CODER, NAMES, TESTER, SuiteGame, _same
from bondhu.domains.coding.edits import edits
from bondhu.domains.coding.testing import Judge
from bondhu.errors import InvalidInput, SandboxUnavailable, UnknownName
from bondhu.sandbox.pool import open_sandbox
from bondhu.sandbox.program import Answer
from tests.agents.arcade import LARGEST, POSITIVES, PRICE, TASKS, judge, right
from tests.coding import toys

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of its own games, which its tests import
    from pettingzoo.test import api_test, parallel_api_test, seed_test

OF_ONE = right("positives", POSITIVES)
MADE: dict[str, Callable[[], Rules[Any]]] = {
    "bugs": lambda: BugGame(TASKS, judge()),
    "suites": lambda: SuiteGame(TASKS, judge()),
    "reviews": lambda: ReviewGame((toys.TASK,), judge()),
}
every_game = pytest.mark.parametrize("name", MADE)
# PettingZoo excuses its own games with masks by name from the first two. Players of one game see different things.
excused = [
    pytest.mark.filterwarnings(f"ignore:{start}:UserWarning")
    for start in (
        "Observation is not a NumPy array",
        "Observation space for each agent probably should be gymnasium.spaces.box",
        "Agents have different observation space sizes",
        "Observations are different shapes",
        "The observation contains negative numbers and is in the shape of a graphical observation",
    )
]


def excusing(test: Callable[..., None]) -> Callable[..., None]:
    for mark in excused:
        test = mark(test)
    return test


@every_game
@excusing
def test_a_game_keeps_what_pettingzoo_asks_of_turns(name: str) -> None:
    game = Game(MADE[name]())
    api_test(game, num_cycles=60)
    assert str(game) == name


@every_game
def test_the_same_seed_and_actions_give_the_same_match(name: str) -> None:
    seed_test(lambda: Game(MADE[name]()), num_cycles=60)
    assert transcript(Game(MADE[name]()), 3) == transcript(Game(MADE[name]()), 3)
    assert transcript(Game(MADE[name]()), 3) != transcript(Game(MADE[name]()), 4)


def transcript(game: Game[Any], seed: int) -> list[Any]:
    """Everything that is seen of some matches of players who draw their actions."""
    rng, seen = np.random.default_rng(seed), list[Any]()
    for number in range(3):
        game.reset(seed=seed + number)
        for player in game.agent_iter():
            view, reward, over, _, info = game.last()
            action = None if over else int(rng.choice(np.flatnonzero(view["action_mask"])))
            seen.append((player, view["observation"].tolist(), view["codes"].tolist(), reward, over, info, action))
            game.step(action)
    return seen


def test_both_may_move_at_once_where_nobody_sees_the_other() -> None:
    parallel = aec_to_parallel(Game(MADE["suites"]()))
    parallel_api_test(parallel, num_cycles=60)
    assert parallel.possible_agents == [CODER, TESTER]


@every_game
def test_every_view_is_in_its_space_and_an_action_that_is_masked_is_refused(name: str) -> None:
    game = Game(MADE[name]())
    for seed in range(5):
        game.reset(seed=seed)
        for player in game.possible_agents:
            view = game.observe(player)
            assert game.observation_space(player).contains(view)
            assert view["action_mask"].any()
        with pytest.raises(InvalidInput, match=r"is masked\. Allowed: ") as raised:
            game.step(int(game.action_space(game.agent_selection).n))
        assert raised.value.field == "action"


# ---------------------------------------------------------------------------------------------------------------- bugs


def test_bugs_that_take_half_of_the_budget_are_worth_most() -> None:
    worth = [interest(tries, 12, mended=True) for tries in range(13)]
    assert worth[6] == 1.0
    assert worth[0] == worth[12] == 0.0
    assert worth[3] == worth[9] == 0.75
    assert worth == pytest.approx(worth[::-1])
    assert interest(6, 12, mended=False) == 0.0


def bugs(**changes: Any) -> tuple[Game[Any], BugGame]:
    rules = replace(BugGame((OF_ONE,), judge(), operators=("comparison_operator", "constant_changed")), **changes)
    game = Game(rules)
    game.reset(seed=0)
    return game, rules


def inject(game: Game[Any], rules: BugGame, text: str) -> None:
    """The bug that puts this text in."""
    menu = rules.menu(OF_ONE)
    action = next(number for number, some in enumerate(menu) if any(edit.after == text for edit in some))
    for seed in range(200):
        game.reset(seed=seed)
        game.step(action)
        if game.match.bug.after == text:
            return
    raise AssertionError(f"No bug {text!r}.")


def test_a_bug_is_mended_by_its_operator_and_both_are_paid_by_the_programs_it_took() -> None:
    game, rules = bugs(budget=10)
    inject(game, rules, "value < 0")
    assert game.agent_selection == REPAIRER
    assert "line 4: `value > 0` became `value < 0`; 0 of 10 tried, 2 of 3 tests pass" in game.render()
    rewards = {INJECTOR: 0.0, REPAIRER: 0.0}
    while not any(game.terminations.values()):
        game.step(0)
        rewards = {player: rewards[player] + reward for player, reward in game.rewards.items()}
    told = game.infos[REPAIRER]
    assert told["ended"] == "mended"
    assert game.match.source.count("value > 0") == 1
    tries = told["tries"]
    assert 1 <= tries <= 5
    assert rewards[REPAIRER] == pytest.approx(1 - tries / 10)
    assert rewards[INJECTOR] == pytest.approx(4 * tries / 10 * (1 - tries / 10))


def test_a_bug_that_stays_costs_the_repairer_1_and_earns_nothing() -> None:
    game, rules = bugs(budget=2)
    inject(game, rules, "value < 0")
    rewards = {INJECTOR: 0.0, REPAIRER: 0.0}
    while not any(game.terminations.values()):
        game.step(1)  # constants, none of which mends it
        rewards = {player: rewards[player] + reward for player, reward in game.rewards.items()}
    assert game.infos[INJECTOR]["ended"] == "stayed"
    assert rewards == {INJECTOR: 0.0, REPAIRER: pytest.approx(-1.0)}


def test_a_change_that_no_test_notices_earns_a_penalty() -> None:
    weak = replace(OF_ONE, tests=OF_ONE.tests[:1])  # positives([]) == 0
    game = Game(BugGame((weak,), judge(), operators=("comparison_operator",), penalty=-0.5))
    game.reset(seed=1)
    game.step(int(np.flatnonzero(game.observe(INJECTOR)["action_mask"])[0]))
    assert game.infos[INJECTOR] == {"ended": "unnoticed", "tries": 0, "used": 0.0, "operator": "comparison_operator"}
    assert game.rewards == {INJECTOR: -0.5, REPAIRER: 0.0}


def test_no_program_is_tried_twice_and_every_try_counts() -> None:
    game, rules = bugs(budget=30)
    rng = np.random.default_rng(0)
    for seed in range(20):
        game.reset(seed=seed)
        while not any(game.terminations.values()):
            mask = game.observe(game.agent_selection)["action_mask"]
            game.step(int(rng.choice(np.flatnonzero(mask))))
        match = game.match
        if match.tries:
            assert len(match.seen) == match.tries + 1  # and the bug itself
        assert match.tries <= rules.budget


def test_an_edit_that_makes_more_tests_pass_is_kept_and_mending_goes_on_from_there() -> None:
    task = right("price", PRICE)
    rules = BugGame((task,), judge(), operators=("comparison_operator", "constant_changed"), budget=60)
    game, broken = Game(rules), PRICE.replace(">= 10", "> 10").replace("return 0", "return 1")
    game.reset(seed=0)
    judged = rules.known(task, broken)
    assert judged.passed == (True, False, True, False)
    bug = next(some for some in rules.menu(task) if some)
    found = BugMatch(task, broken, judged, bug[0], seen=frozenset({broken}))
    game.match, game.agent_selection = rules._open(found, broken, judged), REPAIRER
    shares = list[float]()
    while not any(game.terminations.values()):
        game.step(int(np.flatnonzero(game.observe(REPAIRER)["action_mask"])[0]))
        shares.append(game.match.judgement.share)
    assert sorted(set(shares)) == [0.5, 0.75, 1.0]
    assert shares == sorted(shares)
    assert game.infos[REPAIRER]["ended"] == "mended"
    assert game.match.source == PRICE


def test_programs_of_a_game_run_in_the_real_sandbox_as_in_the_stand_in() -> None:
    def played(judge: Judge) -> list[Any]:
        return transcript(Game(BugGame((OF_ONE,), judge, budget=3)), 5)

    try:
        with open_sandbox(workers=1) as sandbox:
            found = played(Judge(sandbox))
    except SandboxUnavailable as reason:
        pytest.skip(str(reason))
    assert found == played(judge())


def test_what_cannot_be_played_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnknownName, match=r"No operator 'comparison_oprator'. Did you mean 'comparison_operator'\?"):
        BugGame(TASKS, judge(), operators=("comparison_oprator",))
    with pytest.raises(InvalidInput, match="A game without tasks"):
        BugGame((), judge())
    with pytest.raises(InvalidInput, match="has no solution that passes its tests"):
        BugGame((replace(OF_ONE, solution=POSITIVES.replace(">", "<")),), judge())
    with pytest.raises(InvalidInput, match="A budget of 1 programs"):
        BugGame(TASKS, judge(), budget=1)
    with pytest.raises(InvalidInput, match="Nothing in 'toy/positives' can be changed"):
        BugGame((OF_ONE,), judge(), operators=("boolean_operator",))
    with pytest.raises(InvalidInput, match=r"mutants\. Ask for fewer candidates"):
        SuiteGame(TASKS, judge(), candidates=500)
    with pytest.raises(InvalidInput, match="edits, of which 0 are right"):
        ReviewGame((replace(toys.TASK, source=LARGEST.replace("largest", "positives")),), judge())


# -------------------------------------------------------------------------------------------------------------- suites


def suites(**changes: Any) -> Game[Any]:
    """One known call, positives([1, 2]), and three candidates, of which the solution is the second."""
    rules = SuiteGame((replace(OF_ONE, tests=OF_ONE.tests[1:2]),), judge(), candidates=3, rounds=2, **changes)
    game = Game(rules)
    game.reset(seed=0)
    wrong = POSITIVES.replace("value > 0", "value < 0"), POSITIVES.replace("> 0", ">= 0")
    game.match = replace(game.match, programs=(wrong[0], POSITIVES, wrong[1]), right=1)
    return game


def test_a_test_earns_the_mutants_it_tells_apart_and_a_program_the_tests_it_passes() -> None:
    game = suites()
    game.step(0)  # the coder takes `value < 0`
    game.step(NAMES.index("as it is"))
    assert game.rewards == {CODER: -1.0, TESTER: 0.5}  # it fails, `>= 0` does not
    np.testing.assert_array_equal(game.observe(CODER)["codes"], [0, 1, 1])
    game.step(1)  # the coder takes the solution
    game.step(NAMES.index("items of other sign"))  # [-1, -2]: once more only `value < 0` fails
    assert game.rewards == {CODER: 1.0, TESTER: 0.0}
    assert game.infos[CODER] == {"ended": "right", "killed": 0.5, "inputs": 2}


def test_an_input_asked_before_costs_the_tester() -> None:
    game = suites()
    for _ in range(2):
        game.step(1)
        game.step(NAMES.index("as it is"))
    assert game.rewards == {CODER: 0.0, TESTER: -0.2}


def test_an_input_at_which_the_solution_raises_is_no_test() -> None:
    task = right("largest", LARGEST)
    game = Game(SuiteGame((task,), judge(), candidates=3))
    game.reset(seed=0)
    game.step(0)
    game.step(NAMES.index("empty"))  # largest([]) is not defined
    assert game.rewards == {CODER: 0.0, TESTER: -0.2}
    assert sum(game.rules.alive(game.match)) == 3


def test_answers_of_any_length_are_compared() -> None:
    """Exactly: by type and value, but for the order of a set; a NaN is like another."""
    large = 1 << 20_000  # `repr` refuses it
    for one in (large, [math.nan], {1, large}, (0.0, {"a": -0.0})):
        assert _same(Answer("value", one), Answer("value", one))
    for other in (large + 1, 1.0, True, 5):
        assert not _same(Answer("value", other), Answer("value", 1))
        assert not _same(Answer("value", large), Answer("value", other))
    assert _same(Answer("value", {8, 16, 0}), Answer("value", {0, 16, 8}))
    assert not _same(Answer("value", "0x5"), Answer("value", 5))
    assert not _same(Answer("value"), Answer("raised"))


def test_changes_that_do_not_apply_to_any_argument_are_masked() -> None:
    game = suites()
    mask = dict(zip(NAMES, game.observe(TESTER)["action_mask"].tolist(), strict=True))
    assert [name for name, able in mask.items() if not able] == ["one more", "one less", "zero", "other sign"]


# ------------------------------------------------------------------------------------------------------------- reviews


def reviews() -> Game[Any]:
    game = Game(ReviewGame((toys.TASK,), judge(), menu=4, rounds=2))
    game.reset(seed=0)
    return game


@pytest.mark.parametrize(("right", "verdict", "author", "reviewer"), [
    (True, ACCEPT, 0.9, 0.9), (False, ACCEPT, -1.1, -1.1), (True, REJECT, -0.1, -1.0), (False, REJECT, -0.1, 0.1),
])  # fmt: skip
def test_the_tests_say_what_a_verdict_was_worth(right: bool, verdict: int, author: float, reviewer: float) -> None:
    game = reviews()
    game.step(game.match.right.index(right))
    assert game.agent_selection == REVIEWER
    game.step(verdict)
    assert game.rewards == pytest.approx({AUTHOR: author, REVIEWER: reviewer})
    assert any(game.terminations.values()) == (verdict == ACCEPT)


def test_a_rejected_edit_is_not_handed_in_again_and_the_rounds_are_limited() -> None:
    game = reviews()
    game.step(1)
    game.step(REJECT)
    assert game.observe(AUTHOR)["action_mask"].tolist() == [1, 0, 1, 1]
    game.step(0)
    game.step(REJECT)
    assert game.infos[AUTHOR]["ended"] == "rejected"
    assert game.infos[AUTHOR]["rejected"] == 2


def test_the_reviewer_sees_the_edit_and_not_what_the_tests_say_of_it() -> None:
    game = reviews()
    game.step(game.match.right.index(True))
    seen = game.observe(REVIEWER)
    flipped = replace(game.match, right=tuple(not each for each in game.match.right))
    game.match = flipped
    for view, again in zip(seen.values(), game.observe(REVIEWER).values(), strict=True):
        np.testing.assert_array_equal(view, again)
    assert len(edits(toys.BROKEN, "positives")) > 4
