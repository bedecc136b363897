"""The gate: every rule both ways, and what comes first when several speak."""

import numpy as np
import pytest

from bondhu.equations.intervals import student
from bondhu.errors import InvalidInput
from bondhu.evaluate.gate import GateRules, Parts, difference, gate
from bondhu.types import Estimate

FACTS = {"interactions": 5_000.0, "exploration": 0.05}
NOISE = np.tile([-0.5, 0.5], 500)  # mean 0, standard deviation .5


def judged(mean, noise=NOISE, effective=400.0):
    terms = mean + noise
    low, high = student(terms, 0.95)
    return Estimate(float(terms.mean()), low, high, effective, terms)


def silent(reason, effective=np.nan):
    return Estimate(np.nan, np.nan, np.nan, effective, np.empty(0), reason)


LIVE = judged(0.4)
BETTER = judged(0.5, NOISE + np.roll(NOISE, 1) * 0.1)
RULES = GateRules()


def test_a_proven_candidate_is_promoted_with_every_reason_and_figure():
    verdict = gate(BETTER, LIVE, FACTS, RULES)
    assert verdict.decision == "promote"
    assert len(verdict.reasons) == 5
    assert "Trained on 5,000 interactions, at least 1,000." in verdict.reasons
    assert verdict.figures["interactions"] == 5_000
    assert verdict.figures["exploration"] == 0.05
    assert verdict.figures["effective_samples"] == 400
    assert verdict.figures["candidate_value"] == pytest.approx(0.5)
    assert verdict.figures["live_value"] == pytest.approx(0.4)
    assert verdict.figures["advantage_value"] == pytest.approx(0.1)
    assert 0 < verdict.figures["advantage_low"] < 0.1 < verdict.figures["advantage_high"]


def test_too_few_interactions_wait_and_exactly_enough_do_not():
    verdict = gate(BETTER, LIVE, FACTS | {"interactions": 999}, RULES)
    assert verdict.decision == "wait"
    assert verdict.reasons == ("Trained on 999 interactions; 1,000 are needed.",)
    assert gate(BETTER, LIVE, FACTS | {"interactions": 1_000}, RULES).decision == "promote"


def test_an_average_below_the_threshold_is_refused_and_one_on_it_is_not():
    verdict = gate(BETTER, LIVE, FACTS, GateRules(minimum_average_reward=0.51))
    assert verdict.decision == "refuse"
    assert verdict.reasons[0].startswith("Average reward 0.5 (")
    assert verdict.reasons[0].endswith("is below 0.51.")
    assert gate(BETTER, LIVE, FACTS, GateRules(minimum_average_reward=0.4999)).decision == "promote"


def test_too_few_effective_samples_wait_and_enough_do_not():
    verdict = gate(judged(0.5, effective=49.0), LIVE, FACTS, RULES)
    assert verdict.decision == "wait"
    assert verdict.reasons == ("The log is worth 49.0 effective samples for the candidate; 50 are needed.",)
    assert gate(judged(0.5, effective=50.0), LIVE, FACTS, RULES).decision == "promote"


def test_exploration_above_the_maximum_is_refused_and_at_the_maximum_is_not():
    verdict = gate(BETTER, LIVE, FACTS | {"exploration": 0.3}, RULES)
    assert verdict.decision == "refuse"
    assert verdict.reasons == (
        "Production would act at random in 30.0% of decisions, more than 5.0%. Lower [exploration] rate.",
    )
    assert gate(BETTER, LIVE, FACTS | {"exploration": 0.05}, RULES).decision == "promote"


def test_no_exploration_is_released_with_a_warning():
    verdict = gate(BETTER, LIVE, FACTS | {"exploration": 0.0}, RULES)
    assert verdict.decision == "promote"
    assert any("nothing can be learned or judged" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("candidate", "decision", "ending"),
    [
        (BETTER, "promote", ", above +0."),
        (judged(0.35, NOISE + np.roll(NOISE, 1) * 0.1), "refuse", ", not above +0."),
        (judged(0.401, np.roll(NOISE, 1)), "wait", "More decisions will tell."),
        (LIVE, "refuse", ", not above +0."),
    ],
    ids=["better", "worse", "undecided", "itself"],
)
def test_the_advantage_decides(candidate, decision, ending):
    verdict = gate(candidate, LIVE, FACTS, RULES)
    assert verdict.decision == decision
    assert verdict.reasons[-1].startswith("Its advantage over the live policy is ")
    assert verdict.reasons[-1].endswith(ending)


