"""What an agent learns from demonstrations: it names the right edit first; lessons from easy to hard; DAgger."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bondhu.agents import demonstrations
from bondhu.agents.demonstrations import SUSPECTING, Demonstration
from bondhu.agents.learning import (
    FLAT,
    LESSONS,
    STAGED,
    Agent,
    corrected,
    explored,
    lessons,
    practised,
    taught,
    tried,
)
from bondhu.agents.ranking import Unlearned
from bondhu.agents.search import context_of, repair
from bondhu.domains.coding.features import NAMES
from bondhu.errors import InvalidInput
from tests.agents.repairs import STEP, becoming, context, edit, judge, one, several, task, two, wanting


@pytest.fixture(scope="module")
def shown() -> list[Demonstration]:
    made = [demonstrations.demonstration(each, judge(), human=True) for each in several()]
    return [each for each in made if each is not None]


@pytest.fixture(scope="module")
def agent(shown: list[Demonstration]) -> Agent:
    return taught(shown, np.random.default_rng(0))


def places(agent: Agent, shown: list[Demonstration]) -> list[int]:
    """At which place the agent tries the right edit of each."""
    found = []
    for each in shown:
        judgement = judge().judge(each.task, each.task.source, trace=True)
        wanted = agent.ranker()(context_of(each.task, each.task.source, judgement))
        found.append(int((wanted > wanted[each.right]).sum()))
    return found


def test_lessons_go_from_few_edits_to_many_each_with_all_before(shown: list[Demonstration]) -> None:
    sized = [replace(shown[0], table=np.zeros((size, 2))) for size in (5, 1, 4, 2, 3, 7, 6)]
    found = lessons(sized)
    assert [[len(each.table) for each in lesson] for lesson in found] == [
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5, 6, 7],
    ]
    assert [len(lesson) for lesson in lessons(sized[:1])] == [1] * LESSONS


def test_what_was_shown_is_tried_early(agent: Agent, shown: list[Demonstration]) -> None:
    assert len(shown) == 6
    assert tuple(agent.states) == FLAT
    middle = float(np.median([len(each.table) for each in shown]))
    assert np.median(places(agent, shown)) < middle / 10
    found = [repair(each.task, judge(), agent.ranker()) for each in shown]
    random = [repair(each.task, judge(), Unlearned(np.random.default_rng(0))) for each in shown]
    assert all(each.solved for each in found)
    assert sum(each.use.executions for each in found) < 0.75 * sum(each.use.executions for each in random)


def test_the_same_seed_learns_the_same(agent: Agent, shown: list[Demonstration]) -> None:
    again, other = (taught(shown, np.random.default_rng(seed)) for seed in (0, 1))
    seen = context([edit("a")] * 9, np.random.default_rng(0).normal(size=(9, shown[0].table.shape[1])))
    assert again.ranker()(seen).tolist() == agent.ranker()(seen).tolist()
    assert other.ranker()(seen).tolist() != agent.ranker()(seen).tolist()


def test_in_stages_three_policies_are_learned(shown: list[Demonstration]) -> None:
    made = taught(shown, np.random.default_rng(0), stages=True)
    assert tuple(made.states) == STAGED
    assert np.median(places(made, shown)) < np.median([len(each.table) for each in shown]) / 5


def test_without_localisation_nothing_is_learned_of_suspicion(shown: list[Demonstration]) -> None:
    made = taught(shown, np.random.default_rng(0), localised=False)
    assert not made.localised
    table = np.random.default_rng(0).normal(size=(9, shown[0].table.shape[1])).astype(np.float32)
    hidden = table.copy()
    hidden[:, SUSPECTING] = 0.0
    one_said, other = (made.ranker()(context([edit("a")] * 9, each)) for each in (table, hidden))
    # Weights of columns that were always 0 have only decayed from where they began.
    assert np.abs(one_said - other).max() < np.abs(one_said - one_said.mean()).max()


def test_practice_adds_a_model_of_outcomes(agent: Agent) -> None:
    made = practised(agent, several(), judge(), np.random.default_rng(0))
    assert made.outcomes is not None
    assert agent.outcomes is None
    assert made.states is agent.states
    found = [repair(each, judge(), made.ranker()) for each in several()]
    assert all(each.solved for each in found)


def test_a_single_search_is_enough_to_learn_outcomes_from() -> None:
    made = explored([one()], Unlearned(np.random.default_rng(0)), judge(), np.random.default_rng(0))
    assert made.probabilities(np.zeros((2, len(NAMES)), np.float32)).shape == (2, 5)


def test_nothing_to_learn_from_is_refused_with_a_message() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidInput, match="No bug was found that one edit mends"):
        taught([], rng)
    right = task("def f(x):\n    return x\n", "assert f(1) == 1\n")
    for tasks in ([], [right]):
        with pytest.raises(InvalidInput, match="No search ran an edit"):
            explored(tasks, Unlearned(rng), judge(), rng)


def test_a_bandit_that_was_shown_nothing_learns_from_its_executions() -> None:
    ranker = tried([*several(), *several()], judge(), np.random.default_rng(0))
    found = [repair(each, judge(), ranker).use.executions for each in several()]
    random = [repair(each, judge(), Unlearned(np.random.default_rng(0))).use.executions for each in several()]
    assert sum(found) < 0.75 * sum(random)
    again = tried([*several(), *several()], judge(), np.random.default_rng(0))
    assert [repair(each, judge(), again).use.executions for each in several()] == found


def test_where_its_search_led_it_the_agent_is_shown_what_would_have_been_right() -> None:
    class Fixed:
        """An agent that mends one half first."""

        localised = True

        def ranker(self) -> object:
            return wanting(becoming("3", "4"))

    shown = demonstrations.demonstration(one(), judge())
    assert shown is not None
    found = corrected(Fixed(), [two()], judge(), [shown])  # type: ignore[arg-type]  # what it asks an agent for
    assert found[0] is shown
    halves = {each.task.source for each in found[1:]}
    assert STEP.replace("x + 2", "x + 4") in halves
    right = next(each for each in found[1:] if each.task.source == STEP.replace("x + 2", "x + 4"))
    assert right.operator == "constant_changed"
