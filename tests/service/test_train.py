"""Training on a real log: what each run reads, what it starts from, what it books, and on whom it is judged."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.app import App
from bondhu.errors import InvalidInput, StateCorrupt
from bondhu.log.memory import MemoryLog
from bondhu.ports import Event, Version
from bondhu.serve.decide import Request
from bondhu.train.window import DAY, Window, held_out, next_window, parent_ids, people
from bondhu.types import Decision
from tests.service.stand import HOUR, NOW, Clock, log, opened

# The monitoring queries as published; SQLite writes `x::float` as `CAST(x AS REAL)`.
STATISTICS = """
SELECT
  executed_at,
  users_processed,
  records_processed,
  metadata->'training'->>'average_reward' as avg_reward,
  metadata->'training'->>'agent_stats' as agent_stats
FROM system_tasks
WHERE task_name = 'rl_training'
ORDER BY executed_at DESC
LIMIT 5;
"""
PROGRESS = """
SELECT
  DATE(executed_at) as training_date,
  AVG(CAST(metadata->'training'->>'average_reward' AS REAL)) as avg_reward,
  SUM(CAST(metadata->'training'->>'users_trained' AS INTEGER)) as total_users
FROM system_tasks
WHERE task_name = 'rl_training'
  AND status = 'completed'
