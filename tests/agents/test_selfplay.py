"""Self-play: batches and curves by hand, pools of earlier selves, and what learners of the catalogue reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bondhu.agents.bug_game import INJECTOR, REPAIRER, BugGame
from bondhu.agents.games import Game
from bondhu.agents.review_game import AUTHOR, REVIEWER, ReviewGame
from bondhu.agents.selfplay import (
    Move,
    Player,
    Round,
    Seated,
    batch_of,
    begun,
    curve,
    examined,
    play,
    practised,
)
from bondhu.agents.suite_game import CODER, TESTER, SuiteGame
from bondhu.domains.coding.edits import applied, edits
from bondhu.domains.coding.tasks import Task
from bondhu.errors import InvalidInput, UnknownName
from bondhu.learners import build, pack
from bondhu.policies.uniform import Uniform
from tests.agents.arcade import TASKS, judge

SEEDS = range(6)
T = 2.571  # 97.5 % of Student's t with 5 degrees of freedom
ANYHOW = Seated(Uniform(), "observation")
SIMPLE = ("comparison_operator", "constant_changed", "arithmetic_operator", "condition_negated")


def interval(found: Sequence[float]) -> tuple[float, float]:
    """At 95 %, of a mean over seeds."""
    width = T * np.std(found, ddof=1) / np.sqrt(len(found))
    return float(np.mean(found) - width), float(np.mean(found) + width)


def seats(game: Game[Any], rng: np.random.Generator, *taken: tuple[str, str, str]) -> dict[str, Player]:
    return {name: begun(build(learner, {}), game, name, rng, sees) for name, learner, sees in taken}


def mean(rounds: Sequence[Round], player: str) -> float:
    return float(np.mean([each.rewards[player] for each in rounds]))


# ------------------------------------------------------------------------------------------------------------- by hand


def test_the_moves_of_a_match_are_one_session_with_a_true_end() -> None:
    open_ = np.ones(2, np.bool_)
    moves = [Move(np.array([at, 1.0]), open_, at % 2, 0.5, np.empty(0), at - 1.0) for at in range(3)]
    batch = batch_of(moves)
    np.testing.assert_array_equal(batch.observation[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(batch.next_observation, [[1, 1], [2, 1], [0, 0]])
    np.testing.assert_array_equal(batch.reward, [-1, 0, 1])
    np.testing.assert_array_equal(batch.discount, [1, 1, 0])
    np.testing.assert_array_equal(batch.has_next, [True, True, False])
    with pytest.raises(InvalidInput, match="No moves"):
        batch_of([])


def test_a_move_earns_what_comes_until_the_next_one_and_a_match_what_the_game_pays() -> None:
    game = Game(BugGame(TASKS, judge(), budget=6))
    for seed in range(10):
        match = play(game, {INJECTOR: ANYHOW, REPAIRER: ANYHOW}, np.random.default_rng(seed))
        used = match.told["used"]
        wanted = {"mended": (4 * used * (1 - used), 1 - used), "stayed": (0.0, -1.0), "unnoticed": (-1.0, 0.0)}
        earned = match.earned(INJECTOR), match.earned(REPAIRER)
        assert earned == pytest.approx(wanted[match.told["ended"]])
        assert len(match.moves[INJECTOR]) == 1
        assert len(match.moves[REPAIRER]) == match.told["tries"]
        assert all(move.reward == pytest.approx(-1 / 6) for move in match.moves[REPAIRER][:-1])


def test_a_curve_tells_how_hard_bugs_were() -> None:
    def ended(how: str, used: float, reward: float) -> Round:
        return Round({INJECTOR: reward}, {"ended": how, "used": used})

    rounds = [ended("mended", 0.5, 1.0), ended("stayed", 1.0, 0.0), ended("unnoticed", 0.0, -1.0),
              ended("mended", 0.1, 0.36), ended("mended", 0.25, 0.75), ended("mended", 0.25, 0.75)]  # fmt: skip
    first, second = curve(rounds, 2)
    assert (first.first, first.last, second.first, second.last) == (0, 3, 3, 6)
    assert first.used == 0.75
    assert (first.middle, first.stayed, first.unnoticed) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert first.rewards[INJECTOR] == 0.0
    assert second.used == pytest.approx(0.2)
    assert second.middle == pytest.approx(2 / 3)
    assert np.isnan(curve([rounds[2]], 1)[0].used)
    with pytest.raises(InvalidInput, match=r"7 stretches of 6 matches\. Ask for 1 to 6"):
        curve(rounds, 7)


# ------------------------------------------------------------------------------------------------------------- players


@pytest.mark.parametrize(("learner", "sees"), [
    ("bandit.online_regression", "observation"), ("bandit.linear_thompson", "situation"),
    ("tabular.q_learning", "codes"),
])  # fmt: skip
def test_learners_of_different_kinds_take_both_seats(learner: str, sees: str) -> None:
    game, rng = Game(BugGame(TASKS[:1], judge(), budget=4)), np.random.default_rng(0)
    players, rounds = practised(game, seats(game, rng, (INJECTOR, learner, sees), (REPAIRER, learner, sees)), 12, rng)
    assert len(rounds) == 12
    assert {player: each.sees for player, each in players.items()} == {INJECTOR: sees, REPAIRER: sees}


def test_learning_does_not_change_a_self_that_was_kept() -> None:
    game, rng = Game(BugGame(TASKS[:1], judge(), budget=4)), np.random.default_rng(0)
    player = begun(build("bandit.online_regression", {}), game, REPAIRER, rng)
    kept, before = player.kept(), {name: array.copy() for name, array in pack(player.state).items()}
    for _ in range(5):
        match = play(game, {INJECTOR: ANYHOW, REPAIRER: player.seated(explore=True)}, rng)
        player = player.learned(match.moves[REPAIRER], rng)
    for name, array in pack(kept.state).items():
        np.testing.assert_array_equal(array, before[name])
    assert any(not np.array_equal(array, before[name]) for name, array in pack(player.state).items())


def test_an_earlier_self_plays_as_often_as_it_is_told_and_does_not_learn() -> None:
    game = Game(BugGame(TASKS[:1], judge(), budget=4))
    taken = [(player, "tabular.q_learning", "codes") for player in (INJECTOR, REPAIRER)]
    rng = np.random.default_rng(0)
    _, rounds = practised(game, seats(game, rng, *taken), 200, rng, past=0.5)
    assert 75 <= sum(each.absent is not None for each in rounds) <= 125
    assert {each.absent for each in rounds} == {None, INJECTOR, REPAIRER}
    begun_ = seats(game, rng, *taken)
    states = {player: {key: array.copy() for key, array in pack(each.state).items()} for player, each in begun_.items()}
    players, (one,) = practised(game, begun_, 1, rng, past=1.0)
    for player, each in players.items():
        same = all(np.array_equal(array, states[player][key]) for key, array in pack(each.state).items())
        assert same == (player == one.absent or one.told["ended"] == "unnoticed")
    with pytest.raises(InvalidInput, match=r"An earlier self in 1\.5 of the matches"):
        practised(game, players, 1, rng, past=1.5)


def test_the_same_seed_practises_the_same() -> None:
    def once() -> list[Round]:
        game, rng = Game(BugGame(TASKS, judge(), budget=6)), np.random.default_rng(7)
        taken = (INJECTOR, "bandit.linear_thompson", "situation"), (REPAIRER, "bandit.online_regression", "observation")
        return practised(game, seats(game, rng, *taken), 30, rng)[1]

    assert once() == once()


def test_a_seat_or_a_view_that_does_not_exist_is_named() -> None:
    game, rng, learner = Game(BugGame(TASKS, judge())), np.random.default_rng(0), build("tabular.q_learning", {})
    with pytest.raises(UnknownName, match=r"No player 'repairer_1' in bugs. Did you mean 'repairer_0'\?"):
        begun(learner, game, "repairer_1", rng)
    with pytest.raises(UnknownName, match=r"No view 'code'. Did you mean 'codes'\?"):
        begun(learner, game, REPAIRER, rng, "code")


# -------------------------------------------------------------------------------------------------- what they learn


def test_bugs_come_to_be_of_intermediate_difficulty_and_repair_takes_fewer_programs() -> None:
    paid, middle, stayed, fewer = list[float](), list[float](), list[float](), list[float]()
    game = Game(BugGame(TASKS, judge(), lines=6))
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        taken = (INJECTOR, "bandit.linear_thompson", "situation"), (REPAIRER, "bandit.online_regression", "observation")
        players, rounds = practised(game, seats(game, rng, *taken), 200, rng)
        first, *_, last = curve(rounds, 5)
        paid.append(last.rewards[INJECTOR] - first.rewards[INJECTOR])
        middle.append(last.middle - first.middle)
        stayed.append(last.stayed - first.stayed)
        injector = players[INJECTOR].seated(explore=True)
        unlearned, learned = (
            examined(game, {INJECTOR: injector, REPAIRER: how}, 50, np.random.default_rng(1000 + seed))
            for how in (ANYHOW, players[REPAIRER].seated())
        )
        fewer.append(tries(unlearned) - tries(learned))
    assert interval(paid)[0] > 0.1  # of at most 1 for a bug
    assert interval(middle)[0] > 0.0
    assert interval(stayed)[1] < -0.2
    assert interval(fewer)[0] > 1.0  # programs for a bug of the injector as it is at last, of at most 12


def tries(rounds: Sequence[Round]) -> float:
    return float(np.mean([each.told["tries"] for each in rounds if each.told["ended"] != "unnoticed"]))


def test_the_code_generator_learns_to_take_what_no_test_has_told_apart() -> None:
    gains = list[float]()
    game = Game(SuiteGame(TASKS, judge()))
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        taken = (TESTER, "bandit.linear_thompson", "situation"), (CODER, "bandit.online_regression", "observation")
        players, _ = practised(game, seats(game, rng, *taken), 80, rng)
        tester = players[TESTER].seated()
        before, after = (
            examined(game, {TESTER: tester, CODER: how}, 30, np.random.default_rng(1000 + seed))
            for how in (ANYHOW, players[CODER].seated())
        )
        gains.append(mean(after, CODER) - mean(before, CODER))
    assert interval(gains)[0] > 0.5  # of at most 8: from -1 to 1 in each of four rounds


def broken(task: Task, most: int) -> list[Task]:
    """The task with some of the bugs that its tests notice."""
    sources = [applied(task.source, edit) for edit in edits(task.source, task.entry, SIMPLE)]
    judged = judge().judge_all(task, sources)
    wrong = [source for source, each in zip(sources, judged, strict=True) if not each.solved][:most]
    return [replace(task, id=f"{task.id}/{number}", source=source) for number, source in enumerate(wrong)]


def test_author_and_reviewer_learn_to_let_right_edits_in() -> None:
    gains = list[float]()
    game = Game(ReviewGame(tuple(each for task in TASKS for each in broken(task, 4)), judge(), 6, operators=SIMPLE))
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        taken = (AUTHOR, "bandit.online_regression", "observation"), (REVIEWER, "bandit.linear_thompson", "situation")
        players, _ = practised(game, seats(game, rng, *taken), 150, rng)
        learned = {player: each.seated() for player, each in players.items()}
        before, after = (
            examined(game, how, 60, np.random.default_rng(1000 + seed))
            for how in ({AUTHOR: ANYHOW, REVIEWER: ANYHOW}, learned)
        )
        gains.append(mean(after, REVIEWER) - mean(before, REVIEWER))
    assert interval(gains)[0] > 0.2
