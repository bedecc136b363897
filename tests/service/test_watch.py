"""What the watch sees in a stretch of decisions, what it calls drift or a fall, and what it names as the cause."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.injected_world import Arms, World, records
from bondhu.domains.recommendation import domain as recommendation
from bondhu.log.memory import MemoryLog
from bondhu.monitor.alerts import KINDS, SEVERITIES
from bondhu.types import Decision, Feedback, Names
from bondhu.watch.causes import Rules, diagnose
from bondhu.watch.drift import DriftRules, alike, drift
from bondhu.watch.entropy import entropy, no_longer_taken
from bondhu.watch.expected import Sample, effective_people, even, expected, fall, numbered, personal, shortfall
from bondhu.watch.findings import findings
from bondhu.watch.observed import Observed, observe
from bondhu.watch.reporting import reporting
from bondhu.watch.season import concurrent_weights, covered, days_scatter, demeaned, hours, seasonal_weights
from bondhu.watch.segments import scan
from bondhu.watch.windows import DAY, newest, stretches
from tests.service.shop import ACTIONS, shop

MONDAY = 1_767_571_200.0  # 5 January 2026, 0:00 UTC
MOODS, AGES = ("happy", "sad"), ("0 to 20", "20 to 40", "40 to 60", "60 to 80", "80 to 100")


def world(seed: int = 0, days: int = 21, a_day: int = 400, people: int = 300, **change: object) -> Observed:
    """Days of a shop from MONDAY on whose people like blue more than green more than red; settled at once.

    `change`: from the day `since` on, `liking` is multiplied into the chance to like of the rows that `whom` marks,
    `wrong` is the chance of taking red, `heard` the share of likes that arrive, `sad` the share of the sad.
    """
    rng = np.random.default_rng(seed)
    count = days * a_day
    time = MONDAY + np.sort(rng.random(count)) * days * DAY
    late = (time - MONDAY) / DAY >= float(change.get("since", 14))  # type: ignore[arg-type]
    now = lambda name, usual: np.where(late, change.get(name, usual), usual)  # noqa: E731
    user = rng.integers(0, people, count)
    sad = (rng.random(count) < now("sad", 0.3)).astype(int)
    age = (np.random.default_rng([seed, 1]).random(people) * 100)[user]
    variant = np.where(user % 10 == 0, 2, np.where((user % 10 < 5) & late & bool(change.get("trial")), 1, 0))
    wrong = np.where(variant == (1 if change.get("trial") else 0), now("wrong", 0.1), 0.1)
    explored = rng.random(count) < 0.1
    action = np.where(explored, rng.integers(0, 3, count), np.where(rng.random(count) < wrong, 0, 1))
    chance = np.array([0.1, 0.6, 0.3])[action] * np.where(sad, 0.5, 1.0)
    weekend = hours(time) >= 20
    chance *= np.where(weekend, float(change.get("weekend", 1.0)), 1.0)  # type: ignore[arg-type]
    whom = change.get("whom", lambda sad, age: np.ones(count, bool))
    chance *= np.where(late & whom(sad, age), float(change.get("liking", 1.0)), 1.0)  # type: ignore[arg-type, operator]
    like = (rng.random(count) < chance) & (rng.random(count) < now("heard", 1.0))
    watched = rng.random(count) < 0.5
    probability = np.where(
        action == 0, 0.1 / 3 + 0.9 * wrong, np.where(action == 1, 0.1 / 3 + 0.9 * (1 - wrong), 0.1 / 3)
    )
    version = (late & (variant == 0) & bool(change.get("new"))) * 1 + (variant == 1) * 2
    return Observed(
        time=time,
        context={"mood": Names(sad, MOODS), "age": Names((age // 20).astype(int), AGES)},
        numbers={"age": age},
        action=Names(action, ACTIONS),
        probability=probability,
        version=Names(np.minimum(version, 2), ["v1", "v2", "v3"]),
        variant=Names(variant, ["live", "trial", "holdout"]),
        user=user,
        settled=np.ones(count, bool),
        reward=like * 1.0 + watched * 0.25 * (rng.random(count) < now("heard", 1.0)),
        heard=like | watched,
        delay=np.where(like | watched, 60.0, np.nan),
        said={"like": like * 1, "watched": watched * 1},
        worth={"like": like * 1.0, "watched": watched * 0.25},
        late=np.zeros(count, int),
    )


def split(of: Observed, at: float = 14) -> tuple[Observed, Observed]:
    return of.between(0, MONDAY + at * DAY), of.between(MONDAY + at * DAY, np.inf)


# --------------------------------------------------------------------------------------------------------- what is seen


def logged(*said: Feedback) -> MemoryLog:
    log = MemoryLog()
    rows = [("a", "ann", 0.0, "red", 10), ("b", None, 100.0, "blue", 20), ("c", "ann", 90_000.0, "blue", 99.5)]
    log.append(
        [
            Decision(
                *(name, "shop", f"s{name}", user, time, {"mood": "sad", "age": age}),
                *(ACTIONS, action, 0.5, (), "v1", "live"),
            )
            for name, user, time, action, age in rows
        ],
        said,
    )
    return log


def test_a_stretch_is_seen_as_it_stood_at_the_time():
    log = logged(
        Feedback("1", "a", "like", 1.0, 30.0),
        Feedback("2", "a", "watched", 0.5, 20.0),
        Feedback("3", "b", "like", 1.0, 100.0 + 86_401),  # a second after the wait
        Feedback("4", "c", "like", 1.0, 99_999.0),
    )
    seen = observe(shop(), log.read("shop", 0, 1e6), 0, 95_000, 95_000)
    assert seen.settled.tolist() == [True, True, False]
    assert seen.reward[:2].tolist() == [1.25, 0.0]
    assert np.isnan(seen.reward[2])
    assert seen.heard.tolist() == [True, False, False]  # what comes after `now` is not heard yet
    assert seen.delay[0] == 20.0
    assert seen.said["like"].tolist() == [1, 0, 0]
    assert seen.worth["watched"].tolist() == [0.25, 0.0, 0.0]
    assert seen.late.tolist() == [0, 1, 0]
    assert list(seen.context["mood"]) == ["sad"] * 3
    assert list(seen.context["age"]) == ["0 to 20", "20 to 40", "80 to 100"]
    assert seen.numbers["age"].tolist() == [10, 20, 99.5]
    assert list(seen.action) == ["red", "blue", "blue"]
    assert len(seen.known()) == 2


def test_a_person_has_the_same_number_in_every_stretch_and_nobody_is_nobody_else():
    records = logged().read("shop", 0, 1e6)
    first, second = observe(shop(), records, 0, 1_000), observe(shop(), records, 1_000, 1e6)
    assert first.user[0] == second.user[0]
    assert first.user[1] not in (first.user[0], second.user[0])
    assert (len(first), len(second)) == (2, 1)


def test_contexts_that_the_domain_no_longer_knows_are_counted_and_left_out():
    records = logged().read("shop", 0, 1e6)
    strange = replace(records, context=[b'{"mood": "angry", "age": 3}', *records.context[1:]])
    seen = observe(shop(), strange, 0, 1e6)
    assert (len(seen), seen.unfit) == (2, 1)
    assert list(seen.action) == ["blue", "blue"]


# --------------------------------------------------------------------------------------------------------------- season


def test_hours_of_the_week_begin_on_monday():
    assert hours(MONDAY + np.array([0.0, 6 * 3600, DAY, 7 * DAY - 1, 7 * DAY])).tolist() == [0, 1, 4, 27, 0]


def test_the_reference_is_weighted_to_the_current_hours():
    monday, tuesday = MONDAY + np.arange(100.0), MONDAY + DAY + np.arange(300.0)
    reference = np.concatenate([monday, tuesday])
    weights = seasonal_weights(reference, np.concatenate([monday[:30], tuesday[:10]]) + 7 * DAY)
    assert weights[:100] == pytest.approx(0.75 / 100)
    assert weights[100:] == pytest.approx(0.25 / 300)


def test_hours_that_the_reference_lacks_are_compared_with_the_same_hours_of_other_days_or_with_all():
    reference = MONDAY + np.concatenate([np.arange(100.0), 6 * 3600 + np.arange(300.0)])
    wednesday = seasonal_weights(reference, np.array([MONDAY + 2 * DAY]))
    assert wednesday[:100] == pytest.approx(0.01)
    assert wednesday[100:] == pytest.approx(0.0)
    assert seasonal_weights(reference, np.array([MONDAY + 2 * DAY + 13 * 3600])) == pytest.approx(1 / 400)


def test_current_rows_in_hours_that_the_reference_does_not_know_are_not_covered():
    reference = MONDAY + np.concatenate([np.arange(60.0), DAY + np.arange(9.0)])
    current = MONDAY + 7 * DAY + np.concatenate([np.arange(200.0), DAY + np.arange(20.0), 2 * DAY + np.arange(2.0)])
    known = covered(reference, current)
    assert (known[:200].all(), known[200:220].any(), known[220:].any()) == (True, False, False)  # 50; 10 of 20; 1 of 2
    assert covered(np.append(reference, MONDAY + DAY), current)[200:220].all()


@pytest.mark.parametrize("age", [8.5, 9.0, 10.5, 11.5, 13.0])
def test_a_young_log_raises_no_alarm_where_weekends_earn_less(age):
    for seed in range(3):
        seen = world(seed, days=14, weekend=0.3).between(0, MONDAY + age * DAY)
        found = newest(seen, MONDAY + age * DAY)
        assert not found.degraded
    first = world(0, days=7, weekend=0.3, new=True, since=5)
    week, weekend = split(first, 5)
    assert "too few in the same hours" in diagnose(week, weekend).sentence
    assert drift(week, weekend) == ()


def test_a_fall_in_hours_that_are_known_is_found_beside_hours_that_are_not():
    reference, current = split(world(0, liking=0.5))
    found = diagnose(reference.take(hours(reference.time) < 20), current)  # no weekend was seen before
    assert found.degraded
    alone = diagnose(reference.take(hours(reference.time) < 20), current.take(hours(current.time) >= 20))
    assert not alone.degraded


def test_a_trial_is_compared_with_what_runs_beside_it_on_days_that_are_new():
    reference, current = split(world(0, trial=True, wrong=0.9))
    found = diagnose(reference.take(hours(reference.time) < 20), current.take(hours(current.time) >= 20))
    assert (found.degraded, found.cause) == (True, "policy")


def test_rewards_of_days_that_vary_by_themselves_have_not_drifted():
    drifted = 0
    for seed in range(12):
        seen = world(seed)
        day = np.floor((seen.time - MONDAY) / DAY).astype(int)
        luck = np.clip(1 + np.random.default_rng([seed, 9]).normal(0, 0.15, 22), 0.1, 1)[day]
        moody = replace(seen, reward=seen.reward * (np.random.default_rng(seed).random(len(seen)) < luck))
        drifted += any(each.drifted for each in drift(*split(moody, 20)) if each.kind == "reward")
    assert drifted == 0


def test_in_a_first_week_days_scatter_about_one_mean():
    calm = world(1, days=7, weekend=0.5)
    assert days_scatter(calm.time, calm.reward, calm.user) > 3  # weekends are not known to be alike yet


def test_a_control_is_weighted_to_the_days_of_the_trial():
    control = MONDAY + np.array([0.0, 100.0, 200.0, DAY, DAY + 1])
    weights = concurrent_weights(control, MONDAY + np.array([150.0, DAY, DAY + 5, DAY + 6]))
    assert weights.tolist() == pytest.approx([0.0, 0.0, 0.25, 0.375, 0.375])
    alone = concurrent_weights(control, MONDAY + np.array([150.0, 3 * DAY]))  # on Thursday nobody ran beside it
    assert alone.tolist() == pytest.approx([0.0, 0.0, 0.5 + 0.5 / 3, 0.5 / 3, 0.5 / 3])


def test_values_less_the_mean_of_their_hours():
    time = MONDAY + np.array([0.0, 1.0, DAY, DAY + 1])
    assert demeaned(np.array([1.0, 3.0, 10.0, 20.0]), time).tolist() == [-1.0, 1.0, -5.0, 5.0]
    both = demeaned(np.array([[1.0, 0], [3.0, 0], [10.0, 2], [20.0, 4]]), time)
    assert both[:, 0].tolist() == [-1.0, 1.0, -5.0, 5.0]
    assert both[:, 1].tolist() == [0.0, 0.0, -1.0, 1.0]


def test_days_that_vary_more_than_their_rows_explain_widen_every_interval():
    calm = world(1)
    day = np.floor((calm.time - MONDAY) / DAY).astype(int)
    moody = calm.reward + np.random.default_rng(0).normal(0, 0.2, 21)[day]
    assert days_scatter(calm.time, calm.reward, calm.user) < 2
    assert days_scatter(calm.time, moody, calm.user) > 10


# --------------------------------------------------------------------------------------------------- falls and segments


def test_a_fall_is_clustered_by_people():
    people = np.repeat(np.arange(50), 20)
    values = np.repeat(np.random.default_rng(0).normal(0, 1, 50), 20)
    clustered = fall(even(values, people), even(values * 0, people + 100), 0.95)
    rows = fall(even(values, np.arange(1000)), even(values * 0, np.arange(1000) + 1000), 0.95)
    assert clustered.drop == pytest.approx(values.mean())
    assert (clustered.high - clustered.low) / (rows.high - rows.low) == pytest.approx(np.sqrt(20), rel=0.06)


def test_people_who_come_often_are_worth_fewer():
    assert effective_people(even(np.zeros(6), np.array([1, 1, 2, 2, 3, 3]))) == pytest.approx(3)
    assert effective_people(Sample(np.zeros(3), np.array([0.8, 0.1, 0.1]), np.array([1, 2, 3]))) == pytest.approx(
        1 / 0.66
    )


def test_what_a_person_usually_earns_is_shrunk_by_how_little_is_known():
    rng = np.random.default_rng(0)
    effect = rng.normal(0, 1, 400)
    user = rng.integers(0, 400, 8_000)
    residual = effect[user] + rng.normal(0, 2, 8_000)
    count = np.bincount(user, minlength=400)
    found = personal(residual, user, np.arange(401))
    best = np.bincount(user, residual, 400) / (count + 4.0)  # n t^2 / (n t^2 + s^2) with t = 1, s = 2
    assert found[:400] == pytest.approx(best, abs=0.15)
    assert found[400] == 0.0


def test_a_mix_that_changed_is_traffic_and_not_a_shortfall():
    reference, current = split(world(2, sad=0.9))
    found = expected(reference, current)
    short = shortfall(reference, current, found)
    drop = found.seasonal - current.reward.mean()
    assert drop > 0.1
    assert short.traffic == pytest.approx(drop, abs=0.03)
    assert short.rows.mean() == pytest.approx(drop - short.traffic, abs=1e-9)


def test_the_segment_that_fell_is_found_at_the_end_of_a_number():
    reference, current = split(world(3, liking=0.2, whom=lambda sad, age: age >= 80))
    short = shortfall(reference, current, expected(reference, current))
    one = scan(current, short.rows, 0.9999)
    assert one is not None
    assert (one.field, one.value) == ("age", "80 to 100")
    assert one.low > 0
    assert one.alone


def test_actions_beyond_the_hundred_most_frequent_are_one():
    first = Names(np.arange(300) % 150, [f"a{number}" for number in range(150)])
    before, after, size = numbered(first, Names.of(["a3", "new"]))
    assert size == 100
    assert before.max() == 99
    assert after[0] == before[3]
    assert numbered(Names.of(["x", "y"]), Names.of(["y"]))[2] == 2


def test_a_signal_that_stops_is_missing_and_what_it_was_worth_is_lost():
    reference, current = split(world(4, heard=0.0))
    found = reporting(reference, current, np.full(len(reference), 1 / len(reference)), 0.99)
    assert found.missing == ("like",)
    assert found.risen == ()
    assert found.lost == pytest.approx(float(reference.worth["like"].mean()), rel=1e-6)
    same = reporting(reference, reference, np.full(len(reference), 1 / len(reference)), 0.99)
    assert (same.missing, same.lost, same.heard.ratio) == ((), 0.0, pytest.approx(1.0))


# --------------------------------------------------------------------------------------------------------------- causes


def diagnosed(seed: int = 5, **change: object):
    return diagnose(*split(world(seed, **change)))


def test_health_is_no_fall():
    for seed in range(10):
        found = diagnosed(seed, new=True)
        assert (found.degraded, found.cause) == (False, None)


def test_a_new_version_that_takes_bad_actions_is_the_policy():
    found = diagnosed(wrong=0.7, new=True)
    assert (found.degraded, found.cause) == (True, "policy")
    assert found.low > 0
    assert found.shares["policy"] > 0.7


def test_a_trial_that_is_worse_than_what_runs_beside_it_is_the_policy():
    found = diagnosed(wrong=0.7, trial=True)
    assert (found.degraded, found.cause, found.where) == (True, "policy", "trial")


def test_a_trial_that_begins_on_a_weekend_is_compared_with_that_weekend():
    seen = world(7, weekend=0.2, since=19, trial=True, a_day=900)
    found = diagnose(seen.between(0, MONDAY + 14 * DAY), seen.between(MONDAY + 17 * DAY, np.inf))
    assert not found.degraded


def test_what_hits_all_variants_is_not_the_trials_fault():
    found = diagnosed(liking=0.4, trial=True)
    assert found.degraded
    assert found.where == "all"
    assert found.cause != "policy"


def test_what_hits_the_holdout_as_well_is_not_the_new_versions_fault():
    reference, current = split(world(6, liking=0.4, new=True, a_day=900))
    assert diagnose(reference, current).cause != "policy"


def test_likes_that_do_not_arrive_are_the_feedback():
    found = diagnosed(heard=0.1)
    assert (found.degraded, found.cause) == (True, "feedback")
    assert "like" in found.sentence


def test_other_people_are_the_traffic():
    found = diagnosed(sad=0.9, a_day=900)
    assert (found.degraded, found.cause) == (True, "traffic")


def test_one_bad_segment_is_named():
    found = diagnosed(liking=0.2, whom=lambda sad, age: sad == 1, a_day=900)
    assert (found.degraded, found.cause, found.where) == (True, "segment", "mood = sad")


def test_a_weekend_like_the_ones_before_is_the_season_and_no_alarm():
    seen = world(7, weekend=0.4, days=21, a_day=900)
    reference, saturday = seen.between(0, MONDAY + 14 * DAY), seen.between(MONDAY + 19 * DAY, MONDAY + 21 * DAY)
    found = diagnose(reference, saturday)
    assert (found.degraded, found.cause) == (False, "season")
    assert found.shares["season"] > 0.7


def test_a_fall_that_nothing_explains_is_unknown():
    reference, current = split(world(8, a_day=900))
    found = diagnose(reference, replace(current, reward=current.reward - 0.3))
    assert (found.degraded, found.cause) == (True, "unknown")


def test_too_little_is_never_an_alarm():
    reference, current = split(world(9, wrong=0.9, new=True))
    assert not diagnose(reference, current.take(np.arange(150))).degraded
    assert not diagnose(reference.take(np.arange(100)), current).degraded
    assert not diagnose(reference, current.take(current.user < 15)).degraded
    nobody = current.take(np.zeros(len(current), bool))
    assert not diagnose(nobody, nobody).degraded


def test_a_trial_is_judged_without_any_earlier_week():
    _, current = split(world(10, wrong=0.9, trial=True))
    found = diagnose(current.take(np.zeros(len(current), bool)), current)
    assert (found.degraded, found.cause) == (True, "policy")


def test_a_small_fall_is_none_however_sure():
    reference, current = split(world(11, a_day=900))
    less = replace(current, reward=current.reward - 0.04)
    assert not diagnose(reference, less, Rules(smallest=0.5)).degraded
    assert diagnose(reference, replace(current, reward=current.reward * 0), Rules(smallest=0.5)).degraded


# ---------------------------------------------------------------------------------------------------------------- drift


def test_nothing_drifts_in_health():
    for seed in range(5):
        assert [each.sentence for each in drift(*split(world(seed))) if each.drifted] == []


def test_the_field_that_drifted_is_named_first():
    found = drift(*split(world(1, sad=0.6)))
    assert (found[0].kind, found[0].name, found[0].drifted) == ("context", "mood", True)
    assert [each.name for each in found if each.drifted and each.kind in ("context", "pair")] == ["mood"]


def test_fields_that_only_drift_together_are_seen_as_a_pair():
    reference, current = split(world(2, a_day=900))
    old = (current.context["age"].codes >= 3).astype(int)
    sad = np.where(np.random.default_rng(0).random(len(old)) < 0.3 / max(old.mean(), 0.3), old, 0)
    paired = replace(current, context={**current.context, "mood": Names(sad, MOODS)})
    kinds = {each.name: each.drifted for each in drift(reference, paired) if each.kind in ("context", "pair")}
    assert kinds["mood with age"]
    assert not kinds["age"]


def test_a_sure_but_tiny_difference_is_no_drift():
    reference, current = split(world(3, a_day=2_000, people=20_000, sad=0.36))
    mood = next(each for each in drift(reference, current) if each.name == "mood")
    assert mood.chance < 1e-4
    assert not mood.drifted


def test_a_few_people_who_come_often_are_no_drift():
    reference, current = split(world(4))
    few = current.take(np.isin(current.user, np.unique(current.user)[:6]))
    assert len(few) < 200
    often = few.take(np.arange(len(few)).repeat(10))
    assert not any(each.drifted for each in drift(reference, often) if each.kind == "context")


def test_actions_and_propensities_drift_with_the_policy():
    found = {each.kind: each.drifted for each in drift(*split(world(5, wrong=0.7))) if each.kind != "pair"}
    assert found["action"]
    assert found["propensity"]


def test_weekends_are_compared_with_weekends():
    seen = world(6)
    reference, saturday = seen.between(0, MONDAY + 14 * DAY), seen.between(MONDAY + 19 * DAY, MONDAY + 20 * DAY)
    rows = alike(reference, saturday)
    assert set((hours(reference.time[rows]) // 4).tolist()) == {5}
    no_weekend = reference.between(0, MONDAY + 5 * DAY)
    assert not alike(no_weekend, saturday).any()
    assert drift(no_weekend, saturday) == ()
    assert drift(reference.take(np.arange(50)), saturday, DriftRules()) == ()


# -------------------------------------------------------------------------------------------------------------- entropy


def test_the_entropy_of_what_was_taken_is_that_of_the_policy():
    rng = np.random.default_rng(0)
    reference, current = split(world(7, a_day=900))
    chances = np.array([0.7, 0.2, 0.1])
    action = rng.choice(3, len(current), p=chances)
    found = entropy(reference, replace(current, action=Names(action, ACTIONS), probability=chances[action]))
    assert found is not None
    truth = float(-(chances * np.log(chances)).sum())
    assert found.low < truth < found.high
    assert found.now == pytest.approx(truth, abs=0.03)
    assert not found.collapsed


def test_a_policy_that_tries_nothing_has_collapsed():
    reference, current = split(world(8))
    sure = replace(current, action=Names(np.ones(len(current), int), ACTIONS), probability=np.ones(len(current)))
    found = entropy(reference, sure)
    assert found is not None
    assert (found.collapsed, found.now, found.forced, found.explored) == (True, 0.0, 1.0, 0.0)
    assert found.dropped == ("red", "green")
    assert entropy(reference, sure.take(np.arange(100))) is None


def test_the_share_of_exploration_is_that_of_the_rarest_probabilities():
    reference, current = split(world(9, a_day=900))
    found = entropy(reference, current, floor=0.1 / 3)
    assert found is not None
    assert found.explored == pytest.approx(0.1 / 3, abs=0.01)  # green is taken by exploration alone
    assert not found.collapsed
    assert no_longer_taken(reference, current, 1e-6) == ()


# ------------------------------------------------------------------------------------------------------------- together


def test_no_reference_reaches_into_the_longest_stretch():
    seen = world(10)
    reference, current = stretches(seen, MONDAY + 21 * DAY, 1.0)
    assert reference.time.max() < MONDAY + 14 * DAY
    assert current.time.min() >= MONDAY + 20 * DAY


def test_a_large_fall_shows_in_one_day():
    seen = world(11, since=20, wrong=0.9, new=True, a_day=900)
    found = newest(seen, MONDAY + 21 * DAY)
    assert (found.degraded, found.cause) == (True, "policy")
    assert newest(world(11), MONDAY + 21 * DAY).cause is None


def test_findings_are_kinds_that_can_be_alerted_of():
    told = findings(world(12, wrong=1.0, sad=0.7, new=True, a_day=900), MONDAY + 21 * DAY, 0.0)
    assert {each.kind for each in told} >= {"context drift", "action drift"}
    assert any(each.kind.startswith("reward fell") for each in told)
    assert {each.kind for each in told} <= set(KINDS)
    assert {each.severity for each in told} <= set(SEVERITIES)
    assert findings(world(12, a_day=900), MONDAY + 21 * DAY, 0.0) == ()


# ------------------------------------------------------------------------------------------------ the injected world


def test_a_simulated_day_is_the_same_as_columns_and_as_rows_of_a_log():
    made = World("policy", 4).day(22)
    log = MemoryLog()
    log.append(*made.facts())
    end = made.end + 2 * DAY
    ours, read = (
        observe(recommendation(), each, 0, end) for each in (records([made]), log.read("recommendation", 0, end))
    )
    assert len(ours) == len(read) > 500
    assert ours.reward.tolist() == read.reward.tolist()
    assert ours.user.tolist() == read.user.tolist()
    assert list(ours.version) == list(read.version)
    assert set(read.variant) == {"live", "trial", "holdout"}
    assert read.probability.min() == pytest.approx(0.1 / 27)


def test_a_day_depends_on_nothing_but_what_acts_on_it():
    world = World("segment", 1)
    assert world.arms(world.begins - 1).live == "v1"
    assert world.arms(world.begins).live == "v2"
    one, again = (world.day(25, Arms()).columns for _ in range(2))
    assert one.action.tolist() == again.action.tolist()
    assert set(world.day(25, Arms()).versions) == {"v1", "none", "baseline"}
