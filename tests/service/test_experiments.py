"""Trials whose truth is known: effects, splits, guardrails, segments, plans and what is said of them."""

from dataclasses import replace
from math import inf, isnan

import numpy as np
import pytest

from bondhu.errors import InvalidInput, UnknownName
from bondhu.experiments.analysis import Plan, analyse
from bondhu.experiments.effects import Looks, Metric, bounds, effect, effects_of
from bondhu.experiments.exposures import Assigned, Exposures, between, segments_of, steps_of, units
from bondhu.experiments.guardrails import Guardrail, guard
from bondhu.experiments.planner import Step, Traffic, detectable, distinct, forecast, traffic_of
from bondhu.experiments.ratio import draws, ratio_check
from bondhu.experiments.shares import shares
from bondhu.registry.lifecycle import Step as Release
from bondhu.registry.share import assign
from bondhu.types import Names

PLAIN = Metric("reward", adjusted=False)
ERRORS = Metric("errors", higher_is_better=False)


def trial(gain=0.0, seed=0, users=4000, rows=20_000):
    """Users come back; a tenth, then half of them are treated; the second half of the time everybody earns more."""
    rng = np.random.default_rng(seed)
    place, liking = rng.random(users), rng.normal(0, 0.1, users)
    unit, time = rng.integers(0, users, rows), np.arange(rows) * 10.0
    late = np.arange(rows) >= rows // 2
    share = np.where(late, 0.5, 0.1)
    treated = place[unit] < share
    reward = (rng.random(rows) < 0.3 + liking[unit] + gain * treated + 0.2 * late).astype(float)
    errors = (rng.random(rows) < 0.05).astype(float)
    before = np.where(rng.random(users) < 0.7, liking + rng.normal(0, 0.02, users), np.nan)[unit]
    devices = Names(unit % 2, ["phone", "desktop"])
    metrics = {"reward": reward, "errors": errors, "shown": np.ones(rows) * 2}
    return Exposures(unit, treated, share, time, metrics, {"reward": before}, {"device": devices})


def test_an_effect_is_found_and_a_season_is_not_taken_for_one():
    found = effect(trial(0.05), "reward")
    assert found.always_low < 0.05 < found.always_high
    assert found.always_low > 0
    nothing = effect(trial(), "reward")
    assert nothing.low < 0 < nothing.high
    naive = trial()
    apart = naive.metrics["reward"][naive.treated].mean() - naive.metrics["reward"][~naive.treated].mean()
    assert apart > 0.05  # what a comparison of plain means would say


def test_always_valid_intervals_are_wider_and_agree_with_their_p():
    found = effect(trial(0.03), PLAIN)
    assert found.always_low < found.low < found.value < found.high < found.always_high
    assert found.relative_always_low < found.relative_low < found.relative < found.relative_high
    edge = bounds(found.measured, 1 - found.always_valid_p, found.looks.tuned).always
    assert min(abs(edge[0]), abs(edge[1])) < 0.02 * found.error
    edge = bounds(found.measured, 1 - found.p, found.looks.tuned).fixed
    assert min(abs(edge[0]), abs(edge[1])) < 1e-6


def test_fixed_horizon_intervals_cover_and_users_count_once():
    held = 0
    for seed in range(200):
        found = effect(trial(0.05, seed=100 + seed, users=200, rows=2000), PLAIN)
        held += found.low <= 0.05 <= found.high
    assert 180 <= held <= 198


def test_values_before_narrow_the_interval_and_leave_the_mean():
    plain, adjusted = (effect(trial(0.05), metric) for metric in (PLAIN, Metric("reward")))
    assert plain.variance_removed == 0.0
    assert 0.02 < adjusted.variance_removed < 0.7
    assert adjusted.error == pytest.approx(plain.error * (1 - adjusted.variance_removed) ** 0.5)
    assert abs(adjusted.value - plain.value) < 3 * plain.error


def test_totals_of_users_and_ratios_of_columns():
    data = trial(0.05)
    found = effects_of(data, [Metric("reward", per="user"), Metric("reward", per="shown", adjusted=False), PLAIN])
    assert found[0].metric.label == "reward per user"
    assert found[0].control.mean > 2 * found[2].control.mean
    assert found[1].value == pytest.approx(found[2].value / 2)
    assert found[1].error == pytest.approx(found[2].error / 2)
    assert found[1].p == pytest.approx(found[2].p)


