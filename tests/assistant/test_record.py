"""The record of an interaction, and the totals it stands in, by hand."""

import json
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.domains.assistant.record import VersionFacts, confidence_in, facts_of, record, said
from bondhu.domains.assistant.totals import Totals, folded
from bondhu.equations.intervals import student
from bondhu.ports import Version
from bondhu.types import Belief, Decision, Feedback

ACTIONS = ("plain", "steps", "example")
DECISION = Decision(
    "d1", "assistant", "s1", "ann", 100.0, {}, ACTIONS, "steps", 0.9, (), "v1.2", "live"
)  # fmt: skip
LIKED = [Feedback("f1", "d1", "accept", 1.0, 101.0)]
BELIEF = Belief(np.array([[0.5, 0.8, 0.2]]), np.array([[0.3, 0.4, 0.1]]), np.ones((1, 3)))
FACTS = VersionFacts(
    "v1.2", ACTIONS, "epsilon_greedy", 0.1, "adaptive", True, True, {"gradient_norm": 0.02, "loss": 0.15}
)


def version(hyperparameters, notes, state=None):
    return Version("v7", "assistant", "bandit.x", hyperparameters, state or {}, {}, 0.0, notes=notes)


def test_the_record_has_the_seven_groups():
    made = record(DECISION, LIKED, 0.85, BELIEF, folded([0.85]), FACTS)
    confidence = made.learning_feedback.confidence
    assert made.as_dict() == {
        "policy_info": {"method": "epsilon_greedy", "epsilon": 0.1},
        "exploration_data": {"exploration_rate": 0.1, "strategy": "adaptive"},
        "value_estimation": pytest.approx(0.9 * 0.8 + 0.1 * 0.5),
        "reward_signal": 0.85,
        "rl_metrics": {"episode": 1, "total_reward": 0.85, "avg_reward": 0.85, "success_rate": 1.0},
        "rl_state": {"initialized": True, "learning_enabled": True, "model_version": "v1.2"},
        "learning_feedback": {"gradient_norm": 0.02, "loss": 0.15, "confidence": confidence},
    }
    assert confidence == pytest.approx(0.7257468822)  # Φ(0.3 / 0.5), the closest rival
    assert (made.decision_id, made.time, made.action, made.signals) == ("d1", 100.0, "steps", {"accept": 1.0})
    assert json.loads(json.dumps(made.as_dict())) == made.as_dict()


def test_numbers_for_a_tracker_leave_out_what_is_not_known():
    made = record(DECISION, LIKED, 1.0, None, folded([1.0, 0.0]), VersionFacts("baseline", ACTIONS))
    assert made.figures() == {
        "policy_info.epsilon": 0.0,
        "exploration_data.exploration_rate": 0.0,
        "reward_signal": 1.0,
        "rl_metrics.episode": 2.0,
        "rl_metrics.total_reward": 1.0,
        "rl_metrics.avg_reward": 0.5,
        "rl_metrics.success_rate": 0.5,
        "rl_state.initialized": 0.0,
        "rl_state.learning_enabled": 1.0,
        "learning_feedback.confidence": 0.9,
        "rl_metrics.trend": 0.0,
        "rl_metrics.avg_low": pytest.approx(0.5 - 6.3531023681),
        "rl_metrics.avg_high": pytest.approx(0.5 + 6.3531023681),
    }
    assert made.value_estimation is None
    assert made.policy_info.method == "baseline"


def test_only_what_was_allowed_counts():
    decision = DECISION._replace(allowed=("example", "steps", "gone"))
    made = record(decision, [], 0.0, BELIEF, folded([0.0]), FACTS)
    assert made.value_estimation == pytest.approx(0.9 * 0.8 + 0.1 * 0.5)
    alone = record(DECISION._replace(allowed=("steps",)), [], 0.0, BELIEF, folded([0.0]), FACTS)
    assert (alone.value_estimation, alone.learning_feedback.confidence) == (pytest.approx(0.8), 1.0)


@pytest.mark.parametrize(("values", "expected"), [((1.0, 1.0), 0.5), ((1.0, 0.0), 1.0), ((0.0, 1.0), 0.0)])
def test_without_any_doubt_the_better_one_is_better(values, expected):
    assert confidence_in(Belief(np.array([values]), np.zeros((1, 2)), np.ones((1, 2))), 0, [0, 1]) == expected


