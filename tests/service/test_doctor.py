"""The doctor on real stores: each published trouble is recognised with its figures and its fix; health is silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bondhu import settings
from bondhu.app import App, open_app
from bondhu.domains.recommendation import TRAITS
from bondhu.monitor.doctor import Finding, examine
from bondhu.ports import Task
from bondhu.serve.decide import Decider, Request, Said
from tests.service.stand import HOUR, NOW, Clock, log, opened

PEOPLE = [f"person-{number}" for number in range(100)]
BUILT_IN: dict[str, Any] = {"domain": {"extends": "recommendation"}, "exploration": {"rate": 0.05}}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def weeks(app: App, clock: Clock, worths: list[Mapping[str, float]], each: int = 6) -> None:
    """A training after each of the weeks, in which blue was worth what is said."""
    for number, worth in enumerate(worths):
        clock.now = NOW + number * 7 * 24 * HOUR
        log(app, PEOPLE, each, worth=worth)
        app.train()


def found(app: App) -> dict[str, Finding]:
    return {finding.case: finding for finding in examine(app.facts())}


def test_a_deployment_in_good_health_has_no_findings(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock)
    weeks(app, clock, [{"blue": 0.3}, {"blue": 0.6}, {"blue": 0.9}])
    app.promote(reason="test")
    assert app.facts().decisions == 1800
    assert examine(app.facts()) == []


def test_rewards_that_do_not_rise_are_no_improvement(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock)
    weeks(app, clock, [{"blue": 0.9}, {"blue": 0.6}, {"blue": 0.3}])
    cases = found(app)
    assert list(cases) == ["no training improvement"]
    finding = cases["no training improvement"]
    assert "0.300, 0.200, 0.100" in finding.evidence
    assert any("600 feedback for 1800 decisions" in fix for fix in finding.fixes)
    assert any("learning_rate = 0.2" in fix for fix in finding.fixes)


def test_rewards_that_are_good_and_steady_need_no_improvement(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock)
    weeks(app, clock, [{"blue": 0.9, "red": 0.9}] * 3)
    facts = app.facts()
    rewards = [task.metadata["training"]["average_reward"] for task in facts.trainings]
    assert max(rewards) - min(rewards) < 0.01
    assert "no training improvement" in {each.case for each in examine(replace(facts, good_reward=max(rewards) + 0.1))}
    assert "no training improvement" not in {each.case for each in examine(replace(facts, good_reward=min(rewards)))}


def test_two_trainings_and_skipped_ones_make_no_trend(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock)
    weeks(app, clock, [{"blue": 0.9}, {"blue": 0.6}], each=9)
    clock.now += HOUR
    assert app.train().trained.version is None
    assert found(app) == {}


def test_values_beyond_what_can_be_earned_are_diverging(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock, learner={"discount": 0.5})
    weeks(app, clock, [{"blue": 0.3}, {"blue": 0.6}, {"blue": 0.9}])
    assert found(app) == {}
    app.tasks.record(task(3.5))  # one decision earns at most 1.5, so nothing is worth more than 1.5 / (1 - 0.5) = 3
    finding = found(app)["Q-values diverging"]
    assert "3.5" in finding.evidence
    assert "more than 3." in finding.evidence
    assert any("learning_rate = 0.05" in fix for fix in finding.fixes)
    assert any("discount = 0.9" in fix for fix in finding.fixes)
    assert any("--from-scratch" in fix for fix in finding.fixes)


def task(largest: float, when: float = 4e9) -> Task:
    training = {"average_reward": 0.9, "agent_stats": {"max_q_value": largest}}
    return Task("rl_training", when, "completed", 1, 1, 0.0, {"training": training})


def test_values_that_double_from_run_to_run_are_diverging(tmp_path: Path) -> None:
    app = opened(tmp_path)
    for number, size in enumerate((0.1, 0.25, 0.6)):
        app.tasks.record(task(size, NOW + number))
    assert "0.1, 0.25, 0.6" in found(app)["Q-values diverging"].evidence


def test_fast_steps_and_a_far_horizon_alone_raise_no_alarm(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock, learner={"discount": 0.99, "learning_rate": 1.0, "passes": 40})
    weeks(app, clock, [{"blue": 1.0}, {"blue": 1.0}, {"blue": 1.0}])
    assert "Q-values diverging" not in found(app)


def test_one_decision_is_told_as_one(tmp_path: Path) -> None:
    app = opened(tmp_path)
    log(app, PEOPLE[:1], 1)
    assert found(app)["insufficient data"].evidence == "There is 1 decision in the log."


def test_few_decisions_are_too_little_data(tmp_path: Path) -> None:
    app = opened(tmp_path)
    log(app, PEOPLE[:10], 6)
    app.train()
    finding = found(app)["insufficient data"]
    assert "There are 60 decisions in the log; 3 state-action pairs were tried, 20.0 times each." in finding.evidence
    for fix in ("min_interactions_per_user = 3", "days_back = 14", "bins = 3", "bondhu demo"):
        assert any(fix in each for each in finding.fixes)


def test_many_decisions_on_too_many_states_are_too_little_data(tmp_path: Path) -> None:
    app = opened(tmp_path, context={"age": {"bins": 100}})
    log(app, [f"user-{n}" for n in range(400)], 3, context=[{"mood": "sad", "age": n + 0.5} for n in range(100)])
    assert app.train().trained.report.rows == 1200
    assert found(app) == {}  # 300 cells, 4 times each
    thin = opened(tmp_path / "thin", context={"age": {"bins": 170, "range": [0, 170]}})
    log(thin, [f"user-{n}" for n in range(334)], 3, context=[{"mood": "sad", "age": n + 0.5} for n in range(170)])
    thin.train()
    assert "510 state-action pairs were tried, 2.0 times each" in found(thin)["insufficient data"].evidence


def test_a_rate_of_zero_is_no_exploration(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock, exploration={"rate": 0.0})
    weeks(app, clock, [{"blue": 0.3}, {"blue": 0.6}, {"blue": 0.9}])
    cases = found(app)
    assert list(cases) == ["no exploration"]
    assert cases["no exploration"].fixes == (
        "Set [exploration] rate = 0.05 in bondhu.toml so that candidates can be evaluated.",
    )


# --------------------------------------------------------------------------------------------------- model not loading


def test_a_damaged_live_version_is_a_model_that_does_not_load(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock)
    weeks(app, clock, [{"blue": 0.3}, {"blue": 0.6}, {"blue": 0.9}])
    app.promote(reason="test")
    live = app.live()
    assert live is not None
    for file in (tmp_path / "data" / "versions" / "shop" / live).iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    finding = found(app)["model not loading"]
    assert live in finding.evidence
    assert any("bondhu rollback" in fix for fix in finding.fixes)


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory) -> App:
    """A trained deployment of the built-in domain."""
    clock = Clock()
    tables = {**BUILT_IN, "training": {"holdout": 0.0}, "reward": {"wait": 60.0}}
    app = open_app(settings.from_tables(tables, tmp_path_factory.mktemp("built-in")), now=clock)
    decider = Decider(app.deployment, app.acting, exploration=1.0, now=clock)
    context = dict.fromkeys(TRAITS, 50) | {"content_type": "music", "mood": "calm", "time_of_day": "evening"}
    made = decider.decide_many([Request(context, user="ann") for _ in range(1000)])
    decider.hear([Said(each.id, "like") for each in made])
    clock.now += HOUR
    app.train()
    return app


def test_a_readable_table_that_is_whole_is_no_problem(built_in: App) -> None:
    assert found(built_in) == {}


@pytest.mark.parametrize(
    ("damage", "evidence"),
    [
        (None, "There is no"),
        (lambda text: text[: len(text) // 2], "is not whole"),
        (lambda text: "[]", "is not a Q-table"),
        (lambda text: text.replace("calm", "clam"), "no state or action"),
        (lambda text: text.replace('"format": 1', '"format": 99'), "format 99"),
    ],
)
def test_a_readable_table_that_is_missing_or_damaged_is_recognised_and_mended_by_the_fix(
    built_in: App, damage: Callable[[str], str] | None, evidence: str
) -> None:
    whole = built_in.table.read_text()
    built_in.table.unlink()
    if damage:
        built_in.table.write_text(damage(whole))
    finding = found(built_in)["model not loading"]
    assert evidence in finding.evidence
    assert finding.fixes[0] == "Remove the damaged q_table.json and train again: `bondhu train`."
    built_in.table.unlink(missing_ok=True)
    assert built_in.train().trained.version is None  # nothing new to learn, and yet:
    assert built_in.table.read_text() == whole
    assert "model not loading" not in found(built_in)