def test_the_margin_moves_the_bar_and_the_rule_can_be_left_out():
    assert gate(BETTER, LIVE, FACTS, GateRules(margin=0.2)).decision == "refuse"
    assert gate(judged(0.35), LIVE, FACTS, GateRules(must_beat_live=False)).decision == "promote"


def test_a_refused_estimate_is_refused_where_more_data_would_not_help():
    verdict = gate(silent("The log contains no exploration."), LIVE, FACTS, RULES)
    assert verdict.decision == "refuse"
    assert verdict.reasons == ("The log contains no exploration.",)
    assert np.isnan(verdict.figures["candidate_value"])


def test_a_refused_estimate_waits_where_more_data_would_help():
    assert gate(silent("Too few.", 12.0), LIVE, FACTS, RULES).decision == "wait"
    lenient = gate(silent("Too few.", 12.0), LIVE, FACTS, GateRules(minimum_effective_samples=5))
    assert (lenient.decision, lenient.reasons) == ("wait", ("Too few.",))


def test_a_live_policy_nobody_can_judge_blocks_only_where_it_must_be_beaten():
    verdict = gate(BETTER, silent("No overlap."), FACTS, RULES)
    assert (verdict.decision, verdict.reasons) == ("refuse", ("Of the live policy: No overlap.",))
    assert gate(BETTER, silent("Too few.", 20.0), FACTS, RULES).decision == "wait"
    assert gate(BETTER, silent("No overlap."), FACTS, GateRules(must_beat_live=False)).decision == "promote"


def test_little_data_is_never_held_against_a_candidate():
    assert gate(judged(0.1), LIVE, FACTS | {"interactions": 10}, RULES).decision == "wait"
    assert gate(judged(0.1), LIVE, FACTS, RULES).decision == "refuse"


def test_what_no_data_mends_is_refused_even_with_little_data():
    assert gate(BETTER, LIVE, {"interactions": 10, "exploration": 0.3}, RULES).decision == "refuse"


@pytest.mark.parametrize("facts", [{"interactions": 5_000}, {"interactions": np.nan, "exploration": 0.05}, {}])
def test_a_missing_fact_is_named(facts):
    with pytest.raises(InvalidInput, match=r"The gate needs the fact '(interactions|exploration)'"):
        gate(BETTER, LIVE, facts, RULES)


def test_difference_by_hand():
    candidate = Estimate(2.5, 0, 0, 30.0, np.array([1.0, 2.0, 3.0, 4.0]))
    live = Estimate(2.0, 0, 0, 20.0, np.array([1.0, 1.0, 3.0, 3.0]))
    found = difference(candidate, live)
    half = 3.1824463053 * np.sqrt(4 * 0.25 / 3 / 4)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    assert found.effective_samples == 20
    assert found.terms.tolist() == [0, 1, 0, 1]


def test_luck_that_both_share_cancels_in_the_difference():
    luck = np.random.default_rng(0).normal(size=1_000)
    found = difference(judged(0.45, luck), judged(0.40, luck))
    assert (found.low, found.high) == pytest.approx((0.05, 0.05))
    assert judged(0.45, luck).high - judged(0.45, luck).low > 0.1


def test_difference_counts_sessions_where_they_are_given():
    luck = np.repeat(np.random.default_rng(0).normal(size=250), 4)
    candidate, live = judged(0.45, luck), judged(0.40)
    alone = difference(candidate, live)
    together = difference(candidate, live, session=np.repeat(np.arange(250), 4))
    assert together.value == alone.value
    assert 1.5 < (together.high - together.low) / (alone.high - alone.low) < 2
    assert gate(candidate, live, FACTS, RULES, Parts(alone)).figures["advantage_low"] == pytest.approx(alone.low)


def test_estimates_of_different_rows_are_not_compared():
    with pytest.raises(InvalidInput, match="judged on 10 rows, the live policy on 1,000"):
        difference(judged(0.5, NOISE[:10]), LIVE)
