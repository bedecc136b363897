"""The agent and the orchestrator under their published names: arithmetic by hand, files that break, one loop behind."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bondhu import settings
from bondhu.app import open_app
from bondhu.domains.recommendation import (
    QLearningAgent,
    RecommendationAction,
    RecommendationState,
    RLTrainingOrchestrator,
    get_rl_orchestrator,
)
from bondhu.errors import InvalidInput, StateCorrupt, StateTooNew
from bondhu.serve.decide import Request
from tests.service.stand import HOUR, Clock

PROFILE = {"openness": 75, "conscientiousness": 60, "extraversion": 40, "agreeableness": 80, "neuroticism": 30}
EVENING = RecommendationState(**PROFILE, mood="relaxed", time_of_day="evening")
MORNING = RecommendationState(**PROFILE, mood="energetic", time_of_day="morning")
CALM = RecommendationAction("low", "diverse", "exploratory")
LOUD = RecommendationAction("high", "diverse", "exploratory")
BINS = 2  # of most agents here: small tables are quick


@pytest.fixture
def agent() -> QLearningAgent:
    """Three updates: two of EVENING and CALM, one of MORNING and LOUD."""
    agent = QLearningAgent(bins=BINS, seed=0)
    agent.update(EVENING, CALM, 1.0)
    agent.update(EVENING, CALM, 0.5)
    agent.update(MORNING, LOUD, 1.3, next_state=EVENING)
    return agent


# ------------------------------------------------------------------------------------------------------ act and learn


def test_the_published_defaults() -> None:
    learner = QLearningAgent().learner
    assert (learner.learning_rate, learner.discount) == (0.1, 0.95)
    rule = learner.exploration
    assert (rule.epsilon, rule.decay, rule.minimum) == (0.3, 0.995, 0.05)
    assert QLearningAgent().epsilon == 0.3
    assert QLearningAgent().state.values.shape == (300_000, 27)


def test_constructor_arguments_stand_in_the_published_order() -> None:
    learner = QLearningAgent(0.2, 0.9, 0.4, 0.99, 0.1, bins=BINS).learner
    assert (learner.learning_rate, learner.discount) == (0.2, 0.9)
    rule = learner.exploration
    assert (rule.epsilon, rule.decay, rule.minimum) == (0.4, 0.99, 0.1)


def test_updates_are_the_published_arithmetic() -> None:
    agent = QLearningAgent(bins=BINS)
    assert agent.update(EVENING, CALM, 1.0) == pytest.approx(1.0)
    assert agent.q_table == {EVENING.to_tuple(BINS): {CALM.to_tuple(): pytest.approx(0.1)}}
    assert agent.update(EVENING, CALM, 0.5) == pytest.approx(0.4)
    assert agent.q_table[EVENING.to_tuple(BINS)][CALM.to_tuple()] == pytest.approx(0.1 + 0.1 * 0.4)
    # Q(morning, loud) = 0.1 · (1.3 + 0.95 · max Q(evening, ·)) with max Q(evening, ·) = 0.14
    assert agent.update(MORNING, LOUD, 1.3, next_state=EVENING) == pytest.approx(1.433)
    assert agent.q_table[MORNING.to_tuple(BINS)][LOUD.to_tuple()] == pytest.approx(0.1433)
    assert agent.visit_counts == {
        EVENING.to_tuple(BINS): {CALM.to_tuple(): 2},
        MORNING.to_tuple(BINS): {LOUD.to_tuple(): 1},
    }


def test_a_negative_reward_leaves_the_best_at_what_was_never_tried() -> None:
    agent = QLearningAgent(bins=BINS)
    agent.update(EVENING, CALM, -1.0)
    assert agent.update(MORNING, LOUD, 0.0, next_state=EVENING) == 0.0


def test_exploration_decays_with_each_ended_session_down_to_its_floor() -> None:
    agent = QLearningAgent(exploration_decay=0.5, bins=BINS)
    agent.update(EVENING, CALM, 1.0, next_state=MORNING)
    assert agent.epsilon == 0.3
    rates = [agent.update(EVENING, CALM, 1.0) and agent.epsilon for _ in range(4)]
    assert rates == pytest.approx([0.15, 0.075, 0.05, 0.05])


def test_without_exploration_the_best_action_is_always_taken(agent: QLearningAgent) -> None:
    assert {agent.get_action(EVENING, explore=False) for _ in range(200)} == {CALM}
    assert {agent.get_action(MORNING, explore=False) for _ in range(200)} == {LOUD}


def test_with_exploration_another_action_comes_with_probability_epsilon(agent: QLearningAgent) -> None:
    count = 3000
    others = sum(agent.get_action(EVENING) != CALM for _ in range(count))
    expected = agent.epsilon * 26 / 27
    assert abs(others / count - expected) < 4 * math.sqrt(expected * (1 - expected) / count)


def test_an_unknown_state_gets_any_action() -> None:
    agent = QLearningAgent(bins=BINS, seed=1)
    assert len({agent.get_action(EVENING, explore=False) for _ in range(300)}) == 27


def test_the_same_seed_takes_the_same_actions() -> None:
    first, again = (QLearningAgent(bins=BINS, seed=7) for _ in range(2))
    assert [first.get_action(EVENING) for _ in range(20)] == [again.get_action(EVENING) for _ in range(20)]


def test_statistics_are_those_of_the_tried_cells(agent: QLearningAgent) -> None:
    stats = agent.get_stats()
    assert (stats["total_states"], stats["total_state_actions"], stats["total_updates"]) == (2, 2, 3)
    assert stats["avg_q_value"] == pytest.approx((0.14 + 0.1433) / 2)
    assert (stats["max_q_value"], stats["min_q_value"]) == (pytest.approx(0.1433), pytest.approx(0.14))
    assert stats["exploration_rate"] == pytest.approx(0.3 * 0.995**2)
    assert QLearningAgent(bins=BINS).get_stats()["avg_q_value"] == 0.0


def test_more_bins_than_a_readable_table_can_have_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"bins got 7.*at most 6"):
        QLearningAgent(bins=7)


# --------------------------------------------------------------------------------------------------- save and load


def test_a_table_comes_back_as_it_was_saved(agent: QLearningAgent, tmp_path: Path) -> None:
    path = agent.save(tmp_path / "models" / "q_table.json")
    again = QLearningAgent(bins=BINS)
    again.load(path)
    assert again.q_table == agent.q_table
    assert again.visit_counts == agent.visit_counts
    assert again.get_stats() == agent.get_stats()
    assert list(path.parent.iterdir()) == [path]


def test_learning_goes_on_after_loading_exactly_as_without(agent: QLearningAgent, tmp_path: Path) -> None:
    again = QLearningAgent(bins=BINS)
    again.load(agent.save(tmp_path / "q_table.json"))
    for each in (agent, again):
        each.update(MORNING, CALM, 0.0, next_state=EVENING)
    assert again.q_table == agent.q_table
    assert again.q_table[MORNING.to_tuple(BINS)][CALM.to_tuple()] == pytest.approx(0.1 * 0.95 * 0.14)
    assert (again.state.cells, again.state.states) == (agent.state.cells, agent.state.states) == (3, 2)


def test_the_file_is_readable(agent: QLearningAgent, tmp_path: Path) -> None:
    body = json.loads(agent.save(tmp_path / "q_table.json").read_text())
    key = "|".join(map(str, EVENING.to_tuple(BINS)))
    assert body["q_table"][key] == {"low|diverse|exploratory": [pytest.approx(0.14), 2]}
    assert (body["format"], body["bins"]) == (1, BINS)


def test_of_other_bins_is_refused_with_the_way_to_read_it(agent: QLearningAgent, tmp_path: Path) -> None:
    other = QLearningAgent(bins=3)
    with pytest.raises(InvalidInput, match=r"bins=2, this agent has bins=3.*QLearningAgent\(bins=2\)"):
        other.load(agent.save(tmp_path / "q_table.json"))
    assert other.q_table == {}


def changed(**parts: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **parts})


def entry(state: str, action: str, cell: Any) -> Callable[[str], str]:
    return changed(q_table={state: {action: cell}})


STATE, ACTION = "1|1|0|1|0|music|calm|evening", "low|diverse|exploratory"
DAMAGES: list[tuple[Callable[[str], str], type[StateCorrupt], str]] = [
    (lambda text: text[:-30], StateCorrupt, "is not whole"),
    (lambda text: "", StateCorrupt, "is not whole"),
    (lambda text: "[1, 2]", StateCorrupt, "is not a Q-table"),
    (lambda text: "{}", StateCorrupt, "is not a Q-table"),
    (changed(format="one"), StateCorrupt, "is not a Q-table"),
    (changed(q_table=[1]), StateCorrupt, "is not a Q-table"),
    (changed(format=2), StateTooNew, "has format 2, this release reads up to 1.*Upgrade"),
    (changed(format=2, q_table="elsewhere"), StateTooNew, "has format 2"),
    (changed(exploration_rate="often"), StateCorrupt, "no state or action"),
    (changed(q_table={"a": 1}), StateCorrupt, "no state or action"),
    (entry(STATE.replace("calm", "clam"), ACTION, [1, 1]), StateCorrupt, "'clam'"),
    (entry(STATE.replace("1|1|0", "1|1|9"), ACTION, [1, 1]), StateCorrupt, "no state or action"),
    (entry("1|1", ACTION, [1, 1]), StateCorrupt, "8 parts"),
    (entry(STATE, "low|diverse", [1, 1]), StateCorrupt, "no state or action"),
    (entry(STATE, ACTION, [math.nan, 1]), StateCorrupt, "not a number"),
    (entry(STATE, ACTION, [1, -1]), StateCorrupt, "below 0"),
    (entry(STATE, ACTION, 1), StateCorrupt, "no state or action"),
]


@pytest.mark.parametrize(("damage", "kind", "message"), DAMAGES)
def test_a_damaged_file_is_one_error_and_the_agent_stays_as_it_was(
    agent: QLearningAgent, tmp_path: Path, damage: Callable[[str], str], kind: type[StateCorrupt], message: str
) -> None:
    path = agent.save(tmp_path / "q_table.json")
    path.write_text(damage(path.read_text()))
    before, state = agent.q_table, agent.state
    with pytest.raises(kind, match=message) as caught:
        agent.load(path)
    assert caught.value.fix
    assert agent.state is state
    assert agent.q_table == before
    assert agent.get_action(EVENING, explore=False) == CALM


def test_bytes_a_folder_or_nothing_in_its_place_is_one_error(tmp_path: Path) -> None:
    agent, path = QLearningAgent(bins=BINS), tmp_path / "q_table.json"
    with pytest.raises(StateCorrupt, match=r"There is no .*`bondhu train`"):
        agent.load(path)
    path.write_bytes(b"\xff\x00")
    with pytest.raises(StateCorrupt, match="is not whole"):
        agent.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StateCorrupt, match="is not whole"):
        agent.load(path)


# -------------------------------------------------------------------------------------------------------- orchestrator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def orchestrator(tmp_path: Path, clock: Clock) -> RLTrainingOrchestrator:
    tables = {
        "domain": {"extends": "recommendation", "bins": BINS},
        "reward": {"wait": 60.0},
        "training": {"holdout": 0.0},
        "exploration": {"rate": 1.0},
    }
    return RLTrainingOrchestrator(open_app(settings.from_tables(tables, tmp_path), now=clock))


def test_parameters_are_exactly_those_of_the_logged_decision(orchestrator: RLTrainingOrchestrator) -> None:
    params = orchestrator.get_recommendation_params("user-123", PROFILE, "music", mood="relaxed", time_of_day="evening")
    assert dict(params) == params.action.to_recommendation_params()
    assert set(params) == {
        *("min_energy", "max_energy", "valence", "genre_count"),
        *("exploration_rate", "popularity_min", "popularity_max"),
    }
    assert dict(**params) == params
    found = orchestrator.app.deployment.log.find(params.decision_id)
    assert found is not None
    decision = found[0]
    assert (decision.user, decision.action, decision.version) == ("user-123", params.action.name, "baseline")
    assert decision.probability == pytest.approx(1 / 27)
    assert decision.context == {**PROFILE, "content_type": "music", "mood": "relaxed", "time_of_day": "evening"}


def test_a_wrong_profile_is_refused_and_not_logged(orchestrator: RLTrainingOrchestrator) -> None:
    with pytest.raises(InvalidInput, match=r"'mood' got 'relaxt'.*Did you mean 'relaxed'"):
        orchestrator.get_recommendation_params("user-123", PROFILE, mood="relaxt")
    with pytest.raises(InvalidInput, match=r"There is no signal 'liked'.*Did you mean 'like'"):
        orchestrator.record_feedback("x", "liked")
    assert len(orchestrator.app.deployment.log.read("recommendation", 0, 4e9).id) == 0


def test_feedback_training_and_evaluation_add_up(orchestrator: RLTrainingOrchestrator, clock: Clock) -> None:
    made = [orchestrator.get_recommendation_params("ann", PROFILE) for _ in range(10)]
    for params in made[:4]:
        assert orchestrator.record_feedback(params.decision_id, "like").status == "stored"
    orchestrator.record_feedback(made[4].decision_id, "dislike")
    orchestrator.record_feedback(made[5].decision_id, "completion_rate", 0.5)
    evaluation = asyncio.run(orchestrator.evaluate_model(test_days=3))
    assert evaluation == {
        "test_days": 3.0,
        "interactions": 10.0,
        "average_reward": pytest.approx((4 - 1 + 0.25) / 10),
        "like_rate": 0.4,
        "dislike_rate": 0.1,
    }
    clock.now += HOUR
    trained = orchestrator.train(days_back=7, min_interactions_per_user=5)
    assert trained["average_reward"] == pytest.approx(0.325)
    assert trained["users_trained"] == 1
    assert trained["agent_stats"]["total_states"] == 1
    task = orchestrator.app.tasks.recent("rl_training", 1)[0]
    assert (task.status, task.metadata["training"]["version"]) == ("completed", trained["version"])
    stats = orchestrator.agent.get_stats()
    assert stats["total_updates"] == 10
    assert stats["total_state_actions"] == trained["agent_stats"]["total_state_actions"]


def test_the_readable_table_beside_the_state_holds_the_same(orchestrator: RLTrainingOrchestrator, clock: Clock) -> None:
    made = [orchestrator.get_recommendation_params("ann", PROFILE) for _ in range(10)]
    orchestrator.record_feedback(made[0].decision_id, "share")
    clock.now += HOUR
    orchestrator.train()
    loaded = QLearningAgent(bins=BINS)
    loaded.load(orchestrator.app.settings.directory / "models" / "q_table.json")
    assert loaded.q_table == orchestrator.agent.q_table
    assert loaded.q_table[RecommendationState(**PROFILE).to_tuple(BINS)]


def test_users_with_too_few_interactions_train_nothing(orchestrator: RLTrainingOrchestrator, clock: Clock) -> None:
    for _ in range(4):
        orchestrator.get_recommendation_params("ann", PROFILE)
    clock.now += HOUR
    assert orchestrator.train()["version"] is None
    assert orchestrator.train(min_interactions_per_user=4)["users_trained"] == 1


def test_before_any_data_there_is_an_empty_agent_and_an_evaluation(orchestrator: RLTrainingOrchestrator) -> None:
    assert orchestrator.agent.q_table == {}
    evaluation = asyncio.run(orchestrator.evaluate_model())
    assert (evaluation["interactions"], evaluation["average_reward"], evaluation["like_rate"]) == (0, 0, 0)


def test_evaluation_looks_at_the_last_days_only(orchestrator: RLTrainingOrchestrator, clock: Clock) -> None:
    orchestrator.get_recommendation_params("ann", PROFILE)
    clock.now += 4 * 24 * HOUR
    orchestrator.get_recommendation_params("ann", PROFILE)
    assert asyncio.run(orchestrator.evaluate_model(test_days=3))["interactions"] == 1
    assert asyncio.run(orchestrator.evaluate_model(test_days=5))["interactions"] == 2


def test_one_orchestrator_for_each_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.setenv("BONDHU_DIRECTORY", str(tmp_path / "a"))
    first = get_rl_orchestrator()
    assert get_rl_orchestrator() is first
    assert first.app.settings.directory == tmp_path / "a"
    monkeypatch.setenv("BONDHU_DIRECTORY", str(tmp_path / "b"))
    assert get_rl_orchestrator() is not first
    monkeypatch.delenv("BONDHU_DIRECTORY")
    monkeypatch.chdir(tmp_path / "a")
    assert get_rl_orchestrator() is first


@pytest.mark.parametrize(
    ("more", "extra"),
    [
        ({"domain": {"extends": "recommendation", "bins": 7}}, {}),
        ({"context": {"weather": {"kind": "category", "values": ["sun", "rain"]}}}, {"weather": "sun"}),
        ({"context": {"openness": {"bins": 2}}}, {}),
        ({"learner": {"dense_limit": 10, "hashed_rows": 64}}, {}),
    ],
)
def test_a_variant_without_a_readable_table_still_trains(
    tmp_path: Path, clock: Clock, more: dict[str, Any], extra: dict[str, str]
) -> None:
    tables = {"domain": {"extends": "recommendation", "bins": 3}, "reward": {"wait": 60.0}, **more}
    app = open_app(settings.from_tables({**tables, "training": {"holdout": 0.0}}, tmp_path), now=clock)
    context = {**PROFILE, "content_type": "music", "mood": "calm", "time_of_day": "evening", **extra}
    app.decider().decide_many([Request(context, user="ann")] * 6)
    clock.now += HOUR
    run = app.train()
    assert run.trained.report.rows == 6
    assert run.trained.version is not None
    assert not app.table.exists()
    assert app.model_problem() is None
    assert not QLearningAgent.reads(run.trained.version)
    with pytest.raises(InvalidInput, match="no readable table"):
        QLearningAgent.of_version(run.trained.version)