GROUP BY DATE(executed_at)
ORDER BY training_date DESC;
"""
PEOPLE = [f"person-{number}" for number in range(200)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(tmp_path: Path, clock: Clock) -> App:
    return opened(tmp_path, clock)


def value(app: App, version: str, action: int = 1) -> float:
    """Q of the only state that `log` visits, for blue unless asked otherwise."""
    values = app.deployment.registry.load(version).state["values"]
    return float(values[np.flatnonzero(values.any(axis=1))[0], action])


def trained(app: App) -> str:
    version = app.train().trained.version
    assert version is not None
    return version.id


# ------------------------------------------------------------------------------------------------------------- windows


def test_a_second_training_right_away_learns_nothing_and_is_skipped(app: App) -> None:
    log(app, ["ann"], 6)
    first = app.train()
    again = app.train()
    assert first.trained.report.rows == 6
    assert (again.trained.version, again.judgement, again.trained.report.rows) == (None, None, 0)
    assert [task.status for task in app.tasks.recent("rl_training", 5)] == ["skipped", "completed"]
    assert len(app.versions()) == 1


def test_outstanding_decisions_are_learned_by_a_later_training_and_each_once(app: App, clock: Clock) -> None:
    log(app, ["ann"], 5, actions=["blue"])
    log(app, ["ben"], 3, ago=HOUR / 2, actions=["blue"])  # the wait of an hour is not over
    first = app.train().trained
    assert (first.report.rows, first.report.outstanding) == (5, 3)
    clock.now += HOUR
    second = app.train().trained
    assert (second.report.rows, second.report.outstanding) == (3, 0)
    clock.now += HOUR
    assert app.train().trained.version is None
    assert second.version is not None
    assert second.version.notes["interactions"] == 8
    assert second.version.state["visits"].sum() == 8


def test_a_training_goes_on_from_its_parents_values(app: App, clock: Clock) -> None:
    log(app, ["ann"], 5, actions=["blue"])
    first = trained(app)
    assert value(app, first) == pytest.approx(1 - 0.9**5)
    clock.now += HOUR
    log(app, ["ben"], 3, ago=HOUR + 60, actions=["blue"])
    second = app.train().trained.version
    assert second is not None
    assert second.parent == first
    assert value(app, second.id) == pytest.approx(1 - 0.9**8)
    assert value(app, first) == pytest.approx(1 - 0.9**5)  # what is stored stays as it is


def test_from_scratch_reads_the_whole_log_and_has_no_parent(app: App, clock: Clock) -> None:
    log(app, ["old"], 4, ago=30 * DAY, actions=["blue"])
    log(app, ["ann"], 5, actions=["blue"])
    first = app.train().trained
    assert first.report.rows == 5  # of the last seven days
    clock.now += HOUR
    whole = app.train(replace(app.plan(), from_scratch=True)).trained
    assert whole.version is not None
    assert (whole.report.rows, whole.version.parent, whole.version.notes["interactions"]) == (9, None, 9)
    assert value(app, whole.version.id) == pytest.approx(1 - 0.9**9)


def test_other_bins_start_afresh_on_the_last_days(app: App, clock: Clock, tmp_path: Path) -> None:
    log(app, ["ann"], 5, actions=["blue"])
    first = trained(app)
    clock.now += HOUR
    coarser = opened(tmp_path, clock, context={"age": {"bins": 3}})
    fresh = coarser.train().trained
    assert fresh.version is not None
    assert (fresh.version.parent, fresh.report.rows) == (None, 5)
    assert fresh.version.state["values"].shape == (2 * 3, 3)
    assert coarser.deployment.registry.load(first).state["values"].shape == (2 * 5, 3)


def test_a_new_action_starts_afresh_beside_the_others(app: App, clock: Clock, tmp_path: Path) -> None:
    log(app, ["ann"], 5, actions=["blue"])
    first = trained(app)
    clock.now += HOUR
    log(app, ["ben"], 1, ago=HOUR + 60, actions=["blue"])
    wider = opened(tmp_path, clock, actions={"names": ["blue", "white", "red"]})
    second = wider.train().trained.version
    assert second is not None
    assert second.parent == first
    values = second.state["values"][second.state["visits"].any(axis=1)]
    assert values.tolist() == [pytest.approx([1 - 0.9**6, 0.0, 0.0])]
    assert second.state["best"].max() == pytest.approx(1 - 0.9**6)
    other = opened(tmp_path, clock, actions={"names": ["black", "white"]})
    assert other.train(replace(other.plan(), days_back=1)).trained.version is None


def test_a_live_version_acts_among_the_actions_declared_now(app: App, clock: Clock, tmp_path: Path) -> None:
    log(app, ["ann"], 6, actions=["blue"])
    log(app, ["ben"], 6, actions=["red"], worth={"red": 0.5})
    app.promote(trained(app), reason="test")
    context = {"mood": "happy", "age": 30}
    one = app.decider()
    before = one.decide(Request(context))
    assert before.action == "blue"
    now = opened(tmp_path, clock, actions={"names": ["white", "red"]}, exploration={"rate": 0.0})
    decider = now.decider()
    assert decider.decide(Request(context)).action == "red"  # blue, the best, is gone; white is new
    only = decider.decide(Request(context, allowed=["white"]))
    assert (only.action, only.probability) == ("white", 1.0)
    assert [each.action for each in decider.explain(only.id).candidates] == ["white"]
    assert decider.explain(before.id).replayed  # decided again as it was trained


def test_a_candidate_with_a_new_action_is_judged_against_the_live_version(tmp_path: Path, clock: Clock) -> None:
    few = {"minimum_interactions": 100, "minimum_effective_samples": 50}
    narrow = opened(tmp_path, clock, training={"holdout": 0.5}, release=AT_ONCE, gate=few,
                    actions={"names": ["red", "green"]})  # fmt: skip
    log(narrow, PEOPLE, 6, actions=["red", "green"], worth={"red": 0.9})
    assert narrow.train().release
    clock.now += 2 * HOUR
    wide = opened(tmp_path, clock, training={"holdout": 0.5}, release=AT_ONCE, gate=few)
    log(wide, PEOPLE, 6, ago=HOUR + 600)
    run = wide.train()
    assert run.judgement is not None
    assert run.judgement.live["dr"].value == pytest.approx(0.0, abs=0.02)  # it takes red, that nobody likes now
    assert run.release.move.kind == "promoted"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"name": "bandit.fourier_ridge", "fourier": 16}, {"name": "bandit.fourier_ridge", "fourier": 8}),
        ({"name": "bandit.bagged_regression", "members": 3}, {"name": "bandit.bagged_regression", "members": 5}),
        ({"name": "bandit.logistic_thompson", "diagonal": True}, {"name": "bandit.logistic_thompson"}),
    ],
)
def test_a_state_of_another_shape_is_left_behind(
    tmp_path: Path, clock: Clock, before: dict[str, Any], after: dict[str, Any]
) -> None:
    first = opened(tmp_path, clock, learner=before)
    log(first, ["ann"], 6)
    trained(first)
    clock.now += HOUR
    second = opened(tmp_path, clock, learner=after)
    log(second, ["ben"], 6, ago=HOUR + 60)
    version = second.train().trained.version
    assert version is not None
    assert version.parent is None
    assert version.notes["interactions"] == 12  # of the last days, not only what the parent had not seen
    assert second.acting(version.id).policy is not None


def test_a_version_that_cannot_act_is_not_stored(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock, learner={"name": "bandit.lin_ucb", "exploration": {"name": "bagging"}},
                 exploration={"learner": True})  # fmt: skip
    log(app, ["ann"], 6)
    with pytest.raises(InvalidInput, match="draws"):
        app.train()
    assert app.versions() == []


def test_versions_act_with_the_learners_own_exploration_where_asked_to(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock, exploration={"rate": 0.0, "learner": True})
    log(app, ["ann"], 4)
    explored = app.acting(trained(app))
    allowed, here = np.ones((1, 3), bool), explored.encoder.one({"mood": "happy", "age": 30})[None]
    epsilon = 0.3 * 0.995**4
    assert explored.policy.distribution(here, allowed).min() == pytest.approx(epsilon / 3)
    clock.now += HOUR
    quiet = opened(tmp_path, clock)
    assert quiet.acting(app.versions()[0]).policy.distribution(here, allowed).min() == pytest.approx(epsilon / 3)


def test_a_window_starts_where_the_parents_ended_but_not_before_the_days_asked_for() -> None:
    def parent(end: float) -> Version:
        return Version("v", "shop", "x", {}, {}, {}, 0.0, notes={"window_end": end})

    assert next_window(None, NOW, 7) == Window(NOW - 7 * DAY, NOW)
    assert next_window(parent(NOW - DAY), NOW, 7) == Window(NOW - DAY, NOW)
    assert next_window(parent(NOW - 9 * DAY), NOW, 7) == Window(NOW - 7 * DAY, NOW)


def test_after_a_rollback_learning_goes_on_from_the_version_in_force(app: App, clock: Clock) -> None:
    log(app, ["ann"], 5, actions=["blue"])
    first = trained(app)
    app.promote(first, reason="test")
    clock.now += HOUR
    log(app, ["ben"], 3, ago=HOUR + 60, actions=["red"])
    second = trained(app)
    app.promote(second, reason="test")
    assert app.rollback(reason="worse") == first
    clock.now += HOUR
    third = app.train().trained
    assert third.version is not None
    assert (third.version.parent, third.report.rows) == (first, 3)  # what only the second had learned is read again
    assert app.live() == first


def test_after_a_rollback_to_the_baseline_learning_starts_afresh() -> None:
    def event(kind: str, version: str) -> Event:
        return Event(0.0, kind, version, "", {})

    events = [event("added", "v1"), event("promoted", "v1"), event("added", "v2")]
    assert parent_ids([]) == []
    assert parent_ids(events) == ["v2", "v1"]
    assert parent_ids([*events, event("rolled_back", "baseline")]) == []
    assert parent_ids([*events, event("rolled_back", "v1")]) == ["v1"]
    assert parent_ids([*events, event("rolled_back", "v1"), event("added", "v3")]) == ["v3", "v2", "v1"]
    stopped = [*events, event("stopped", "baseline"), event("promoted", "v1")]
    assert parent_ids(stopped) == ["v1"]  # what was put in force again is learned on from
    assert parent_ids([*events, event("promoted", "v2"), event("promoted", "v1")]) == ["v1"]


# -------------------------------------------------------------------------------------------------------------- people


def test_people_kept_back_are_never_trained_on_and_the_only_ones_judged_on(tmp_path: Path) -> None:
    app = opened(tmp_path, training={"holdout": 0.3})
    kept = held_out(PEOPLE, 0.3)
    ages = {True: 5, False: 95}  # one state for the people kept back, another for the rest
    for back in (True, False):
        people = [person for person, out in zip(PEOPLE, kept, strict=True) if out == back]
        log(app, people, 3, context={"mood": "sad", "age": ages[back]})
    run = app.train()
    assert run.trained.version is not None
    assert run.judgement is not None
    visits = run.trained.version.state["visits"].reshape(2, 5, 3)
    assert visits[1, 4].sum() == 3 * int((~kept).sum())
    assert visits.sum() == visits[1, 4].sum()
    assert run.judgement.report.rows == 3 * int(kept.sum())
    assert run.judgement.held_out == 0.3


def test_who_is_kept_back_depends_on_the_name_alone() -> None:
    many = [f"user-{number}" for number in range(20_000)]
    kept = held_out(many, 0.2)
    assert abs(kept.mean() - 0.2) < 0.01
    np.testing.assert_array_equal(held_out(many[::-1], 0.2), kept[::-1])
    assert (held_out(many, 0.3) >= kept).all()  # a smaller share is part of a larger one
    assert not held_out(many, 0.0).any()


def test_judging_uses_the_smallest_share_that_anything_learned_from_kept_back(tmp_path: Path, clock: Clock) -> None:
    log(opened(tmp_path, clock, training={"holdout": 0.2}), PEOPLE, 3)
    opened(tmp_path, clock, training={"holdout": 0.2}).train()
    clock.now += HOUR
    later = opened(tmp_path, clock, training={"holdout": 0.5})
    log(later, PEOPLE, 3, ago=HOUR + 60)
    run = later.train()
    assert run.judgement is not None
    assert run.judgement.held_out == 0.2
    assert run.judgement.report.rows == 3 * int(held_out(PEOPLE, 0.2).sum())
    assert later.evaluate(window=Window(-math.inf, clock.now)).report.rows == 6 * int(held_out(PEOPLE, 0.2).sum())


def test_users_with_too_few_interactions_are_left_out(tmp_path: Path) -> None:
    app = opened(tmp_path, training={"min_interactions_per_user": 5})
    log(app, ["ann"], 5)
    log(app, ["ben"], 4)
    report = app.train().trained.report
    assert (report.rows, report.users, report.too_few) == (5, 1, 4)


# ---------------------------------------------------------------------------------------------------------- the books


def rows(app: App, query: str) -> list[Any]:
    with sqlite3.connect(app.settings.path(app.settings.store.log)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def booked(app: App, clock: Clock) -> App:
    """Two trainings on Wednesday, one on Thursday, one that found nothing."""
    log(app, ["ann", "ben"], 6, worth={"blue": 1.0})  # average 1/3
    app.train()
    clock.now += HOUR
    log(app, ["cid"], 4, ago=HOUR + 60, actions=["blue"])  # average 1
    app.train()
    clock.now += DAY
    log(app, ["dot", "eva", "fay"], 2, actions=["red"])  # average 0
    app.train()
    clock.now += HOUR
    app.train()
    return app


def test_the_row_of_a_training_has_the_published_columns_and_metadata(booked: App) -> None:
    columns = [column for _, column, *_ in rows(booked, "PRAGMA table_info(system_tasks)")]
    published = {"task_name", "executed_at", "status", "users_processed", "records_processed", "metadata"}
    assert published <= set(columns)
    newest, dot, cid, ann = booked.tasks.recent("rl_training", 10)
    assert [task.status for task in (newest, dot, cid, ann)] == ["skipped", "completed", "completed", "completed"]
    assert [(task.users_processed, task.records_processed) for task in (dot, cid, ann)] == [(3, 6), (1, 4), (2, 12)]
    assert ann.executed_at == pytest.approx(NOW)
    training = ann.metadata["training"]
    assert training["average_reward"] == pytest.approx(1 / 3)
    assert training["users_trained"] == 2
    assert training["version"] == booked.versions()[0]
    assert (training["agent_stats"]["total_states"], training["agent_stats"]["total_state_actions"]) == (1, 3)
    assert training["agent_stats"]["max_q_value"] == pytest.approx(1 - 0.9**4)
    assert "verdict" not in training  # nobody is kept back here
    assert newest.metadata["training"]["average_reward"] is None
    assert all(task.error is None and task.duration_seconds > 0 for task in (newest, dot, cid, ann))


def test_the_published_queries_answer_with_the_right_numbers(booked: App) -> None:
    statistics = rows(booked, STATISTICS)
    assert [row[1:3] for row in statistics] == [(0, 0), (3, 6), (1, 4), (2, 12)]
    assert [row[3] for row in statistics] == [None, 0.0, 1.0, pytest.approx(1 / 3)]
    assert datetime.fromisoformat(statistics[-1][0]) == datetime.fromtimestamp(NOW, UTC)
    assert '"total_states":1' in statistics[1][4]
    assert rows(booked, PROGRESS) == [("2026-11-19", 0.0, 3), ("2026-11-18", pytest.approx((1 / 3 + 1) / 2), 3)]


def test_a_training_that_fails_leaves_its_reason_and_nothing_else(app: App, clock: Clock) -> None:
    log(app, ["ann"], 6)
    first = trained(app)
    home = app.settings.path(app.settings.store.registry) / "shop" / first
    for file in home.iterdir():
        file.write_bytes(b"damaged")
    clock.now += HOUR
    log(app, ["ben"], 6, ago=HOUR + 60)
    with pytest.raises(StateCorrupt, match=r"bondhu train --from-scratch"):
        app.train()
    task = app.tasks.recent("rl_training", 1)[0]
    assert (task.status, task.users_processed, task.records_processed) == ("failed", 0, 0)
    assert task.error is not None
    assert first in task.error
    assert task.metadata == {"training": {}}
    assert app.versions() == [first]


def test_a_damaged_parent_can_be_left_behind(app: App, clock: Clock) -> None:
    log(app, ["ann"], 6)
    first = trained(app)
    for file in (app.settings.path(app.settings.store.registry) / "shop" / first).iterdir():
        file.write_bytes(b"damaged")
    clock.now += HOUR
    assert app.train(replace(app.plan(), from_scratch=True)).trained.report.rows == 6
    assert len(app.versions()) == 2


# ------------------------------------------------------------------------------------------------------------- judging

FEW = {"minimum_interactions": 100, "minimum_effective_samples": 50}
AT_ONCE = {"automatic": True, "shadow": False, "steps": []}


def test_a_candidate_that_is_better_by_construction_is_promoted(tmp_path: Path) -> None:
    app = opened(tmp_path, training={"holdout": 0.5}, release=AT_ONCE, gate=FEW)
    log(app, PEOPLE, 6)
    run = app.train()
    assert run.judgement is not None
    assert run.judgement.verdict.decision == "promote"
    for name in ("ips", "snips", "dr"):
        assert run.judgement.candidate[name].value == pytest.approx(1.0, abs=1e-3)  # blue, always liked
        assert run.judgement.live[name].value == pytest.approx(1 / 3, abs=1e-3)  # the rule draws any of three
    assert run.judgement.verdict.figures["advantage_value"] == pytest.approx(2 / 3, abs=1e-3)
    assert run.release.move.kind == "promoted"
    assert run.trained.version is not None
    assert app.live() == run.trained.version.id
    assert app.deployment.registry.events("shop")[-1].reason.startswith("It passed the gate.")


def test_a_candidate_waits_for_an_operator_where_nothing_is_promoted_by_itself(tmp_path: Path) -> None:
    app = opened(tmp_path, training={"holdout": 0.5}, gate=FEW)
    log(app, PEOPLE, 6)
    run = app.train()
    assert run.judgement is not None
    assert (run.judgement.verdict.decision, run.release, app.live()) == ("promote", None, None)


def test_a_candidate_that_is_worse_by_construction_is_refused(tmp_path: Path, clock: Clock) -> None:
    app = opened(tmp_path, clock, training={"holdout": 0.5}, release=AT_ONCE, gate=FEW)
    log(app, PEOPLE, 6, ago=2 * DAY, worth={"red": 1.0})
    first = trained(app)
    assert app.live() == first
    clock.now += DAY
    log(app, PEOPLE, 6, worth={"blue": 1.0, "red": 0.1})  # tastes have changed
    judgement = app.evaluate(first, against="baseline", window=Window(clock.now - DAY, clock.now))
    assert judgement.verdict.decision == "refuse"
    assert judgement.candidate["ips"].value == pytest.approx(0.1)
    assert judgement.live["ips"].value == pytest.approx(1.1 / 3)
    assert any("Average reward" in reason and "below 0.3" in reason for reason in judgement.verdict.reasons)


def test_without_exploration_a_candidate_is_refused_with_the_reason(tmp_path: Path) -> None:
    app = opened(tmp_path, training={"holdout": 0.5}, gate=FEW, reward={"signals": {"like": 1.0}})
    log(app, PEOPLE, 6, actions=["red"], worth={})  # one action, with probability 1
    run = app.train()
    assert run.judgement is not None
    assert run.judgement.verdict.decision == "refuse"
    refused = run.judgement.live["ips"].refused
    assert refused is not None
    assert "no exploration" in refused
    assert any("no exploration" in reason for reason in run.judgement.verdict.reasons)


def test_the_live_version_itself_is_compared_with_what_it_replaced(app: App, clock: Clock) -> None:
    assert app.opponent("baseline") == "baseline"
    log(app, ["ann"], 6)
    first = trained(app)
    assert app.opponent(first) == "baseline"
    app.promote(first, reason="test")
    assert app.opponent(first) == "baseline"
    clock.now += HOUR
    log(app, ["ben"], 6, ago=HOUR + 60)
    second = trained(app)
    assert app.opponent(second) == first


@pytest.mark.parametrize(
    ("change", "context", "reason"),
    [
        (
            {"context": {"mood": {"values": ["happy", "sad", "calm"]}}},
            {"mood": "calm", "age": 30},
            "Field 'mood' got 'calm', which is not in its list",
        ),
    ],
)
def test_a_live_version_of_another_declaration_does_not_stop_training(
    tmp_path: Path, clock: Clock, change: dict[str, Any], context: dict[str, Any], reason: str
) -> None:
    before = opened(tmp_path, clock, training={"holdout": 0.5})
    log(before, PEOPLE[:20], 6)
    live = trained(before)
    before.promote(live, reason="test")
    clock.now += HOUR
    after = opened(tmp_path, clock, training={"holdout": 0.5}, **change)
    log(after, PEOPLE[20:40], 6, ago=HOUR + 60, context=context, actions=["red", "blue"])
    run = after.train()
    assert run.judgement is not None
    refused = run.judgement.live["dr"].refused
    assert refused is not None
    assert reason in refused
    assert run.judgement.verdict.decision != "promote"
    assert (run.release, after.live()) == (None, live)


def test_a_session_that_begins_anonymously_is_held_out_whole() -> None:
    log = MemoryLog()
    for number, user in enumerate((None, "ada", "ada")):
        context, names = {"page": "home"}, ("red", "blue")
        made = Decision(f"d{number}", "shop", "s", user, float(number), context, names, "red", 0.5, (), "v", "live")
        log.append([made])
    assert people(log.read("shop", 0, 10)) == ["s", "s", "s"]