def test_of_revisions_the_last_one_counts():
    feedback = [
        Feedback("f1", "d1", "kept", 0.2, 1.0),
        Feedback("f2", "d1", "kept", 0.7, 2.0, replaces="f1"),
        Feedback("f3", "d1", "copy", 1.0, 2.0),
        Feedback("f4", "d1", "copy", 1.0, 3.0),
        Feedback("f5", "d1", "reject", 1.0, 3.0),
        Feedback("f6", "d1", "reject", None, 4.0, replaces="f5"),
    ]
    assert said(feedback) == {"kept": 0.7, "copy": 2.0}


@pytest.mark.parametrize(
    ("hyperparameters", "notes", "state", "expected"),
    [
        ({}, {}, {}, ("epsilon_greedy", 0.05, "fixed", False)),
        ({"exploration": {"name": "square_cb"}}, {"interactions": 9}, {}, ("epsilon_greedy", 0.05, "fixed", True)),
        (
            {"exploration": {"name": "square_cb", "gamma": 30.0}}, {"explore": True, "interactions": 9}, {},
            ("square_cb", 0.05, "adaptive", True),
        ),
        (
            {"exploration": {"name": "epsilon_greedy", "epsilon": 0.2}}, {"explore": True}, {},
            ("epsilon_greedy", 0.24, "fixed", False),
        ),
        (
            {"exploration": {"name": "epsilon_greedy", "epsilon": 0.4, "decay": 0.5}}, {"explore": True},
            {"rounds": np.array(1)}, ("epsilon_greedy", 0.24, "decaying", False),
        ),
    ],
)  # fmt: skip
def test_what_a_version_says_of_itself(hyperparameters, notes, state, expected):
    facts = facts_of(version(hyperparameters, notes, state), ACTIONS, 0.05)
    assert (facts.method, facts.strategy, facts.initialized) == (expected[0], *expected[2:])
    assert facts.epsilon == pytest.approx(expected[1])
    assert facts.version == "v7"


def test_the_loss_is_the_first_that_the_learner_reports():
    facts = FACTS._replace(metrics={"td_error": 0.3, "squared_error": 0.2, "loss": "none"})
    made = record(DECISION, [], 0.0, BELIEF, folded([0.0]), facts)
    assert (made.learning_feedback.loss, made.learning_feedback.gradient_norm) == (0.2, None)


# --------------------------------------------------------------------------------------------------------------- totals


def test_totals_by_hand():
    totals = folded([1.0, 0.5, -0.5, 0.0])
    assert (totals.episodes, totals.total, totals.average, totals.success_rate) == (4, 1.0, 0.25, 0.5)
    assert totals.interval() == pytest.approx(student(np.array([1.0, 0.5, -0.5, 0.0]), 0.95))


def test_before_the_first_nothing_is_known():
    assert (Totals().average, Totals().success_rate, Totals().interval()) == (0.0, 0.0, (-inf, inf))
    assert Totals().trend() == (0.0, -inf, inf)
    assert Totals().trend().direction == "level"


def test_the_trend_is_the_last_against_all_before():
    totals = folded([0.0, 1.0, 0.0, 1.0, 3.0, 4.0, 5.0], Totals(last=3))
    trend = totals.trend()
    assert trend.change == pytest.approx(4.0 - 0.5)
    # Welch by hand: squared errors 1/3 and 1/12, so 0.4166667² / ((1/3)²/2 + (1/12)²/3) = 3.0 degrees, t = 3.182446
    assert trend.high - trend.change == pytest.approx(3.1824463053 * (5 / 12) ** 0.5)
    assert trend.direction == "upward"
    assert folded([1.0, 0.9, 1.1, 0.0, 0.1], Totals(last=2)).trend().direction == "downward"
    assert folded([1.0, 0.0, 1.0, 0.0, 1.0], Totals(last=2)).trend().direction == "level"
    assert folded([0.0, 1.0], Totals(last=1)).trend() == (1.0, -inf, inf)
    assert folded([0.0, 0.0, 1.0, 1.0], Totals(last=2)).trend() == (1.0, 1.0, 1.0)


rewards = st.lists(st.floats(-10, 10), max_size=40)


@given(rewards, rewards)
def test_folding_goes_on_where_it_stopped(first, second):
    whole = folded(first + second, Totals(last=7))
    assert folded(second, folded(first, Totals(last=7))) == whole
    assert whole.episodes == len(first) + len(second)
    assert whole.total == pytest.approx(sum(first + second), abs=1e-9)
    assert list(whole.recent) == (first + second)[-7:]
    assert whole.before.size + len(whole.recent) == whole.episodes


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=40))
def test_the_interval_is_students(values):
    assert folded(values).interval() == pytest.approx(student(np.array(values), 0.95), abs=1e-6)
