"""Choosing models, strategies and when to stop: steps and credit by hand, and worlds whose best strategy is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bondhu.agents.budget import Budget, Use
from bondhu.agents.conversation import Ask
from bondhu.agents.episodes import (
    Agent,
    Episode,
    batch_of,
    begun,
    credited,
    credits,
    decisions,
    play,
    practised,
)
from bondhu.agents.proposing import Scripted
from bondhu.agents.strategy import STOP, TEST, Move, Setup, Situation, Worth, moves
from bondhu.domains.coding import tasks
from bondhu.domains.coding.tasks import Task
from bondhu.errors import InvalidInput, UnknownName
from bondhu.learners import build
from bondhu.types import SESSION_END, Array, Booleans, Choice, Floats, Integers, Uniforms

FOUND = "def f(x):\n    return 0\n"
HALF = "def f(x):\n    return x\n"
RIGHT = "def f(x):\n    return 2 * x\n"
SCORES = {FOUND: (False, False), HALF: (True, False), RIGHT: (True, True)}
CHEAP, STRONG = Use(Decimal("0.02"), 100), Use(Decimal("0.30"), 200)


class Judgement:
    def __init__(self, passed: tuple[bool, ...], problem: str = "failed") -> None:
        self.passed, self.problems = passed, tuple("" if each else problem for each in passed)
        self.share, self.solved = sum(passed) / len(passed), all(passed)


class Judge:
    """Knows every program of these tests by heart."""

    def __init__(self) -> None:
        self.judged = list[tuple[str, bool]]()

    def judge(self, task: Task, source: str, *, held_out: bool = False) -> Judgement:
        self.judged.append((source, held_out))
        return Judgement(SCORES[source] if not held_out else (source == RIGHT and task.kind != "trap",))


class Script:
    """A policy that does what it is told, one action after another."""

    def __init__(self, actions: Sequence[int]) -> None:
        self.left = list(actions)

    def distribution(self, observation: Array, allowed: Booleans) -> Floats:
        return np.eye(allowed.shape[1])[[self.left[0]]]

    def probability(self, observation: Array, allowed: Booleans, action: Integers) -> Floats:
        return np.ones(len(action))

    def sample(self, observation: Array, allowed: Booleans, rng: Uniforms) -> Choice:
        action = self.left.pop(0)
        assert allowed[0, action], action
        return Choice(np.array([action]), np.array([0.5]), np.array([[1.5]]))


def block(source: str) -> str:
    return f"```python\n{source}```"


def task(number: int = 0, kind: str = "", **given: Any) -> Task:
    checks = tasks.Test("a", "assert f(0) == 0"), tasks.Test("b", "assert f(1) == 2")
    return Task(f"t{number}", "f", "Twice x.", FOUND, checks, kind=kind, **given)


def setup(**given: Any) -> Setup:
    """Moves: 0 small/repair, 1 large/repair, 2 test, 3 stop."""
    small = Scripted("small", lambda ask: [block(HALF if ask.task.kind == "hard" else RIGHT)], CHEAP)
    large = Scripted("large", [block(RIGHT)], STRONG)
    whole = {"judge": Judge(), "moves": moves(["small", "large"], ["repair"]), "clock": lambda: 0.0, **given}
    return Setup(whole.pop("proposers", (small, large)), **whole)


def played(actions: Sequence[int], given: Setup, what: Task | None = None) -> Episode:
    return play(Script(actions), given, what or task(), np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------------ one episode


def test_moves_are_every_combination_with_a_test_and_a_stop() -> None:
    made = moves(["a", "b"], ["repair", "tests_first"], samples=(1, 4))
    assert [each.name for each in made] == ["a/repair/1", "a/repair/4", "a/tests_first/1", "b/repair/1", "b/repair/4",
                                            "b/tests_first/1", "test", "stop"]  # fmt: skip


def test_rewards_of_an_escalation_are_what_they_are_by_hand() -> None:
    worth = Worth(solved=1.0, progress=0.5, execution=0.01)
    episode = played([0, 2, 1, 2, 3], setup(worth=worth, discount=0.9), task(kind="hard"))
    rewards = [step.reward for step in episode.steps]
    # Φ: 0, 0, ½, ½, 1 and 0 after the end.
    shaped = [0.0, 0.5 * (0.9 * 0.5), 0.5 * (0.9 * 0.5 - 0.5), 0.5 * (0.9 * 1 - 0.5), 1.0 + 0.5 * (0 - 1)]
    costs = [0.02, 0.01, 0.30, 0.01, 0.0]
    assert rewards == pytest.approx([each - cost for each, cost in zip(shaped, costs, strict=True)])
    assert episode.solved
    assert episode.last.spent == Use(Decimal("0.32"), 300, 2)


def test_shaping_adds_nothing_to_the_return_of_a_whole_episode() -> None:
    plain, shaped = (setup(worth=Worth(progress=progress), discount=0.9) for progress in (0.0, 3.0))
    totals = [credited(batch_of([played([0, 2, 1, 2, 3], each, task(kind="hard"))]), 0.9).reward[0]
              for each in (plain, shaped)]  # fmt: skip
    assert totals[0] == pytest.approx(totals[1])


def test_credit_is_the_return_that_followed() -> None:
    batch = batch_of([played([0, 2, 1, 3], setup(), task(kind="hard")), played([3], setup())])
    assert batch.reward == pytest.approx([-0.02, 0.0, -0.30, 1.0, 0.0])
    assert credited(batch, 1.0).reward == pytest.approx([0.68, 0.70, 0.70, 1.0, 0.0])
    assert credited(batch, 0.5).reward == pytest.approx([-0.02 + 0.5 * 0.1, 0.5 * 0.2, -0.30 + 0.5, 1.0, 0.0])


def test_credit_by_move_tells_what_it_led_to_and_what_it_cost() -> None:
    found = credits([played([0, 3], setup()), played([1, 3], setup()), played([3], setup())], 1.0)
    # First steps: returns 0.98, 0.70 and 0, 0.56 on average; second steps 1 and 1.
    assert found["small/repair/1"] == pytest.approx((1, 0.98, 0.42, -0.02))
    assert found["large/repair/1"] == pytest.approx((1, 0.70, 0.14, -0.30))
    assert found["stop"] == pytest.approx((3, 2 / 3, -0.56 / 3, 2 / 3))


def test_episodes_are_a_batch_of_whole_sessions() -> None:
    batch = batch_of([played([0, 2, 3], setup()), played([1, 3], setup())])
    assert batch.session.tolist() == [0, 0, 0, 1, 1]
    assert batch.discount.tolist() == [1, 1, 0, 1, 0]
    assert batch.has_next.tolist() == [True, True, False, True, False]
    assert (batch.next_observation[0] == batch.observation[1]).all()
    assert not batch.next_observation[2].any()
    assert (batch.next_allowed[0] == batch.allowed[1]).all()
    assert batch.memo.tolist() == [[1.5]] * 5
    assert batch.probability.tolist() == [0.5] * 5


def test_an_episode_is_logged_as_decisions_and_feedback() -> None:
    made, heard = decisions(played([0, 2, 3], setup()), "s1", 100.0, "v1")
    assert [each.action for each in made] == ["small/repair/1", "test", "stop"]
    assert [each.time for each in made] == [100.0, 101.0, 102.0]
    assert made[0].allowed == ("small/repair/1", "large/repair/1", "test", "stop")
    assert made[2].allowed == ("small/repair/1", "large/repair/1", "stop")  # nothing is left to test
    assert made[2].context == {"task": "t0", "kind": "", "tested": True, "share": 1.0, "problem": "", "waiting": 0,
                               "steps": 2, "dollars": 0.02, "tokens": 100, "executions": 1}  # fmt: skip
    assert [each.value for each in heard] == pytest.approx([-0.02, 0.0, 1.0, 1.0])
    assert heard[-1].signal == SESSION_END
    assert len({each.id for each in (*made, *heard)}) == 7


def test_the_best_of_several_is_kept_and_a_solution_ends_the_testing() -> None:
    many = Scripted("many", [block(HALF), block(RIGHT), block(FOUND + "# as it was\n")], CHEAP)
    given = setup(proposers=(many,), moves=moves(["many"], ["repair"], (3,)))
    episode = played([0, 1, 2], given)
    assert [source for source, _ in given.judge.judged] == [HALF, RIGHT]  # type: ignore[attr-defined]  # ours
    assert episode.last.source == RIGHT
    assert episode.last.spent == Use(Decimal("0.06"), 300, 2)


def test_untested_is_handed_in_where_nothing_better_is_known() -> None:
    given = setup()
    assert played([0, 3], given).solved
    assert not played([3], given).solved
    after = Situation(task(), RIGHT, Judgement((True, True)), waiting=(HALF,))
    assert after.answer == RIGHT


def test_an_answer_that_passes_what_it_saw_only_is_not_right() -> None:
    hidden = (tasks.Test("h", "assert f(7) == 14"),)
    given = setup()
    assert not played([0, 2, 3], given, task(kind="trap", held_out=hidden)).solved
    assert played([0, 2, 3], given, task(held_out=hidden)).solved
    assert given.judge.judged == [(RIGHT, False), (RIGHT, True)] * 2  # type: ignore[attr-defined]  # ours


def test_tests_that_a_model_wrote_reach_the_next_prompt() -> None:
    seen = list[Ask]()

    def answer(ask: Ask) -> list[str]:
        seen.append(ask)
        return ["```\nassert f(1) == 2\n```" if ask.strategy == "tests_first" else block(RIGHT)]

    given = setup(proposers=(Scripted("m", answer),), moves=moves(["m"], ["tests_first", "rewrite"]))
    episode = played([0, 1, 3], given)
    assert [each.tests for each in seen] == ["", "assert f(1) == 2"]
    assert episode.steps[1].allowed.tolist() == [False, True, True, True]  # to ask for tests twice is not allowed
    assert episode.solved


def test_a_traceback_is_there_only_after_a_test() -> None:
    given = setup(moves=(Move("propose", "small", "traceback"), TEST, STOP))
    start = Situation(task(), FOUND)
    assert given.allowed(start).tolist() == [False, True, True]
    assert given.allowed(given.after(start, TEST)).tolist() == [True, False, True]


def test_a_budget_ends_an_episode_and_is_never_passed() -> None:
    given = setup(budget=Budget(dollars=Decimal("0.31"), executions=1))
    episode = played([1, 2, 3], given)
    assert [step.allowed.tolist() for step in episode.steps] == [
        [True, True, True, True],
        [False, False, True, True],
        [False, False, False, True],
    ]
    assert episode.last.spent == Use(Decimal("0.30"), 200, 1)


def test_only_as_many_are_tested_as_can_be_paid() -> None:
    many = Scripted("many", [block(FOUND + "# a\n"), block(HALF), block(RIGHT)])
    scores = {**SCORES, FOUND + "# a\n": (False, False)}
    judge = Judge()
    judge.judge = lambda task, source, held_out=False: Judgement(scores[source])  # type: ignore[method-assign]  # ours
    given = setup(proposers=(many,), moves=moves(["many"], ["repair"], (3,)), budget=Budget(executions=2), judge=judge)
    assert played([0, 1, 2], given).last.source == HALF


def test_the_last_step_can_only_be_to_stop() -> None:
    episode = played([0, 0, 3], setup(longest=3))
    assert episode.steps[-1].allowed.tolist() == [False, False, False, True]


def test_features_and_codes_say_where_an_agent_stands() -> None:
    given = setup()
    start = Situation(task(), FOUND)
    tested = given.after(start, TEST)
    wrong = given.after(given.after(Situation(task(kind="hard"), FOUND), given.moves[0]), TEST)
    assert given.codes(start).tolist() == [0, 0, 0, 0, 0]
    assert given.codes(tested).tolist() == [2, 0, 1, 0, 0]
    assert given.codes(wrong).tolist() == [2, 2, 1, 1, 0]
    assert given.spec(task()).observation.shape == given.features(wrong).shape == (20,)
    assert given.features(start)[4:9].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]  # no problem is known
    assert given.features(wrong)[9:11].tolist() == [1.0, 0.5]  # tested, half of the tests


def test_wrong_setups_are_refused() -> None:
    with pytest.raises(UnknownName, match=r"No proposer 'smal'\. Did you mean 'small'\?"):
        setup(moves=(Move("propose", "smal"), STOP))
    with pytest.raises(InvalidInput, match="a stop"):
        setup(moves=(TEST,))
    with pytest.raises(InvalidInput, match="At least 1"):
        setup(longest=0)
    with pytest.raises(InvalidInput, match="No episodes"):
        batch_of([])


# --------------------------------------------------------------------------------------------------------- learning

# A task is hard with chance 0.4, which nobody sees; every try costs 0.02 of the small model or 0.30 of the large one, a
# test 0.05, and a right answer brings 1. To try the small one, test, and escalate where it failed brings
# 1 - 0.02 - 0.05 - 0.4·0.30 = 0.81; the large one at once 0.70; the small one alone 0.58.
ESCALATES = Worth(execution=0.05)
# Where a right answer brings 0.2 only, the large model never pays: 0.6·0.2 - 0.02 = 0.10 for the small one alone.
STOPS = Worth(solved=0.2, execution=0.05)


def drawn(count: int, seed: int) -> list[Task]:
    rng = np.random.default_rng(seed)
    return [task(number, "hard" if rng.random() < 0.4 else "easy") for number in range(count)]


def shown(agent: Agent, given: Setup, kind: str) -> tuple[str, ...]:
    return play(agent.policy(), given, task(kind=kind), np.random.default_rng(0), coded=agent.coded).moved


def learner_of(name: str, given: Setup, count: int, **hyperparameters: Any) -> Agent:
    rng = np.random.default_rng(3)
    agent = begun(build(name, hyperparameters), given, task(), rng)
    return practised(agent, given, drawn(count, 1), rng)[0]


GREEDILY = {"name": "epsilon_greedy", "epsilon": 0.3}


OFTEN = {"name": "epsilon_greedy", "epsilon": 0.5}
TABLE = {"discount": 1.0, "learning_rate": 1.0, "step_power": 0.75, "exploration": OFTEN}


def test_a_policy_learns_to_try_the_cheap_one_and_to_escalate_where_it_failed() -> None:
    given = setup(worth=ESCALATES, longest=5)
    agent = learner_of("tabular.q_learning", given, 3_000, **TABLE)
    assert shown(agent, given, "easy") == ("small/repair/1", "test", "stop")
    assert shown(agent, given, "hard") == ("small/repair/1", "test", "large/repair/1", "stop")
    assert lived(agent, given) == pytest.approx(0.81)


def test_a_learner_from_features_beats_the_best_single_model() -> None:
    given = setup(worth=ESCALATES, longest=5)
    agent = learner_of("tabular.fitted_q", given, 800, discount=1.0, exploration=GREEDILY)
    assert lived(agent, given) >= 0.76  # the best single model brings 0.70, the best there is 0.81


def lived(agent: Agent, given: Setup) -> float:
    """What a policy earns in the mean."""
    easy, hard = (play(agent.policy(), given, task(kind=kind), np.random.default_rng(0), coded=agent.coded).reward
                  for kind in ("easy", "hard"))  # fmt: skip
    return 0.6 * easy + 0.4 * hard


def test_a_policy_learns_to_stop_early_where_more_does_not_pay() -> None:
    given = setup(worth=STOPS, longest=5)
    agent = learner_of("tabular.q_learning", given, 3_000, **TABLE)
    assert shown(agent, given, "easy") == shown(agent, given, "hard") == ("small/repair/1", "stop")


def test_a_policy_learns_to_give_up_at_once_what_its_features_say_is_hopeless() -> None:
    hopeless = "x" * 5_000

    def fails(ask: Ask) -> list[str]:
        return [block(FOUND + "\n" if ask.task.statement == hopeless else RIGHT)]

    given = setup(proposers=(Scripted("small", fails, CHEAP), Scripted("large", fails, STRONG)), longest=3)
    scores = Judge()
    scores.judge = lambda task, source, held_out=False: Judgement(  # type: ignore[method-assign]  # ours
        SCORES.get(source, (False, False))
    )
    given = replace(given, judge=scores, worth=ESCALATES)
    rng, mixed = np.random.default_rng(0), [replace(each, statement=hopeless) if each.kind == "hard" else each
                                            for each in drawn(400, 1)]  # fmt: skip
    agent = begun(
        build("tabular.fitted_q", {"discount": 1.0, "penalty": 1e-6, "exploration": GREEDILY}), given, task(), rng
    )
    agent, _ = practised(agent, given, mixed, rng)
    assert play(agent.policy(), given, replace(task(), statement=hopeless), rng).moved == ("stop",)
    assert play(agent.policy(), given, task(), rng).moved[0] == "small/repair/1"


@pytest.mark.parametrize(
    "name",
    [
        "tabular.q_learning", "tabular.sarsa_lambda", "tabular.fitted_q", "bandit.ucb1", "bandit.lin_ucb",
        "bandit.linear_thompson", "bandit.online_regression", "bandit.off_policy", "deep.actor_critic",
    ],
)  # fmt: skip
def test_learners_of_the_catalogue_take_episodes_and_give_policies(name: str) -> None:
    if name.startswith("deep."):
        pytest.importorskip("jax", reason="no JAX: install bondhu[deep]")
    given, rng = setup(worth=ESCALATES, longest=4), np.random.default_rng(0)
    agent, done = practised(begun(build(name, {}), given, task(), rng), given, drawn(24, 2), rng, every=12)
    observation = given.observed(Situation(task(), FOUND), coded=agent.coded)
    chances = agent.policy(explore=True).distribution(observation[None], given.allowed(Situation(task(), FOUND))[None])
    assert chances.sum() == pytest.approx(1.0)
    assert [each.moved[-1] for each in done] == ["stop"] * 24
    assert agent.looks_ahead == (not name.startswith("bandit."))
