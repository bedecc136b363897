"""Feedback that is late or still to come, and the parts of a vector reward, joined from a log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import MultiDiscrete

from bondhu.domains.declared import DeclaredDomain, from_description, from_table
from bondhu.errors import SettingsInvalid
from bondhu.log.join import Joined, join, read_window
from bondhu.log.memory import MemoryLog
from bondhu.types import SESSION_END, Decision, Feedback

DAY, HOUR = 86_400.0, 3_600.0
NOW = 100 * DAY


def domain(idle: float = 0.0, **reward: Any) -> DeclaredDomain:
    return from_table(
        {
            "domain": {"name": "shop", "idle": idle},
            "context": {"x": {"kind": "number", "range": [0, 1]}},
            "actions": {"energy": ["low", "high"], "novelty": ["old", "new"]},
            "reward": {"wait": HOUR, "signals": {"like": 1.0, "bought": 2.0}, **reward},
        }
    )


def decision(number: int, time: float, action: str, session: str | None = None) -> Decision:
    identity = f"d{number}"
    allowed = ("low/old", "low/new", "high/old", "high/new")
    head = (identity, "shop", session or identity, "u", time, {"x": 0.5})
    return Decision(*head, allowed, action, 0.25, (), "v", "live")


def joined(problem: DeclaredDomain, log: MemoryLog, start: float, end: float) -> Joined:
    return join(problem, read_window(problem, log, start, end), start=start, end=end, observes=MultiDiscrete)


def slow_buyers(days: float) -> tuple[MemoryLog, float]:
    """Action low/old is liked within minutes (worth 0.2 on average), low/new is bought within days (worth 0.5).

    Decisions are made evenly over the last `days`; only what was said before NOW is logged. Returns what is expected to
    come after it as well: ∫ rate · 0.5 · exp(-age / 8 hours) d age.
    """
    rng = np.random.default_rng(0)
    count = 6_000
    times = np.sort(rng.uniform(NOW - days * DAY, NOW, count))
    chosen, happens = rng.integers(0, 2, count), rng.random(count)
    delay = np.where(chosen == 0, rng.exponential(300.0, count), rng.exponential(8 * HOUR, count))
    answers = happens < np.where(chosen == 0, 0.2, 0.25)
    log, facts, heard = MemoryLog(), [], []
    for n in range(count):
        facts.append(decision(n, times[n], ("low/old", "low/new")[chosen[n]]))
        if answers[n] and times[n] + delay[n] < NOW:
            signal = ("like", "bought")[chosen[n]]
            heard.append(Feedback(f"f{n}", f"d{n}", signal, 1.0, times[n] + delay[n]))
    log.append(facts, heard)
    return log, count / 2 / (days * DAY) * 0.5 * 8 * HOUR


def means(batch: Any) -> tuple[float, float]:
    return tuple(float(batch.reward[batch.action == action].mean()) for action in (0, 1))  # type: ignore[return-value]  # two


def test_what_is_still_to_come_is_not_taken_for_nothing_where_delays_are_modelled() -> None:
    log, _ = slow_buyers(days=10)
    naive = joined(domain(), log, NOW - DAY, NOW)
    assert means(naive.batch)[0] > 0.15
    assert means(naive.batch)[1] < 0.1  # an hour is not enough for buyers: 12 % of them have bought by then
    modelled = joined(domain(delay_horizon=10 * DAY), log, NOW - 9 * DAY, NOW)
    assert means(modelled.batch) == (pytest.approx(0.2, abs=0.03), pytest.approx(0.5, abs=0.09))
    assert modelled.report.arrived["like"] == pytest.approx(1.0, abs=0.01)
    assert modelled.report.arrived["bought"] == pytest.approx(-np.expm1(-1 / 8), abs=0.02)


def test_short_windows_learn_delays_from_the_whole_horizon() -> None:
    log, _ = slow_buyers(days=10)
    records = read_window(domain(delay_horizon=10 * DAY), log, NOW - HOUR, NOW)
    assert records.time.min() < NOW - 9 * DAY
    window = joined(domain(delay_horizon=10 * DAY), log, NOW - HOUR, NOW)
    assert window.report.arrived["bought"] == pytest.approx(-np.expm1(-1 / 8), abs=0.02)
    assert window.report.rows == sum(NOW - 2 * HOUR < each.time <= NOW - HOUR for each in log_of(log))


def log_of(log: MemoryLog) -> list[Decision]:
    found = [log.find(f"d{n}") for n in range(6_000)]
    return [each[0] for each in found if each]


def test_the_reward_still_to_come_is_reported_as_an_expectation() -> None:
    log, missing = slow_buyers(days=10)
    report = joined(domain(delay_horizon=10 * DAY), log, NOW - 9 * DAY, NOW).report
    assert report.outstanding_reward == pytest.approx(missing, rel=0.2)
    waiting = joined(domain(wait=2 * DAY), log, NOW - 9 * DAY, NOW).report
    assert waiting.outstanding > 0
    assert waiting.outstanding_reward == pytest.approx(missing, rel=0.2)
    assert joined(domain(), log, NOW - 99 * DAY, NOW + 2 * HOUR).report.outstanding_reward == 0.0


def parts(**objectives: Mapping[str, Any]) -> DeclaredDomain:
    return domain(
        idle=HOUR,
        objectives={
            "engagement": {"signals": {"like": 1.0, "bought": 3.0}},
            "novelty": {"actions": {"novelty": {"new": 1.0}, "energy": {"high": 0.25}}},
            "diversity": {"fresh": 1.0},
            **objectives,
        },
    )


def test_the_parts_of_a_vector_reward_come_from_signals_actions_and_what_was_done_before() -> None:
    log = MemoryLog()
    actions = ["low/old", "high/new", "low/old", "low/old"]
    made = [decision(n, NOW + n, action, session="s" if n < 3 else "t") for n, action in enumerate(actions)]
    heard = [
        Feedback("f0", "d0", "like", 1.0, NOW + 5),
        Feedback("f1", "d1", "bought", 1.0, NOW + 5),
        Feedback("f2", "d1", "like", 1.0, NOW + 6),
        Feedback("f3", "d2", SESSION_END, 1.0, NOW + 7),
    ]
    log.append(made, heard)
    batch = joined(parts(), log, NOW, NOW + DAY).batch
    assert batch.reward.tolist() == [1.0, 3.0, 0.0, 0.0]
    assert {name: column.tolist() for name, column in batch.objectives.items()} == {
        "engagement": [1.0, 4.0, 0.0, 0.0],
        "novelty": [0.0, 1.25, 0.0, 0.0],
        "diversity": [1.0, 1.0, 0.0, 1.0],  # the third repeats the first of its session
    }
    assert batch.take(np.array([1, 3])).objectives["diversity"].tolist() == [1.0, 1.0]


def test_signals_of_uncertain_weight_are_parts_by_themselves() -> None:
    problem = domain(signals={"like": {"weight": 1.0, "error": 0.5}, "bought": 2.0})
    log = MemoryLog()
    log.append([decision(0, NOW, "low/old")], [Feedback("f", "d0", "like", 1.0, NOW + 1)])
    assert joined(problem, log, NOW, NOW + DAY).batch.objectives["like"].tolist() == [1.0]
    assert problem.reward.signals["like"].error == 0.5


def test_objectives_and_delays_survive_the_description_of_a_version() -> None:
    problem = parts()
    assert from_description(problem.describe()).reward == problem.reward
    assert problem.reward.objectives["novelty"].actions == {"low/new": 1.0, "high/old": 0.25, "high/new": 1.25}


@pytest.mark.parametrize(
    ("reward", "key"),
    [
        ({"delay_horizon": 60.0}, "reward.delay_horizon"),
        ({"delay_horizon": 10 * DAY, "default": 0.1}, "reward.delay_horizon"),
        ({"objectives": {"like": {"fresh": 1.0}}}, "reward.objectives.like"),
        ({"objectives": {"fun": {"signals": {"likes": 1.0}}}}, "reward.objectives.fun.signals.likes"),
        ({"objectives": {"fun": {"actions": {"energy": {"lo": 1.0}}}}}, "reward.objectives.fun.actions.energy.lo"),
        ({"objectives": {"fun": {"frsh": 1.0}}}, "reward.objectives.fun.frsh"),
        ({"signals": {"like": {"weight": 1.0, "error": -1.0}}}, "reward.signals.like.error"),
    ],
)
def test_a_mistake_in_the_reward_is_named_by_its_key(reward: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        domain(**reward)
    assert raised.value.field == key
