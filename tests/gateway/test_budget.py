"""The day's budget, with times made by hand; and what tokens cost."""

from __future__ import annotations

import asyncio

import pytest

from bondhu.domains.assistant.strategies import strategies
from bondhu.errors import Busy
from bondhu.log.memory import MemoryLog
from bondhu.ports import Log
from bondhu.serve.gateway.budget import DAY, day_of, left, opened, read, reserved, seconds_left, settled, today
from bondhu.serve.gateway.errors import OverBudget, told
from bondhu.serve.gateway.spending import SETTLED, Spending
from bondhu.serve.gateway.tariffs import UNLIMITED, most, tariff, tariffs
from bondhu.serve.gateway.upstream import Upstream
from bondhu.serve.gateway.usage import Usage, cost, estimated, reported
from bondhu.types import Decision, Feedback

NOON = 20_000 * DAY + DAY / 2


def test_what_is_spent_and_promised_counts() -> None:
    budget = opened(1.0, NOON, 0.4)
    assert left(budget) == pytest.approx(0.6)
    budget = reserved(reserved(budget, 0.5, NOON), 0.2, NOON)
    assert left(budget) == pytest.approx(-0.1)
    budget = settled(budget, 0.5, 0.1, NOON)
    assert (budget.spent, budget.reserved) == (pytest.approx(0.5), pytest.approx(0.2))
    assert left(reserved(budget, -0.15, NOON)) == pytest.approx(0.45)


def test_each_day_begins_with_nothing_spent() -> None:
    budget = reserved(opened(1.0, NOON, 1.0), 0.25, NOON)
    midnight = (day_of(NOON) + 1) * DAY
    assert left(today(budget, midnight - 1e-3)) == pytest.approx(-0.25)
    assert left(today(budget, midnight)) == pytest.approx(0.75)
    assert today(budget, midnight)[1:4] == (day_of(NOON) + 1, 0.0, 0.25)
    assert seconds_left(midnight - 60.0) == pytest.approx(60.0)


def test_what_is_left_is_divided_until_the_log_is_read_again() -> None:
    budget = opened(1.0, NOON, 0.2)
    assert left(budget, 4) == pytest.approx(0.2)
    budget = settled(reserved(budget, 0.1, NOON), 0.0, 0.05, NOON)
    assert left(budget, 4) == pytest.approx(0.05)
    budget = read(budget, 0.4, budget.own, NOON)  # this one's 0.05, and 0.15 of the others
    assert left(budget, 4) == pytest.approx(0.05)
    assert left(reserved(budget, -0.1, NOON), 4) == pytest.approx(0.15)


def test_no_more_is_promised_than_there_is() -> None:
    spending = Spending(1.0, log_of(("old", NOON - 1.0, 0.2)), "chat")
    with pytest.raises(Busy):
        spending.reserve(0.1, NOON)
    asyncio.run(spending.follow(NOON))
    for _ in range(2):
        spending.reserve(0.3, NOON)
    with pytest.raises(OverBudget, match=r"up to 0.3") as refused:
        spending.reserve(0.3, NOON)
    assert refused.value.seconds == 1.0  # answers under way may cost less
    spending.correct(0.3, 0.1, NOON)
    spending.reserve(0.3, NOON)
    with pytest.raises(OverBudget) as never:
        spending.reserve(0.9, NOON)
    assert never.value.seconds == seconds_left(NOON)


def test_the_most_that_a_request_may_cost() -> None:
    upstreams = {
        "one": Upstream("one", "http://x", prices={"m": (1.0, 2.0)}, fallback=("two",)),
        "two": Upstream("two", "http://x", prices={"n": (10.0, 1.0)}, model="n"),
    }
    tables = {"s": {"long": {"system": "x" * 36, "samples": 3, "judge": "one:m"}, "short": {"max_tokens": 10}}}
    every = {**tables, "m": {"m": {"upstream": "one", "model": "m"}}}
    chosen = strategies({"s": ("long", "short"), "m": ("m",)}, every)
    short, long = tariff(chosen.of("short/m"), upstreams), tariff(chosen.of("long/m"), upstreams)
    assert short.most(400, 1_000) == pytest.approx((200 * 10 + 10 * 2) / 1e6)  # each at the dearer one's price
    judged = (64_000 * 10 + UNLIMITED * 2) / 1e6
    assert long.most(400, 1_000) == pytest.approx(3 * (250 * 10 + 1_000 * 2) / 1e6 + judged)
    assert long.most(400, None) == pytest.approx(3 * (250 * 10 + UNLIMITED * 2) / 1e6 + judged)
    assert most(tariffs(chosen, upstreams), 400, 1_000) == long.most(400, 1_000)


def test_what_the_log_knows_takes_the_place_of_what_this_process_knew() -> None:
    budget = settled(opened(9.0, NOON), 0.0, 1.0, NOON)
    before = budget.own
    budget = settled(budget, 0.0, 0.5, NOON)  # while the log is read
    budget = read(budget, 3.0, before, NOON)
    assert budget.spent == pytest.approx(3.5)


def test_tokens_become_dollars() -> None:
    assert cost(Usage(1_000_000, 500_000), (0.1, 0.4)) == pytest.approx(0.3)
    assert reported({"prompt_tokens": 3, "completion_tokens": 4}) == Usage(3, 4)
    for wrong in (None, 3, {}, {"prompt_tokens": -1, "completion_tokens": 4}, {"prompt_tokens": "3"},
                  {"prompt_tokens": True, "completion_tokens": 1}):  # fmt: skip
        assert reported(wrong) is None
    assert estimated(401, 10, pieces=7) == Usage(101, 7, True)
    assert Usage(1, 2).plus(Usage(3, 4, True)).told() == {
        "prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10, "estimated": True
    }  # fmt: skip


def decision(identity: str, time: float) -> Decision:
    return Decision(identity, "chat", identity, None, time, {}, ("a",), "a", 1.0, (), "baseline", "live")


def log_of(*costs: tuple[str, float, float]) -> Log:
    log = MemoryLog()
    for identity, time, dollars in costs:
        said = [Feedback(f"{identity}-cost", identity, "cost", dollars, time),
                Feedback(f"{identity}-like", identity, "like", 1.0, time)]  # fmt: skip
        log.append([decision(identity, time)], said)
    return log


def test_it_begins_with_what_was_spent_today() -> None:
    log = log_of(("yesterday", NOON - DAY, 7.0), ("old", NOON - 2 * SETTLED, 1.0), ("new", NOON - 1.0, 0.5))
    spending = Spending(2.0, log, "chat", workers=2)
    assert spending.look(NOON) == pytest.approx(1.5)
    log.append([decision("next", NOON + 1.0)], [Feedback("next-cost", "next", "cost", 0.25, NOON + 1.0)])
    assert spending.look(NOON + 2.0) == pytest.approx(1.75)  # what is settled is not counted twice
    assert spending.look(NOON + DAY) == 0.0


def test_over_budget_says_how_long_to_wait() -> None:
    error = OverBudget("Spent.")
    error.seconds = 100.4
    status, wrong, headers = told(error)
    assert status == 429
    assert wrong.error.type == "insufficient_quota"
    assert dict(headers) == {b"retry-after": b"101", b"x-should-retry": b"false"}