def test_the_total_of_each_user_by_hand():
    unit = np.array([0, 0, 1, 2, 3, 3])
    data = Exposures(unit, unit < 2, np.full(6, 0.5), np.arange(6.0), {"reward": np.array([1.0, 2, 5, 1, 1, 2])})
    found = effect(data, Metric("reward", per="user"))
    assert (found.treated.mean, found.control.mean) == (4.0, 2.0)
    assert found.error == pytest.approx(2**0.5)  # variances 2 and 2, two users each


def test_too_few_users_say_nothing_yet():
    found = effect(trial(0.05, users=30, rows=200), Metric("reward"), Looks(minimum_users=20))
    assert (found.always_low, found.always_high, found.always_valid_p) == (-inf, inf, 1.0)
    assert found.low > -inf


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_nothing_to_compare_is_refused_with_the_reason(rows):
    found = effect(trial().take(np.arange(rows)), "reward")
    assert isnan(found.value)
    assert "Nothing can be compared" in found.refused
    assert analyse(trial().take(np.arange(rows))).answer == "undecided"


def test_a_metric_that_never_varies_is_refused():
    assert "does not vary" in effect(trial(), "shown").refused


def test_bad_columns_are_named():
    data = trial()
    with pytest.raises(UnknownName, match=r"no metric 'rewrd'.*Did you mean 'reward'"):
        effect(data, "rewrd")
    with pytest.raises(InvalidInput, match=r"'time' has 3 rows and the units have 20,000"):
        replace(data, time=np.arange(3.0))
    with pytest.raises(InvalidInput, match=r"Row 0 has share 0.0, which is not possible"):
        replace(data, treated=np.ones(len(data), bool), share=np.zeros(len(data)))
    with pytest.raises(InvalidInput, match=r"Row 7 has reward nan"):
        replace(data, metrics={"reward": np.where(np.arange(len(data)) == 7, np.nan, 1.0)})
    with pytest.raises(UnknownName, match="no segment 'devise'"):
        segments_of(data, ["devise"])


def split_log(*settings, users=900, seed=0):
    """What the product assigns: 2,000 decisions of users under each (share on trial, holdout)."""
    rng, rows = np.random.default_rng(seed), []
    for share, holdout in settings:
        step = Release("v1", share, 0.0, 0.0) if share else None
        names = [f"u{number}" for number in rng.integers(0, users, 2000).tolist()]
        rows += [(name, *assign("d", name, step, holdout)) for name in names]
    user, variant, probability = zip(*rows, strict=True)
    names, time = Names.of(user), np.arange(float(len(rows)))
    return Assigned(names, names, Names.of(variant), np.array(probability), time), {"reward": rng.random(len(rows))}


def test_any_two_variants_of_a_log_are_compared():
    log, metrics = split_log((0.1, 0.1), (0.5, 0.1))
    found, rows = between(log, metrics, "trial", "live")
    assert set(rows.tolist()) == set(np.flatnonzero(~log.variant.among("holdout")).tolist())
    np.testing.assert_array_equal(found.treated, log.variant.among("trial")[rows])
    np.testing.assert_allclose(found.share, np.where(rows < 2000, 0.1, 0.5))
    found, rows = between(log, metrics, "live", "holdout")
    early = np.mean(found.share[rows < 2000] == round(0.81 / 0.91, 9))
    assert early > 0.99  # a control row beside the change may be taken for one after it
    with pytest.raises(UnknownName, match="variant 'holdot'"):
        between(log, metrics, "live", "holdot")


