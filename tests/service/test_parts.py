"""What an advantage is made of: groups, parts of a vector reward, weights that are uncertain."""

from __future__ import annotations

from dataclasses import replace
from math import hypot
from pathlib import Path

import numpy as np
import pytest

from bondhu.equations.intervals import skewness_corrected, t_quantile
from bondhu.errors import InvalidInput, SettingsInvalid, UnknownName
from bondhu.evaluate.decisions.ips import InversePropensity
from bondhu.evaluate.gate import difference
from bondhu.evaluate.parts import Seen, by_group, of_objectives, weight_error, widened
from bondhu.evaluate.support import refusal
from bondhu.train.judge import groups_of
from bondhu.train.window import DAY, Window
from bondhu.types import Estimate, Names
from tests.contract.small_world import TARGET, Tabled, simulated
from tests.service.stand import HOUR, Clock, log, opened
from tests.service.test_train import FEW, PEOPLE

UNIFORM = Tabled(np.full((3, 3), 1 / 3))
BEST = Tabled(TARGET)


def estimated(mean: list[float], times: int = 50) -> Estimate:
    terms = np.tile(mean, times) + np.repeat(np.tile([0.1, -0.1], times // 2), len(mean))
    return Estimate(float(terms.mean()), *skewness_corrected(terms, 0.95), 100.0, terms)


def test_the_advantages_of_groups_average_to_the_whole_and_hold_together() -> None:
    advantage = estimated([0.4, -0.2])
    groups = by_group(advantage, {"age": Names.of(["young", "old"] * 50)}, 0.95)
    assert {name: each.value for name, each in groups.items()} == {
        "age = young": pytest.approx(0.4),
        "age = old": pytest.approx(-0.2),
    }
    young = groups["age = young"]
    assert (young.low, young.high) == skewness_corrected(advantage.terms[::2], 0.975)  # two groups: each at 97.5 %
    assert np.mean([each.value for each in groups.values()]) == pytest.approx(advantage.value)


def test_a_group_of_few_rows_is_left_out_and_a_refusal_has_no_groups() -> None:
    advantage = estimated([0.4, -0.2])
    assert by_group(advantage, {"who": Names.of(["all"] * 71 + ["few"] * 29)}, 0.95).keys() == {"who = all"}
    assert by_group(refusal("No overlap.", 0.0), {"who": Names.of(["a"])}, 0.95) == {}


def test_intervals_hold_for_the_groups_of_all_fields_together() -> None:
    rng, off = np.random.default_rng(0), 0
    fields = {str(field): Names.of([str(code) for code in rng.integers(0, 5, 500)]) for field in range(4)}
    for _ in range(300):
        terms = rng.standard_normal(500)
        advantage = Estimate(float(terms.mean()), *skewness_corrected(terms, 0.95), 500.0, terms)
        off += any(each.low > 0 or each.high < 0 for each in by_group(advantage, fields, 0.95).values())
    assert off / 300 < 0.08  # 5 % and the luck of 300 draws


def test_sessions_are_what_is_independent_within_a_group_too() -> None:
    advantage, session = estimated([0.1]), np.arange(50) // 2
    group = by_group(advantage, {"who": Names.of(["all"] * 50)}, 0.95, session)["who = all"]
    assert (group.low, group.high) == skewness_corrected(advantage.terms, 0.95, session)


def test_uncertain_weights_widen_the_interval_by_what_they_could_change() -> None:
    batch = simulated(np.random.default_rng(0), 4_000)
    likes, shares = (batch.reward > 0).astype(float), (batch.action == 2).astype(float)
    both = replace(batch, reward=likes + 0.5 * shares, objectives={"like": likes, "share": shares})
    pair = (Seen(BEST, both), Seen(UNIFORM, both))
    estimator = InversePropensity()
    gain = {}
    for name, part in both.objectives.items():
        ours, theirs = (estimator(policy, replace(both, reward=part)) for policy in (BEST, UNIFORM))
        gain[name] = ours.value - theirs.value
    error = weight_error(estimator, pair, {"like": 0.2, "share": 0.1})
    assert error == pytest.approx(hypot(0.2 * gain["like"], 0.1 * gain["share"]))
    advantage = difference(estimator(BEST, both), estimator(UNIFORM, both))
    wide = widened(advantage, error, 0.95, 4_000)
    half = advantage.high - advantage.value
    assert wide.high - wide.value == pytest.approx(hypot(half, t_quantile(0.975, 3_999) * error))
    assert widened(advantage, 0.0, 0.95, 4_000) is advantage


def test_a_policy_has_a_value_in_each_part_of_the_reward() -> None:
    batch = simulated(np.random.default_rng(1), 2_000)
    parts = {"reward": batch.reward, "third": (batch.action == 2).astype(float)}
    values = of_objectives(InversePropensity(), Seen(UNIFORM, replace(batch, objectives=parts)))
    assert values["third"].value == pytest.approx(1 / 3, abs=0.03)
    assert values["reward"].value == InversePropensity()(UNIFORM, batch).value


def test_numbers_are_grouped_by_their_bins_and_vectors_not_at_all() -> None:
    batch = simulated(np.random.default_rng(2), 100)
    ages, taste = np.array([10.0, 30.0, 35.0, 90.0]), np.zeros((4, 2))
    observation = np.array([[0, 0], [1, 0], [1, 0], [4, 0]])
    mood = np.array(["sad", "sad", "happy", "sad"], object)
    four = replace(
        batch.take(np.arange(4)), observation=observation, context={"age": ages, "taste": taste, "mood": mood}
    )
    assert list(groups_of(four, "age")) == ["10.0 to 10.0", "30.0 to 35.0", "30.0 to 35.0", "90.0 to 90.0"]
    assert list(groups_of(four, "mood")) == ["sad", "sad", "happy", "sad"]
    with pytest.raises(InvalidInput, match="is a vector"):
        groups_of(four, "taste")
    with pytest.raises(UnknownName, match="Did you mean 'mood'"):
        groups_of(four, "moood")


def test_a_gain_that_one_group_would_pay_for_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    happy, sad = {"mood": "happy", "age": 30}, {"mood": "sad", "age": 30}
    app = opened(tmp_path, clock, training={"holdout": 0.5}, gate={**FEW, "groups": ["mood"]})
    log(app, PEOPLE, 6, context=[happy, happy, happy, sad])
    version = app.train().trained.version
    assert version is not None
    clock.now += DAY  # now the sad, a quarter of the people, have come to like red
    log(app, PEOPLE, 6, context=happy)
    log(app, [f"{name} too" for name in PEOPLE[::3]], 6, context=sad, worth={"red": 1.0}, ago=4 * HOUR)
    judgement = app.evaluate(version.id, window=Window(clock.now - DAY / 2, clock.now))
    groups = judgement.parts.groups
    assert judgement.parts.advantage.low > 0  # better on the whole
    assert groups["mood = happy"].value == pytest.approx(2 / 3, abs=0.01)
    assert groups["mood = sad"].value == pytest.approx(-1 / 3, abs=0.01)
    assert judgement.verdict.decision == "refuse"
    assert any("where mood = sad is -0.33" in reason for reason in judgement.verdict.reasons)
    assert judgement.verdict.figures["mood = sad_value"] == groups["mood = sad"].value


def test_a_group_that_is_no_field_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="Did you mean 'mood'"):
        opened(tmp_path, gate={"groups": ["moood"]})
    with pytest.raises(SettingsInvalid, match="Write a list of fields"):
        opened(tmp_path, gate={"groups": "mood"})
