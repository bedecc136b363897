"""The figures of the pages: each by hand, and beside the equations that they must agree with."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from math import inf, isnan, log, nan, sqrt
from typing import Any
from weakref import ref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondhu.dashboard.columns.remembering import KEPT, remembered
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures import cells, differences, regrets, series
from bondhu.dashboard.figures.series import DAY, HOUR, MINUTE, WEEK, bins
from bondhu.equations.intervals import student, t_quantile
from bondhu.experiments.effects import Looks, Metric, effect
from bondhu.experiments.exposures import Exposures
from bondhu.log.delays import learn, outstanding_reward
from bondhu.log.memory import MemoryLog
from bondhu.types import Feedback, Names
from tests.dashboard.rows import sheet
from tests.dashboard.test_sheets import decision
from tests.dashboard.test_sheets import sheet as read
from tests.service.shop import shop

EDGES = np.array([0.0, 60.0, 120.0])


def same(found: Any, wanted: Any) -> None:
    assert [pytest.approx(each, rel=1e-6, nan_ok=True) for each in wanted] == list(found)


# ----------------------------------------------------------------------------------------------------------------- time


def test_stretches_have_a_round_length_and_hold_all_of_the_time() -> None:
    found = bins(1_000_030.0, 1_000_000.0 + 90 * MINUTE)
    assert (found.step, len(found.edges)) == (5 * MINUTE, 20)
    assert found.edges[0] == 999_900.0
    assert found.edges[-1] > 1_000_000.0 + 90 * MINUTE
    assert bins(0.0, 0.0).edges.tolist() == [0.0, 60.0]
    assert bins(70.0, 50.0).edges.tolist() == [60.0, 120.0]  # a clock that went back


def test_weeks_begin_on_monday() -> None:
    start = datetime(2026, 7, 8, tzinfo=UTC).timestamp()
    found = bins(start, start + 100 * DAY)
    assert found.step == WEEK
    assert datetime.fromtimestamp(found.edges[0], UTC) == datetime(2026, 7, 6, tzinfo=UTC)


def test_decades_still_fit() -> None:
    found = bins(0.0, 60 * 365 * DAY)
    assert len(found.edges) <= 61
    assert found.step % WEEK == 0


@given(st.floats(0, 4e9), st.floats(0, 4e9), st.integers(2, 200))
def test_every_time_is_in_exactly_one_stretch(one: float, other: float, most: int) -> None:
    start, end = sorted((one, other))
    step, edges = bins(start, end, most)
    assert 1 <= len(edges) - 1 <= most
    assert edges[0] <= start
    assert end < edges[-1]
    assert np.diff(edges) == pytest.approx(step)
    for time in (start, end, (start + end) / 2):
        assert ((edges[:-1] <= time) & (time < edges[1:])).sum() == 1


def test_rates_are_by_the_minute_and_of_the_part_that_is_over() -> None:
    of = sheet(time=[0.0, 10.0, 59.0, 60.0, 119.0, 240.0], minutes=[0, 0, 1, 1, 1, 3])
    found = series.rates(of, np.array([0.0, 120.0, 240.0, 360.0]), 300.0)
    same(found.decisions, [2.5, 0.0, 1.0])  # 5 in 2 minutes, 0 in 2, 1 in 1 so far
    same(found.feedback, [2.5, 0.5, 0.0])
    assert series.rates(of, EDGES, 30.0).decisions.tolist() == [3.0, 2.0]  # never less than a minute


# -------------------------------------------------------------------------------------------------------------- rewards


def test_rewards_over_time_are_means_with_an_interval_by_persons() -> None:
    of = sheet(
        time=[1.0, 2.0, 3.0, 61.0, 62.0, 63.0, 64.0],
        user=["ann", "ann", "bob", "ann", "bob", "cid", "cid"],
        reward=[1.0, 0.0, 1.0, 0.0, 1.0, 1.0, nan],
        version=["v1", "v1", "v1", "v1", "v1", "v2", "v2"],
    )
    found = series.reward_over_time(of, EDGES, "version")
    assert list(found) == ["v1", "v2"]
    v1, v2 = found.values()
    assert (v1.people.tolist(), v1.decisions.tolist()) == ([2, 2], [3, 2])
    assert (v2.people.tolist(), v2.decisions.tolist()) == ([0, 1], [0, 1])
    same(v1.mean, [2 / 3, 1 / 2])
    same(v2.mean, [nan, 1.0])
    # ann's two are 1/3 away on the whole, bob's one is: sqrt(2 (1/9 + 1/9)) / 3
    error = sqrt(2 * 2 / 9) / 3
    assert v1.high[0] - v1.mean[0] == pytest.approx(t_quantile(0.975, 1) * error, rel=1e-6)
    low, high = student(np.array([0.0, 1.0]), 0.95)
    assert (v1.low[1], v1.high[1]) == (pytest.approx(low), pytest.approx(high))
    assert isnan(v2.low[1])
    assert isnan(v2.high[1])  # one person tells nothing of others


def test_groups_come_in_order_of_their_first_decision_and_unheard_ones_not_at_all() -> None:
    of = sheet(version=["v2", "v1", "v3"], reward=[1.0, 1.0, nan])
    assert list(series.overall(of)) == ["v2", "v1"]
    assert list(series.reward_over_time(of, EDGES)) == ["v2", "v1"]
    assert list(series.overall(of, None)) == [series.ALL]
    assert series.overall(of, None)[series.ALL].decisions == 2


def test_nothing_settled_is_no_group() -> None:
    of = sheet(reward=[nan, nan])
    assert series.overall(of) == {}
    assert series.reward_over_time(of, EDGES) == {}
    nothing = of.take(slice(0, 0))
    assert series.overall(nothing) == {}
    assert series.rates(nothing, EDGES).decisions.tolist() == [0.0, 0.0]


ROWS = st.lists(
    st.tuples(
        st.integers(0, 119), st.sampled_from("abcde"), st.integers(-3, 3), st.sampled_from(["v1", "v2"]), st.booleans()
    ),
    min_size=1,
    max_size=60,
)


def of_rows(rows: list[Any]) -> Sheet:
    rows = sorted(rows, key=lambda row: row[0])
    return sheet(
        time=[float(row[0]) for row in rows],
        user=[row[1] for row in rows],
        reward=[row[2] / 2 if row[4] else nan for row in rows],
        version=[row[3] for row in rows],
    )


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_means_and_intervals_are_those_of_the_equations(rows: list[Any]) -> None:
    of = of_rows(rows)
    known = np.isfinite(of.reward)
    for by, found in (("version", series.overall(of)), (None, series.overall(of, None))):
        for name, each in found.items():
            of_group = known & (series.column_of(of, by).among(name))
            terms, groups = of.reward[of_group].astype(float), of.user[of_group]
            assert (each.decisions, each.people) == (len(terms), len(np.unique(groups)))
            assert each.mean == pytest.approx(terms.mean(), abs=1e-9)
            if each.people > 1:
                low, high = student(terms, 0.95, groups)
                assert (each.low, each.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
            else:
                assert isnan(each.low)


@settings(max_examples=100, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_totals_agree_and_the_order_within_a_moment_does_not_matter(rows: list[Any], random: Any) -> None:
    of = of_rows(rows)
    tracks = series.reward_over_time(of, EDGES, "version")
    known = np.isfinite(of.reward)
    assert sum(int(each.decisions.sum()) for each in tracks.values()) == int(known.sum())
    total = sum(float(np.nansum(each.mean * each.decisions)) for each in tracks.values())
    assert total == pytest.approx(float(of.reward[known].sum()), abs=1e-6)
    assert series.rates(of, EDGES).decisions.sum() == len(of)
    random.shuffle(rows)
    again = series.reward_over_time(of_rows(rows), EDGES, "version")
    for name, each in tracks.items():
        for one, other in zip(each, again[name], strict=True):
            assert one == pytest.approx(other, nan_ok=True, abs=1e-9)


# -------------------------------------------------------------------------------------------------------- what is tried


def test_exploration_and_actions_by_stretch() -> None:
    of = sheet(
        time=[1.0, 2.0, 3.0, 4.0, 130.0],
        exploration=[0.1, 0.1, 0.3, 0.3, 0.05],
        action=["red", "blue", "blue", "green", "blue"],
    )
    edges = np.array([0.0, 60.0, 120.0, 180.0])
    same(series.exploration_rate(of, edges), [0.2, nan, 0.05])
    found = series.taken(of, edges)
    assert found.actions == ["red", "blue", "green"]
    same(found.share[:, 0], [0.25, 0.5, 0.25])
    same(found.share[:, 2], [0.0, 1.0, 0.0])
    assert np.isnan(found.share[:, 1]).all()
    same(found.entropy, [0.25 * log(4) * 2 + 0.5 * log(2), nan, 0.0])


# ------------------------------------------------------------------------------------------------------ what is to come


def test_what_is_outstanding_is_what_the_reward_join_expects_of_one_signal() -> None:
    log, now = MemoryLog(), 10 * DAY
    rng = np.random.default_rng(0)
    times = np.sort(rng.random(3000)) * now
    made = [decision(str(at), time, user=f"u{at}") for at, time in enumerate(times.tolist())]
    late = rng.exponential(6 * HOUR, 3000)
    liked = rng.random(3000) < 0.4
    said = [
        Feedback(str(at), str(at), "like", 1.0, times[at] + late[at])
        for at in np.flatnonzero(liked & (late < DAY) & (times + late <= now)).tolist()
    ]
    log.append(made, said)
    of = read(log, now=now)
    found = series.outstanding(of, DAY, now)
    records = log.read("shop", -np.inf, np.inf)
    young = ~of.settled
    assert found.decisions == int(young.sum()) > 200
    exact = outstanding_reward(shop().reward, learn(shop().reward, records, now), records, now, young)
    assert found.reward == pytest.approx(exact, rel=0.1)


def test_nothing_is_outstanding_of_what_is_settled_and_nobody_can_tell_where_nothing_is() -> None:
    assert series.outstanding(sheet(reward=[1.0, 0.0]), DAY, 100.0) == (0, 0.0)
    found = series.outstanding(sheet(reward=[nan, nan]), DAY, 100.0)
    assert found.decisions == 2
    assert isnan(found.reward)
    assert series.outstanding(sheet(reward=[1.0, nan]), DAY, 100.0) == (1, 0.0)  # nothing was ever heard


# ------------------------------------------------------------------------------------------------- better than the rule


def trial(seed: int, people: int, effect_: float, days: int = 20) -> Sheet:
    """People of whom a fifth always meet the rule, some decisions each, spread over the days."""
    rng = np.random.default_rng(seed)
    count = people * 5
    user = rng.integers(0, people, count)
    held = user % 5 == 0
    chance = 0.3 + 0.3 * np.random.default_rng(seed + 1).random(people)[user] + np.where(held, 0.0, effect_)
    return sheet(
        time=np.sort(rng.random(count)) * days * DAY,
        user=user.tolist(),
        variant=np.where(held, "holdout", "live").tolist(),
        reward=(rng.random(count) < chance).astype(float),
    )


def days_of(of: Sheet) -> Any:
    return bins(0.0, float(of.time[-1])).edges


def test_the_course_ends_where_the_exact_tool_does() -> None:
    of = trial(0, 400, 0.2)
    found = differences.against_rule(of, days_of(of))
    known = of.take(of.time >= max(of.time[of.variant.among(name).argmax()] for name in ("live", "holdout")))
    share = np.full(len(known), len(np.unique(known.user[known.variant.among("live")])) / len(np.unique(known.user)))
    exposures = Exposures(
        known.user, known.variant.among("live"), share, known.time, {"reward": known.reward.astype(float)}
    )
    exact = effect(exposures, Metric("reward"), Looks())
    assert found.value[-1] == pytest.approx(exact.value, rel=1e-5)
    assert found.low[-1] == pytest.approx(exact.always_low, rel=1e-3)
    assert found.high[-1] == pytest.approx(exact.always_high, rel=1e-3)
    assert found.treated[-1] == pytest.approx(exact.treated.mean, rel=1e-5)
    assert found.control[-1] == pytest.approx(exact.control.mean, rel=1e-5)
    assert found.people[-1].tolist() == [exact.treated.users, exact.control.users]
    assert found.refused == ""


def test_since_when_is_the_first_look_from_which_on_it_stays_above_nothing() -> None:
    of = trial(1, 1000, 0.12)
    found = differences.against_rule(of, np.arange(0.0, 20.1 * DAY, DAY / 8))
    assert found.since is not None
    later = found.time >= found.since
    assert (found.low[later] > 0).all()
    assert not found.low[~later][-1] > 0
    assert found.low[0] == -inf  # too few people on the first day
    assert (np.diff(found.people, axis=0) >= 0).all()
    assert differences.against_rule(of, days_of(of)).time[-1] == of.time[-1]  # the last stretch is not over


def test_without_an_effect_it_is_never_better() -> None:
    since = [differences.against_rule(of, days_of(of)).since for of in (trial(seed, 300, 0.0) for seed in range(20))]
    assert since == [None] * 20


def test_where_there_is_no_holdout_the_course_says_why() -> None:
    of = sheet(reward=[1.0, 0.0])
    found = differences.against_rule(of, EDGES)
    assert (len(found.time), found.since) == (0, None)
    assert found.refused == "There is no decision of the variant 'holdout'."
    waiting = sheet(variant=["live", "holdout"], reward=[1.0, nan])
    assert "settled" in differences.against_rule(waiting, EDGES).refused


# ------------------------------------------------------------------------------------------------------------- segments


def moods(seed: int, people: int, held: float, loss: float = 0.0) -> Sheet:
    """People of six moods who earn 1 in 95 % of three decisions each; where something was learned, sad ones less."""
    rng = np.random.default_rng(seed)
    count = people * 3
    user, mood, outside = np.arange(count) % people, rng.integers(0, 6, people), rng.random(people) < held
    chance = 0.95 - loss * ((mood[user] == 0) & ~outside[user])
    return sheet(
        time=np.sort(rng.random(count)) * 20 * DAY,
        user=user.tolist(),
        variant=np.where(outside[user], "holdout", "live").tolist(),
        reward=(rng.random(count) < chance).astype(float),
        context={"mood": [("sad", "calm", "wild", "odd", "new", "old")[each] for each in mood[user]]},
    )


def accused(of: Sheet, together: Looks) -> list[str]:
    return [each.value for each in differences.segments(of, "mood", looks=together) if each.high < 0]


SIX = Looks(confidence=1 - 0.05 / 6)


@pytest.mark.parametrize("held", [0.05, 0.2])
def test_segments_in_which_nothing_differs_are_not_accused_however_often_one_looks(held: float) -> None:
    worlds = [moods(seed, 1_000, held) for seed in range(60)]
    looks = [[accused(of.between(0.0, day * DAY), SIX) for day in range(1, 21, 2)] for of in worlds]
    assert sum(any(each) for each in looks) <= 3  # of 60


def test_a_segment_that_loses_is_found() -> None:
    assert [accused(moods(seed, 1_200, 0.2, 0.5), SIX) for seed in range(10)] == [["sad"]] * 10


def test_few_people_who_all_earn_the_same_accuse_nobody() -> None:
    few = sheet(
        user=[*range(100), 200, 201, 202],
        variant=["holdout", *["live"] * 99, "holdout", "holdout", "holdout"],
        context={"mood": ["sad"] * 103},
        reward=[1.0, *[1.0, 0.0, 0.0] * 33, 1.0, 1.0, 1.0],
    )
    (sad,) = differences.segments(few, "mood")
    assert (sad.people, sad.decisions, sad.told) == ((99, 3), (99, 3), False)
    assert (sad.low, sad.high) == (-inf, inf)
    assert sad.difference == pytest.approx(-2 / 3)


def test_a_segment_alone_is_told_what_the_whole_is_told() -> None:
    of = trial(0, 400, 0.2)
    alone = sheet(**{name: getattr(of, name) for name in ("time", "reward")}, user=of.user.tolist(),
                  variant=list(of.variant), context={"mood": ["sad"] * len(of)})  # fmt: skip
    (sad,) = differences.segments(alone, "mood")
    whole = differences.against_rule(of, days_of(of))
    same((sad.difference, sad.low, sad.high), [whole.value[-1], whole.low[-1], whole.high[-1]])
    assert list(sad.people) == whole.people[-1].tolist()


def test_where_nothing_varies_on_either_side_people_vary_as_both_do_together() -> None:
    variants = ["live", "holdout"] * 40
    of = sheet(variant=variants, reward=[float(each == "holdout") for each in variants],
               context={"mood": ["sad"] * 80})  # fmt: skip
    (sad,) = differences.segments(of, "mood")
    assert (sad.difference, sad.high < 0) == (-1.0, True)
    same_ = sheet(variant=variants, reward=[1.0] * 80, context={"mood": ["sad"] * 80})
    assert not differences.segments(same_, "mood")[0].told


def test_without_a_holdout_there_are_no_segments() -> None:
    assert differences.segments(sheet(reward=[1.0], context={"mood": ["sad"]}), "mood") == []


# --------------------------------------------------------------------------------------------------------------- regret


def played(count: int = 400, **changes: Any) -> Sheet:
    """Blue earns 1 in half of the cases, red always 0.25; red is taken in a quarter of them, whatever it is."""
    rows = range(count)
    plain = {
        "action": ["red" if row % 4 == 0 else "blue" for row in rows],
        "probability": [0.25 if row % 4 == 0 else 0.75 for row in rows],
        "reward": [0.25 if row % 4 == 0 else float(row % 4 == 1 or (row % 4 == 3 and row % 8 == 3)) for row in rows],
    }
    return sheet(**{**plain, **changes})


def test_regret_is_counted_against_the_best_fixed_action() -> None:
    of = played()
    found = regrets.regret(of, np.array([0.0, 200.0, 400.0]))
    assert (found.best, found.refused) == ("blue", {})
    assert found.values["blue"].mean == pytest.approx(0.5)
    assert found.values["red"].mean == pytest.approx(0.25)
    mean = float(of.reward.mean())
    same(found.total, [200 * (0.5 - of.reward[:200].mean()), 400 * (0.5 - mean)])
    same(found.each, [0.5 - of.reward[:200].mean(), 0.5 - of.reward[200:].mean()])
    assert found.decisions.tolist() == [200, 200]
    assert found.low[1] < found.total[1] < found.high[1]
    half = found.values["blue"].high - 0.5
    assert found.high[1] - found.total[1] == pytest.approx(400 * half, rel=1e-6)


def test_values_are_weighted_by_the_inverse_probability() -> None:
    of = sheet(
        action=["blue"] * 60 + ["red"] * 60,
        probability=[0.25, 0.75] * 60,
        reward=[1.0, 0.0] * 60,
    )
    found = regrets.regret(of, np.array([0.0, 120.0]))
    assert found.values["blue"].mean == pytest.approx((1 / 0.25) / (1 / 0.25 + 1 / 0.75))


def test_an_action_that_is_hardly_known_is_refused() -> None:
    of = played(action=["green" if row == 1 else "red" if row % 4 == 0 else "blue" for row in range(400)])
    found = regrets.regret(of, np.array([0.0, 400.0]))
    assert set(found.values) == {"red", "blue"}
    assert found.refused["green"] == "It is known from 1 effective decisions; 30 are needed."


def test_an_action_that_was_impossible_in_some_situations_is_refused() -> None:
    rows = range(400)
    of = sheet(
        action=["red" if row % 2 else "blue" for row in rows],
        probability=[1.0] * 400,  # no exploration: what the other would have brought nobody knows
        reward=[0.5] * 400,
    )
    found = regrets.regret(of, np.array([0.0, 400.0]))
    assert (found.best, found.values) == ("", {})
    assert set(found.refused.values()) == {"It could be taken in about 50 % of the decisions only."}
    assert np.isnan(found.total).all()


def test_regret_of_nothing_is_nothing() -> None:
    found = regrets.regret(sheet(reward=[nan, nan]), EDGES)
    assert (found.best, found.decisions.tolist()) == ("", [0, 0])
    assert np.isnan(found.total).all()


# ---------------------------------------------------------------------------------------------------------------- cells


def fields() -> Sheet:
    return sheet(
        context={"mood": ["sad", "sad", "calm", "calm", "sad"], "day": ["mo", "tu", "mo", "mo", "mo"]},
        action=["red", "red", "blue", "red", "red"],
        user=["ann", "bob", "ann", "bob", "cid"],
        reward=[1.0, 0.0, 1.0, nan, 0.0],
    )


def test_coverage_counts_and_values_each_pair_of_two_fields() -> None:
    found = cells.coverage(fields(), "mood", "day")
    assert (found.rows, found.columns) == (["sad", "calm"], ["mo", "tu"])
    assert found.decisions.tolist() == [[2, 1], [2, 0]]
    assert found.settled.tolist() == [[2, 1], [1, 0]]
    assert found.people.tolist() == [[2, 1], [1, 0]]
    same(found.mean.ravel(), [0.5, 0.0, 1.0, nan])
    low, high = student(np.array([1.0, 0.0]), 0.95)
    assert (found.low[0, 0], found.high[0, 0]) == (pytest.approx(low), pytest.approx(high))
    assert np.isnan(found.low.ravel()[1:]).all()


def test_coverage_by_action_and_within_a_value_of_another_field() -> None:
    found = cells.coverage(fields(), "mood", "action", {"day": "mo"})
    assert (found.rows, found.columns) == (["sad", "calm"], ["red", "blue"])
    assert found.decisions.tolist() == [[2, 0], [1, 1]]
    assert cells.coverage(fields(), "mood", "action", {"day": "never"}).decisions.sum() == 0


def test_decisions_with_given_values_are_a_sheet_of_their_own() -> None:
    of = fields()
    found = cells.narrowed(of, {"mood": "sad", "action": "red"})
    assert found.time.tolist() == [0.0, 1.0, 4.0]
    assert cells.narrowed(of, {"action": "red", "mood": "sad"}) is found
    assert cells.narrowed(of, {}) is of
    assert len(cells.narrowed(of, {"mood": "<script>"})) == 0


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_cells_add_up_to_the_sheet(rows: list[Any]) -> None:
    of = of_rows(rows)
    of = sheet(
        time=of.time, reward=of.reward, user=of.user.tolist(), version=list(of.version),
        context={"half": ["early" if time < 60 else "late" for time in of.time.tolist()]},
    )  # fmt: skip
    found = cells.coverage(of, "half", "version")
    assert found.decisions.sum() == len(of)
    assert found.settled.sum() == np.isfinite(of.reward).sum()
    total = float(np.nansum(found.mean * found.settled))
    assert total == pytest.approx(float(np.nansum(of.reward)), abs=1e-6)
    by_version = series.overall(of, "version")
    assert {name: each.decisions for name, each in by_version.items()} == {
        name: count for name, count in zip(found.columns, found.settled.sum(axis=0).tolist(), strict=True) if count
    }


# ---------------------------------------------------------------------------------------------------------- remembering


def test_a_figure_of_a_sheet_is_computed_once_and_forgotten_with_it() -> None:
    asked: list[Any] = []

    @remembered
    def figure(of: Sheet, what: Any, more: Any = None) -> int:
        asked.append(what)
        return len(of)

    one, other = sheet(reward=[1.0]), sheet(reward=[1.0, 2.0])
    assert [figure(one, "a"), figure(other, "a"), figure(one, "a"), figure(one, "a", more=1)] == [1, 2, 1, 1]
    assert len(asked) == 3
    figure(one, np.array([1.0, 2.0]))
    figure(one, np.array([1.0, 2.0]))
    figure(one, {"b": 1, "a": 2})
    figure(one, {"a": 2, "b": 1})
    assert len(asked) == 5
    gone = ref(other)
    del other
    gc.collect()
    assert gone() is None


def test_only_so_many_figures_of_a_sheet_are_remembered() -> None:
    asked: list[int] = []

    @remembered
    def figure(_: Sheet, what: int) -> int:
        asked.append(what)
        return what

    of = sheet(reward=[1.0])
    for what in range(KEPT + 1):
        figure(of, what)
    figure(of, KEPT)
    figure(of, 0)
    assert (len(asked), asked[-1]) == (KEPT + 2, 0)


def test_names_are_told_apart_whatever_they_hold() -> None:
    names = ["<b>", "x" * 10_000, "\u202e", "🙈", ""]
    of = sheet(version=names, reward=[1.0] * 5)
    assert list(series.overall(of)) == names
    assert isinstance(of.version, Names)