@pytest.mark.parametrize("holdouts", [(0.0, 0.1), (0.1, 0.0), (0.1, 0.1), (0.05, 0.1)])
def test_people_who_are_held_out_during_a_trial_do_not_change_what_it_says(holdouts):
    log, metrics = split_log((0.0, holdouts[0]), (0.1, holdouts[0]), (0.1, holdouts[1]), (0.5, holdouts[1]))
    found, rows = between(log, metrics, "trial", "live")
    assert set(found.share.tolist()) == {0.0, 0.1, 0.5}
    np.testing.assert_allclose(found.share, np.array([0.0, 0.1, 0.1, 0.5])[rows // 2000])
    assert analyse(found).answer == "undecided"


def test_the_holdout_is_compared_before_during_and_after_a_trial():
    flagged = 0
    for seed in range(5):
        log, metrics = split_log((0.0, 0.1), (0.4, 0.1), (0.0, 0.1), users=2500, seed=seed)
        check = ratio_check(between(log, metrics, "live", "holdout")[0])
        flagged += check.mismatch
        assert abs(check.treated - check.expected) < 4 * (check.users * 0.09) ** 0.5
    assert flagged == 0
    log, metrics = split_log((0.0, 0.1), (0.4, 0.1), (0.0, 0.1), users=2500)
    kept = ~(log.variant.among("holdout") & (log.user.codes % 2 == 0))
    columns = [column.take(kept) for column in (log.user, log.session, log.variant)]
    fewer = Assigned(*columns, log.probability[kept], log.time[kept])
    assert ratio_check(between(fewer, {"reward": metrics["reward"][kept]}, "live", "holdout")[0]).mismatch


def test_after_a_trial_nobody_is_drawn():
    treated = np.array([1, 0, 1, 0, 0, 0, 0, 0], bool)
    probability = np.array([0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5])  # half of the people are held out
    found = shares(treated, probability, np.arange(8.0))
    assert found.share.tolist() == [0.5] * 4 + [0.0] * 4
    assert found.pool.tolist() == [0.5] * 8


def test_shares_at_one_time_and_of_one_variant_alone():
    both = shares(np.array([True, False]), np.array([0.1, 0.9]), np.zeros(2))
    assert both.share.tolist() == [0.1, 0.1]
    alone = shares(np.array([True, True]), np.array([0.9, 0.9]), np.arange(2.0))
    assert (alone.share.tolist(), alone.pool.tolist()) == ([1.0, 1.0], [0.9, 0.9])
    assert shares(np.zeros(0, bool), np.zeros(0), np.zeros(0)).share.tolist() == []


def test_shares_that_rounding_parts_are_one_step():
    found, step = steps_of(np.array([0.5, 1 - 0.9, 0.1, 0.5]))
    assert found.tolist() == [0.1, 0.5]
    assert step.tolist() == [1, 0, 0, 1]
    assert len(set(units(Names.of(["a", None]), Names.of(["s", "s"])).tolist())) == 2


def heavy(part, seed, users=300, rows=4000):
    """Nobody gains; user 0 takes this part of all decisions."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.5, 2, users) + 0.1
    rate[0] = 0
    rate[0] = rate.sum() * part / (1 - part)
    place, liking = rng.random(users), rng.random(users)
    unit = rng.choice(users, rows, p=rate / rate.sum())
    reward = (rng.random(rows) < liking[unit]).astype(float)
    return Exposures(unit, place[unit] < 0.5, np.full(rows, 0.5), np.arange(rows) * 1.0, {"reward": reward})


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7])
def test_one_user_who_takes_most_decisions_raises_no_false_alarm(part):
    alarms = 0
    for seed in range(12):
        whole = heavy(part, seed)
        looks = [effect(whole.take(np.arange(end)), PLAIN) for end in (400, 1200, 4000)]
        alarms += any(each.always_low > 0 or each.always_high < 0 for each in looks)
    assert alarms == 0
    last = analyse(heavy(part, 0), Plan(PLAIN))
    assert min(last.primary.treated.worth, last.primary.control.worth) < 20
    assert "equally active ones would, and 20 are needed" in last.sentences[0]
    assert not last.primary.refused


def test_users_of_steps_that_cannot_be_compared_make_no_trial_ready():
    few = trial(users=30, rows=300)
    late = replace(few, unit=few.unit + 30, treated=np.ones(300, bool), share=np.ones(300))
    columns = ("unit", "treated", "share", "time")
    both = Exposures(
        *(np.concatenate([getattr(few, name), getattr(late, name)]) for name in columns),
        {"reward": np.concatenate([few.metrics["reward"], late.metrics["reward"]])},
    )
    found = effect(both, PLAIN, Looks(minimum_users=16))
    assert found.treated.users > 30
    assert found.treated.worth == pytest.approx(effect(few, PLAIN).treated.worth)
    assert not found.measured.ready


def test_two_sides_that_do_not_vary_at_all_differ_all_the_same():
    unit = np.arange(60)
    treated = unit % 2 == 0
    data = Exposures(unit, treated, np.full(60, 0.5), unit * 1.0, {"reward": treated * 1.0})
    found = effect(data, "reward")
    assert (found.value, found.refused) == (1.0, None)
    assert found.error == pytest.approx((0.25 / 30 + 0.25 / 30) ** 0.5)  # of a coin, as under no effect at all
    assert found.always_low > 0


def test_draws_of_users_who_come_again_when_the_share_has_grown():
    unit = np.array([0, 1, 2, 0, 1, 2, 3])
    treated = np.array([True, False, False, True, True, False, True])
    share = np.array([0.2, 0.2, 0.2, 0.6, 0.6, 0.6, 0.6])
    found, switched = draws(Exposures(unit, treated, share, np.arange(7.0), {}))
    np.testing.assert_allclose(found.chance, [0.2, 0.2, 0.2, 0.5, 0.5, 0.6])
    assert found.treated.tolist() == [True, False, False, True, False, True]
    assert switched == 0


def test_a_right_split_passes_and_a_loss_of_treated_users_does_not():
    data = trial()
    fine = ratio_check(data)
    assert not fine.mismatch
    assert abs(fine.treated - fine.expected) < 4 * fine.expected**0.5
    assert [split.chance for split in fine.splits] == pytest.approx([0.1, 4 / 9, 0.5])
    assert sum(split.users for split in fine.splits) == fine.users
    lost = np.random.default_rng(9).random(4000) < 0.25
    broken = ratio_check(data.take(~(data.treated & lost[data.unit])))
    assert broken.mismatch
    assert broken.always_valid_p < 1e-3
    assert "lost or moved" in broken.sentence


def test_a_user_in_both_variants_at_one_share_is_told():
    data = trial()
    treated = data.treated.copy()
    treated[np.flatnonzero(data.unit == data.unit[-1])[-1]] ^= True
    found = ratio_check(replace(data, treated=treated))
    assert (found.switched, found.mismatch) == (1, True)
    assert found.sentence.startswith("1 users were seen in both variants")


def test_guardrails_are_ok_undecided_or_breached():
    data = trial(-0.06)
    rails = [Guardrail(Metric("reward"), 0.02), Guardrail(ERRORS, 0.5), Guardrail(ERRORS, 0.005, relative=False)]
    breached, ok, undecided = guard(data, rails)
    assert [each.state for each in (breached, ok, undecided)] == ["breached", "ok", "undecided"]
    assert breached.worse > 0.02
    assert breached.worse_low > 0.02
    assert ok.worse_high < 0.5
    assert undecided.worse_low < 0.005 < undecided.worse_high
    assert "at least" in breached.sentence


def test_more_guardrails_make_a_breach_harder_and_ok_no_harder():
    rail = Guardrail(Metric("reward"), 0.02)
    alone, among = guard(trial(-0.06), [rail])[0], guard(trial(-0.06), [rail] * 5)[0]
    assert among.worse_low < alone.worse_low
    assert among.worse_high == alone.worse_high


def test_an_analysis_answers_in_sentences():
    plan = Plan(
        guardrails=(Guardrail(ERRORS, 0.3),),
        secondary=(ERRORS, Metric("reward", per="user")),
        segments=("device",),
    )
    found = analyse(trial(0.06), plan)
    assert found.answer == "better"
    assert found.sentences[0].startswith("The treatment is better in reward, after ")
    assert [each.name for each in found.secondary] == ["errors", "reward per user"]
    assert {each.name for each in found.segments} == {"device = phone", "device = desktop"}
    assert len(found.sentences) == 3 + 1 + 2 + 2
    for each in found.secondary:
        assert each.adjusted_always_valid_p >= each.effect.always_valid_p
        assert each.always_low < each.effect.always_low
    assert analyse(trial(-0.06)).answer == "worse"
    assert analyse(trial()).answer == "undecided"
    unwanted = Metric("reward", higher_is_better=False)
    assert analyse(trial(0.06), Plan(unwanted)).answer == "worse"


def test_an_analysis_of_a_broken_split_is_invalid():
    data = trial(0.06)
    lost = np.random.default_rng(9).random(4000) < 0.3
    found = analyse(data.take(~(data.treated & lost[data.unit])))
    assert found.answer == "invalid"
    assert found.primary.always_low > 0  # however sure it looks


def test_a_segment_with_few_users_is_left_out():
    data = trial(0.05)
    rare = Names(np.where(data.unit < 20, 1, 0), ["most", "few"])
    found = analyse(replace(data, segment={"kind": rare}), Plan(segments=("kind",)))
    assert [each.name for each in found.segments] == ["kind = most"]


def test_a_plan_for_users_who_come_once_is_the_textbooks():
    found = forecast(Traffic(0.0, 1.0, 0.0, daily_users=1, decisions=1), 0.5)
    assert found.fixed_days == 126  # 2 * 62.8, the normal answer for half a standard deviation and 80 %
    assert found.fixed_users == found.fixed_decisions == 126
    assert found.median_days < found.sequential_days
    assert found.mean_days <= found.sequential_days


def test_the_least_effect_of_a_duration_is_found_in_it():
    traffic = Traffic(0.1, 0.09, 0.1, daily_users=1000, decisions=3, population=20_000)
    fixed, sequential = detectable(traffic, 14)
    assert fixed < sequential
    assert forecast(traffic, fixed * 1.0001).fixed_days == 14
    assert forecast(traffic, sequential * 1.0001).sequential_days == 14


def test_a_release_in_steps_takes_its_minima_and_then_as_long_as_it_needs():
    traffic = Traffic(0.1, 0.09, 0.1, daily_users=1000, decisions=3)
    steps = forecast(traffic, 0.01, (Step(0.1, days=2, users=450), Step(0.5), Step(1.0)))
    assert steps.step_days == (5,)  # 100 treated users a day
    once = forecast(traffic, 0.01)
    assert once.fixed_days < steps.fixed_days < once.fixed_days + 5
    assert steps.relative == pytest.approx(0.1)
    with pytest.raises(InvalidInput, match="No step of the ramp"):
        forecast(traffic, 0.01, (Step(1.0),))


def test_a_step_waits_for_the_decisions_that_it_must_see():
    traffic = Traffic(0.3, 0.21, 0.1, daily_users=50, decisions=1.2, population=5000)
    steps = forecast(traffic, 0.05, (Step(0.1, decisions=1000), Step(0.5)))
    assert steps.step_days == (167,)  # six a day
    assert steps.fixed_days == forecast(traffic, 0.05, (Step(0.1),)).fixed_days < 167  # it is found before


def test_what_can_never_be_found_takes_for_ever():
    found = forecast(Traffic(0.1, 0.09, 0.1, 10, 1), 1e-5)
    assert found.fixed_days == found.sequential_days == found.mean_days == inf


def test_traffic_is_learned_from_a_log():
    rng = np.random.default_rng(4)
    people, liking = 3000, rng.normal(0, 0.5, 3000)
    days = [np.flatnonzero(rng.random(people) < 0.1) for _ in range(20)]
    unit = np.concatenate([np.repeat(day, 2) for day in days])
    time = np.concatenate([np.full(2 * len(day), 86_400.0 * number) for number, day in enumerate(days)])
    reward = 1 + liking[unit] + rng.normal(size=len(unit))
    data = Exposures(unit, unit % 2 == 0, np.full(len(unit), 0.5), time, {"reward": reward})
    found = traffic_of(data, "reward")
    assert found.daily_users == pytest.approx(300, rel=0.03)
    assert (found.decisions, found.unevenness) == (2.0, 1.0)
    assert found.population == pytest.approx(3000, rel=0.05)
    assert found.correlation == pytest.approx(0.2, abs=0.03)
    assert distinct(found, np.array(20.0)) == pytest.approx(len(np.unique(unit)), rel=1e-6)
    error = effect(data, PLAIN).error
    assert detectable(found, 20)[0] == pytest.approx(2.801585 * error, rel=0.1)
    with pytest.raises(InvalidInput, match="no decisions"):
        traffic_of(data.take(np.arange(0)), "reward")


def test_few_users_whose_past_explains_everything_are_not_adjusted_to_certainty():
    """With two users on a side a regression on two columns leaves no error at all: the plain one is told instead."""
    unit = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    treated = unit >= 2
    reward = np.array([0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    before = np.repeat([0.2, 0.9, 0.1, 0.6], 2)
    columns = {"unit": unit, "treated": treated, "share": np.full(8, 0.5), "time": np.arange(8.0)}
    plain = Exposures(**columns, metrics={"reward": reward})
    known = Exposures(**columns, metrics={"reward": reward}, before={"reward": before})
    assert effect(known, "reward").error == effect(plain, "reward").error > 0
    assert effect(known, "reward").variance_removed == 0.0
