"""A learner that does not fit is refused when the service opens, not when it should have learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bondhu.errors import SettingsInvalid
from bondhu.ruling import gate_rules
from tests.service.stand import opened
from tests.service.test_candidates import NEWS, Clock
from tests.service.test_candidates import app as news


@pytest.mark.parametrize(
    ("learner", "field", "says"),
    [
        ({"name": "bandit.fourier_rigde"}, "learner.name", "Did you mean 'bandit.fourier_ridge'"),
        ({"name": "bandit.fourier_ridge", "discount": 0.9}, "learner.discount", "has no 'discount'"),
        ({"name": "bandit.lin_ucb", "forgetting": 7.0}, "learner.forgetting", "from 0.5 to 1"),
        ({"name": "bandit.lin_ucb", "exploration": {"name": "tompson"}}, "learner.exploration.exploration", "Did you"),
        ({"name": "bandit.lin_ucb", "exploration": {"epsilon": 0.1}}, "learner.exploration", "Write a table"),
        ({"name": "adaptive.windowed", "inner": {"name": "bandit.ucb1", "rate": 1.0}}, "learner.inner.rate", "has no"),
        ({"name": "bandit.slates"}, "learner.name", "bandit.slates cannot decide in this domain"),
        ({"name": "bandit.cats"}, "learner.name", "programs of their own"),
        ({"name": "bandit.pooled"}, "context", "a field that says who it is"),
    ],
)  # fmt: skip
def test_a_learner_that_does_not_fit_is_refused_at_once(
    tmp_path: Path, learner: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(SettingsInvalid, match=says) as raised:
        opened(tmp_path, learner=learner)
    assert raised.value.field == field


def test_candidates_need_a_learner_that_sees_features(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="known by theirs alone"):
        news(tmp_path, Clock(), learner={"name": "tabular.q_learning"})
    assert news(tmp_path, Clock(), learner={"name": "bandit.online_regression"}).domain.name == NEWS["domain"]["name"]


def test_people_are_pooled_by_the_field_that_says_who_it_is(tmp_path: Path) -> None:
    app = opened(tmp_path, context={"who": {"kind": "person", "buckets": 100}}, learner={"name": "bandit.pooled"})
    assert app.plan().hyperparameters["person"] == 2  # after mood and age
    told = opened(tmp_path, context={"who": {"kind": "person", "buckets": 100}},
                  learner={"name": "bandit.pooled", "person": -1})  # fmt: skip
    assert told.plan().hyperparameters["person"] == -1


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"confidence": 95}, "from 0.5 to 0.9999"),
        ({"confidence": 0.0}, "from 0.5"),
        ({"maximum_group_loss": -1.0}, "of at least 0"),
        ({"minimum_effective_samples": -5}, "of at least 0"),
        ({"groups": "mood"}, r'such as \["mood"\]'),
        ({"groups": ["taste"]}, "It must be one of 'mood'"),
    ],
)
def test_rules_of_the_gate_have_limits(table: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsInvalid, match=says):
        gate_rules(table, ["mood"])


def test_a_nested_setting_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BONDHU_LEARNER__EXPLORATION__CONFIDENCE", "1.5")
    app = opened(tmp_path, learner={"name": "bandit.ucb1", "exploration": {"name": "ucb"}})
    assert app.plan().hyperparameters["exploration"] == {"name": "ucb", "confidence": 1.5}
