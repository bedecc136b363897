"""The hot routes: what arrives together is done together, and nobody notices but the clock."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from msgspec.structs import replace as changed

from bondhu.access.admission import Keys, Rules
from bondhu.domains import recommendation
from bondhu.errors import Busy, InvalidInput, StoreFull
from bondhu.learners.tabular.q_learning import QLearning
from bondhu.log.memory import MemoryLedger, MemoryLog
from bondhu.policies.by_value import ByValue
from bondhu.policies.greedy import greedy
from bondhu.ports import Event
from bondhu.serve.checks import observed
from bondhu.serve.decide import Decider, Request
from bondhu.serve.hot import Hot
from bondhu.serve.ids import Draws
from bondhu.serve.live import masks
from bondhu.serve.parts import Parts
from bondhu.serve.rows import Rows
from bondhu.serve.turn import Turn
from bondhu.types import Acting, Array, Decision, Feedback, Spec
from tests.service.shop import CONTEXT, acting, decider, shop, version
from tests.service.web import Desk

SAY = "/v1/feedback"


class Noting:
    """A writer that logs at once and notes what it was handed together."""

    waiting = 0

    def __init__(self, one: Decider) -> None:
        self._one = one
        self.groups: list[tuple[int, int]] = []
        self.failing: Exception | None = None

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    def submit(self, decisions: list[Decision], feedback: Sequence[Feedback] = ()) -> asyncio.Future[list[Decision]]:
        self.groups.append((len(decisions), len(feedback)))
        done: asyncio.Future[list[Decision]] = asyncio.get_running_loop().create_future()
        try:
            if self.failing:
                raise self.failing
            done.set_result(self._one.commit(decisions, feedback))
        except Exception as error:
            done.set_exception(error)
        return done


class Stand:
    """The hot routes of a deployment, called without a network, all at the same time."""

    def __init__(self, one: Decider, **more: Any) -> None:
        self.one, self.writer = one, Noting(one)
        self.hot = Hot(
            self._behind,
            Parts(one, self.writer, Desk(), Keys(MemoryLedger(), "shop", Rules("a-long-and-secret-key")), **more),
        )

    async def _behind(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("this is no hot route")

    def __call__(self, *bodies: Any, path: str = "/v1/decide") -> list[tuple[int, Any]]:
        async def all_of_them() -> list[tuple[int, Any]]:
            return list(await asyncio.gather(*(self.one_of(path, body) for body in bodies)))

        return asyncio.run(all_of_them())

    async def one_of(self, path: str, body: Any) -> tuple[int, Any]:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.hot({"type": "http", "path": path, "method": "POST", "headers": []}, receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])


def asked(age: int = 30, **more: Any) -> dict[str, Any]:
    return {"context": {**CONTEXT, "age": age}, **more}


# ------------------------------------------------------------------------------------------------ what arrives together


def test_the_decisions_of_one_turn_are_committed_together_and_each_is_answered_for_itself() -> None:
    stand = Stand(decider(exploration=0.5))
    told = stand(*[asked(age, id=f"d{age}") for age in range(50)])
    assert [status for status, _ in told] == [200] * 50
    assert [answer["id"] for _, answer in told] == [f"d{age}" for age in range(50)]
    assert stand.writer.groups == [(50, 0)]
    for age, (_, answer) in enumerate(told):
        found = stand.one.deployment.log.find(f"d{age}")
        assert found is not None
        assert (found[0].context["age"], found[0].action, found[0].probability) == (
            age,
            answer["action"],
            answer["probability"],
        )
    assert all(stand.one.explain(f"d{age}").replayed for age in range(50))


def test_a_request_alone_waits_for_nobody() -> None:
    stand = Stand(decider())
    assert stand(asked())[0][0] == 200
    assert stand.writer.groups == [(1, 0)]


def test_one_bad_request_of_a_turn_is_refused_and_the_others_are_decided() -> None:
    stand = Stand(decider())
    told = stand(asked(1), asked(200), asked(2), asked(3, allowed=["gren"]), asked(4, user="a\nb"), {"contxt": {}})
    assert [status for status, _ in told] == [200, 422, 200, 404, 422, 422]
    assert (told[1][1]["field"], told[3][1]["field"], told[4][1]["field"]) == ("age", "allowed", "user")
    assert len(stand.one.deployment.log.read("shop", 0, 1e12).id) == 2


def test_an_id_that_means_something_else_costs_the_others_of_its_turn_nothing() -> None:
    stand = Stand(decider(now=lambda: 5.0))
    assert stand(asked(1, id="a"))[0][0] == 200
    told = stand(asked(1, id="b"), asked(2, id="a"), asked(1, id="a"), asked(3))
    assert [status for status, _ in told] == [200, 409, 200, 200]
    assert told[1][1]["value"] == "a"
    assert len(stand.one.deployment.log.read("shop", 0, 1e12).id) == 3


def test_a_store_that_cannot_be_used_is_told_to_all_of_a_turn_and_asked_once() -> None:
    stand = Stand(decider())
    stand.writer.failing = StoreFull()
    told = stand(asked(1), asked(2), asked(3))
    assert [status for status, _ in told] == [507] * 3
    assert stand.writer.groups == [(3, 0)]


def test_feedback_of_one_turn_is_committed_together_and_what_is_unknown_is_told_to_whom_it_concerns() -> None:
    stand = Stand(decider())
    made = [answer["id"] for _, answer in stand(*[asked(age) for age in range(4)])]
    said = [{"decision_id": each, "signal": "like", "id": f"f{number}"} for number, each in enumerate(made)]
    told = stand(*said, {"decision_id": "nobody", "signal": "like"}, {**said[0], "id": "x", "signal": "lik"}, path=SAY)
    assert [status for status, _ in told] == [200, 200, 200, 200, 404, 422]
    assert stand.writer.groups[1:] == [(0, 4)]
    again = stand({**said[0], "value": 0.5}, {**said[1], "id": "f9"}, path=SAY)  # f0 said something else before
    assert [status for status, _ in again] == [409, 200]
    records = stand.one.deployment.log.read("shop", 0, 1e12)
    assert len(records.feedback_value) == 5


def test_decisions_that_are_not_remembered_are_looked_up_once_a_turn() -> None:
    looked: list[str] = []

    class Log(MemoryLog):
        def find(self, decision_id: str) -> Any:
            looked.append(threading.current_thread().name)
            return super().find(decision_id)

    log = Log()
    made = [decider(log=log).decide(Request(CONTEXT)).id for _ in range(3)]
    stand = Stand(decider(log=log))  # another process of the same service
    told = stand(*[{"decision_id": each, "signal": "like"} for each in made], path=SAY)
    assert [(status, body["status"]) for status, body in told] == [(200, "stored")] * 3
    assert len(set(looked)) == 1
    assert "MainThread" not in looked


def test_each_is_told_its_own_result_though_some_have_gone() -> None:
    async def play() -> list[Any]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[int]] = loop.create_future()
        turn: Turn[int, list[int], int] = Turn(lambda items: done, lambda items, found: found)
        waiting = [asyncio.ensure_future(turn(number)) for number in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        done.set_result([10, 11, 12])
        return await asyncio.gather(*waiting, return_exceptions=True)

    first, gone, last = asyncio.run(play())
    assert (first, last) == (10, 12)
    assert isinstance(gone, asyncio.CancelledError)


@pytest.mark.parametrize(("error", "calls"), [(Busy(), [[0, 1, 2]]), (InvalidInput("no"), [[0, 1, 2], [0], [1], [2]])])
def test_what_fails_for_all_is_tried_for_each_unless_it_is_the_store(error: Exception, calls: list[list[int]]) -> None:
    seen: list[list[int]] = []

    def work(items: list[int]) -> asyncio.Future[list[int]]:
        seen.append(items)
        if 1 in items:
            raise error
        done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        done.set_result(items)
        return done

    async def play() -> list[Any]:
        turn: Turn[int, list[int], int] = Turn(work, lambda items, found: found)
        return await asyncio.gather(*map(turn, range(3)), return_exceptions=True)

    told = asyncio.run(play())
    assert seen == calls
    assert [each is error for each in told] == ([True] * 3 if len(calls) == 1 else [False, True, False])


# -------------------------------------------------------------------------------------------------- around one decision


def test_the_door_is_the_first_to_see_a_request_and_what_it_lets_through_is_logged() -> None:
    one = replace(decider(), door=lambda request: changed(request, context={**request.context, "age": 0}, user="x"))
    made = one.decide(Request(CONTEXT, user="ann"))
    assert (made.context, made.user) == ({**CONTEXT, "age": 0}, "x")
    assert Stand(one)(asked(99, user="bob"))[0][0] == 200
    assert set(one.deployment.log.read("shop", 0, 1e12).user) == {"x"}


def test_a_meter_is_told_of_every_answer() -> None:
    class Counting:
        def __init__(self) -> None:
            self.told: list[tuple[str, int]] = []

        def answered(self, route: str, status: int, seconds: float) -> None:
            assert seconds >= 0.0
            self.told.append((route, status))

    meter = Counting()
    stand = Stand(decider(), meter=meter)
    stand(asked(1), asked(200))
    stand({"decision_id": "nobody", "signal": "like"}, path=SAY)
    assert sorted(meter.told) == [("/v1/decide", 200), ("/v1/decide", 422), ("/v1/feedback", 404)]


# --------------------------------------------------------------------------------------------------- rows that are kept


def learned(observes: type[Any]) -> Acting:
    """An ε-greedy table, or a sharp model of features, of the recommendation domain."""
    domain = recommendation.domain()
    encoder = domain.encoder(observes)
    if observes is Box:
        weights = np.random.default_rng(0).normal(size=(*encoder.space.shape, len(domain.actions)))  # type: ignore[misc]
        policy: Any = ByValue(lambda seen: np.stack([row @ weights for row in seen]), greedy)
        return Acting("v1", policy, encoder, domain.actions)
    learner = QLearning()
    state = learner.init(Spec(encoder.space, Discrete(len(domain.actions))), np.random.default_rng(0))
    state.values[:] = np.random.default_rng(1).normal(size=state.values.shape).round(1)
    return Acting("v1", learner.policy(state, explore=True), encoder, domain.actions)


def contexts(count: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    fields = recommendation.domain().describe()["fields"]
    return [
        {
            each["name"]: each["values"][rng.integers(len(each["values"]))]
            if each["kind"] == "category"
            else int(rng.integers(101))
            if rng.random() < 0.5
            else float(rng.random() * 100)
            for each in fields
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("observes", [MultiDiscrete, Box])
@pytest.mark.parametrize("together", [1, 3, 64])
def test_a_kept_row_draws_what_the_policy_draws_bit_for_bit(observes: type[Any], together: int) -> None:
    domain, made = recommendation.domain(), learned(observes)
    one = Decider(replace(decider().deployment, domain=domain), lambda _: made, exploration=0.3)
    policy = one.live.arms(0.0).live.policy
    rng = np.random.default_rng(3)
    some = contexts(64)
    for turn in range(3):  # computed, kept, and kept among new ones
        requests = [
            Request(
                each, id=f"{turn}-{number}", allowed=None if number % 2 else list(rng.permutation(made.actions)[:5])
            )
            for number, each in enumerate([*some[:40], *contexts(24)] if turn == 2 else some)
        ]
        decisions = [
            each
            for start in range(0, len(requests), together)
            for each in one.choose(requests[start : start + together])
        ]
        for asked_, decision in zip(requests, decisions, strict=True):
            allowed, names = masks(made.actions, [asked_.allowed])
            drawn = policy.sample(
                observed(made.encoder, domain, [asked_.context]), allowed, Draws(domain.name, [decision.id])
            )
            assert decision.allowed == names[0]
            assert decision.action == made.actions[int(drawn.action[0])]
            assert decision.probability == float(drawn.probability[0])


@pytest.mark.parametrize("observes", [MultiDiscrete, Box])
def test_one_context_is_encoded_as_it_is_among_many_bit_for_bit(observes: type[Any]) -> None:
    domain = recommendation.domain()
    encoder, some = domain.encoder(observes), contexts(64)
    alone = np.stack([encoder.one(each) for each in some])
    np.testing.assert_array_equal(observed(encoder, domain, some), alone)


def test_a_context_that_came_before_is_not_computed_again_and_no_more_than_so_many_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[int] = []

    def values(seen: Array) -> Array:
        computed.append(len(seen))
        return np.tile([1.0, 3.0, 2.0], (len(seen), 1))

    monkeypatch.setattr("bondhu.serve.rows.KEPT", 10)
    made = acting("v1")._replace(policy=ByValue(values, greedy))
    rows = Rows(made, shop())
    requests = [Request({**CONTEXT, "age": age}) for age in range(10)]
    rows.of(requests)
    rows.of([*requests, Request({**CONTEXT, "age": 50}), Request({**CONTEXT, "age": 50.5})])
    assert computed == [10, 2]
    for age in range(500):
        rows.of([Request({**CONTEXT, "age": age / 10})])
    assert len(rows._young) + len(rows._old) <= 22
    before = len(computed)
    rows.of(requests)
    assert len(computed) == before + 1  # they were forgotten meanwhile


def test_what_is_true_is_not_taken_for_the_number_one_that_came_before() -> None:
    one = decider()
    assert one.decide(Request({**CONTEXT, "age": 1})).context["age"] == 1
    for wrong in (True, "1", None, [1], float("nan")):
        with pytest.raises(InvalidInput) as caught:
            one.decide(Request({**CONTEXT, "age": wrong}))
        assert caught.value.field == "age"


def test_a_version_of_the_same_name_that_acts_otherwise_has_rows_of_its_own() -> None:
    def turned(name: str | None) -> Acting:
        return acting(name)._replace(policy=ByValue(lambda seen: np.tile([9.0, 3.0, 2.0], (len(seen), 1)), greedy))

    one = decider()
    assert one.decide(Request(CONTEXT)).action == "blue"
    one.live.restore = turned
    one.deployment.registry.record("shop", Event(3.0, "stopped", "baseline", "test", {}))
    assert one.decide(Request(CONTEXT)).action == "blue"  # the same version goes on as it was loaded
    one.live = replace(one.live)
    assert one.decide(Request(CONTEXT)).action == "red"


# --------------------------------------------------------------------------------------------- a new version meanwhile


@pytest.fixture
def loading() -> Iterator[tuple[Decider, threading.Event, threading.Event]]:
    """A deployment whose version "v1" loads only when it may."""
    begun, go = threading.Event(), threading.Event()

    def restore(name: str | None) -> Acting:
        if name == "v1":
            begun.set()
            assert go.wait(10)
            assert threading.current_thread() is not threading.main_thread()
        return acting(name)

    one = decider(restore=restore)
    one.deployment.registry.add(version("v1"))
    yield one, begun, go
    go.set()


def until(found: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if found():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it did not come to that")


def test_the_version_at_hand_decides_while_a_thread_loads_the_next_and_no_request_is_dropped(loading: Any) -> None:
    one, begun, go = loading
    stand = Stand(one)
    one.deployment.registry.record("shop", Event(1.0, "promoted", "v1", "test", {}))
    for _ in range(3):
        told = stand(*[asked(age) for age in range(20)])
        assert {(status, answer["version"]) for status, answer in told} == {(200, "baseline")}
    assert begun.is_set()
    go.set()
    until(lambda: stand(asked())[0][1]["version"] == "v1")
    assert one.live.problem is None


def test_the_kill_switch_holds_at_once_while_a_version_is_loaded_and_after(loading: Any) -> None:
    one, begun, go = loading
    stand = Stand(one)
    one.deployment.registry.record("shop", Event(1.0, "promoted", "v1", "test", {}))
    assert stand(asked())[0][1]["version"] == "baseline"
    assert begun.wait(10)
    one.deployment.registry.record("shop", Event(2.0, "stopped", "baseline", "fire", {}))
    assert stand(asked())[0][1]["version"] == "baseline"
    assert one.live.at_hand(2.0).step is None
    go.set()
    until(lambda: not one.live._loading.locked())
    assert stand(asked())[0][1]["version"] == "baseline"


def test_a_version_is_tried_before_it_is_in_force_so_that_nothing_is_compiled_in_a_request() -> None:
    rows: list[int] = []

    def values(seen: Array) -> Array:
        rows.append(len(seen))
        return np.tile([1.0, 3.0, 2.0], (len(seen), 1))

    decider(restore=lambda name: acting(name)._replace(policy=ByValue(values, greedy)))
    assert rows == [1, 2]
