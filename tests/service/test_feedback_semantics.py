"""The table in docs/feedback.md, row by row, over HTTP: what is answered, and what the decision is worth afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gymnasium.spaces import MultiDiscrete

from bondhu.log.join import join
from bondhu.log.memory import MemoryLog
from bondhu.log.sqlite import SqliteLog
from bondhu.ports import Log
from bondhu.serve.decide import Decider
from bondhu.serve.ids import Ids
from tests.documents import ROOT
from tests.service.shop import CONTEXT, decider
from tests.service.web import Client, opened

START = 1_700_000_000.0  # seconds
WAIT = 86_400.0  # seconds: the default of [reward] wait
ROW = re.compile(r"^\| (?P<what>[^|]+?) +\| (?P<answer>[^|]+?) +\| (?P<reward>[^|]+?) +\|$", re.M)


class Person:
    """Somebody who was given one decision and says something about it."""

    def __init__(self, client: Client, clock: list[float], one: Decider) -> None:
        self.client, self.clock, self.one = client, clock, one
        self.decision = Ids()(1, START)[0]

    def decide(self) -> None:
        answer = self.client.post("/v1/decide", {"context": CONTEXT, "id": self.decision})
        assert answer.status_code == 200

    def say(self, signal: str = "like", value: float | None = 1.0, **more: Any) -> str:
        """Status of HTTP and what became of it, a second later."""
        self.clock[0] += 1.0
        body = {"decision_id": self.decision, "signal": signal, "value": value, **more}
        response = self.client.post("/v1/feedback", body)
        told = response.json()
        return f"{response.status_code} {told.get('status') if response.status_code < 300 else told['code']}"


def nothing(_: Person) -> str:
    return "none"


def once(person: Person) -> str:
    return person.say(id="a")


def again(person: Person) -> str:
    person.say(id="a")
    return person.say(id="a")


def contradicted(person: Person) -> str:
    person.say(id="a")
    return person.say(id="a", value=0.5)


def several_signals(person: Person) -> str:
    person.say("like")
    return person.say("watched", 0.8)


def twice(person: Person) -> str:
    person.say(id="a", value=0.5)
    return person.say(id="b", value=0.25)


def revised(person: Person) -> str:
    person.say(id="a")
    return person.say(id="b", value=0.25, replaces="a")


def revised_twice(person: Person) -> str:
    person.say(id="a")
    person.say(id="b", value=0.25, replaces="a")
    return person.say(id="c", value=0.75, replaces="a")


def revoked(person: Person) -> str:
    person.say(id="a")
    return person.say(id="b", value=None, replaces="a")


def revoked_before_it_came(person: Person) -> str:
    person.say(id="b", value=None, replaces="a")
    return person.say(id="a")


def revoking_nothing(person: Person) -> str:
    return person.say(value=None)


def late(person: Person) -> str:
    person.clock[0] += WAIT
    return person.say()


def unknown_decision(person: Person) -> str:
    return person.say(decision_id="order-9")


def unknown_signal(person: Person) -> str:
    return person.say("lik")


def outside_of_its_range(person: Person) -> str:
    return person.say(value=1.5)


def before_its_decision(person: Person) -> str:
    status = person.say(id="a")
    assert person.say(id="a") == status  # a retry
    return status


class Case(NamedTuple):
    act: Callable[[Person], str]
    early: bool = False  # said before the decision is made


CASES = {
    "Nothing": Case(nothing),
    "One signal": Case(once),
    "The same again, with its id": Case(again),
    "Something else under that id": Case(contradicted),
    "Several signals": Case(several_signals),
    "A signal twice, with two ids": Case(twice),
    "A revision: `replaces` names what it replaces": Case(revised),
    "Two revisions of the same": Case(revised_twice),
    "A revocation: `value` is null": Case(revoked),
    "A revocation that comes before what it revokes": Case(revoked_before_it_came),
    "A revocation that names nothing": Case(revoking_nothing),
    "Before its decision, at most an hour": Case(before_its_decision, early=True),
    "Later than `wait`": Case(late),
    "About a decision that nobody knows": Case(unknown_decision),
    "A signal that is not declared": Case(unknown_signal),
    "A value outside of its range": Case(outside_of_its_range),
}


def table() -> dict[str, tuple[str, str]]:
    page = Path(ROOT / "docs" / "feedback.md").read_text(encoding="utf-8")
    rows = {row["what"]: (row["answer"].strip("`"), row["reward"]) for row in ROW.finditer(page)}
    return {what: row for what, row in rows.items() if what in CASES}


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    if request.param == "memory":
        yield MemoryLog()
    else:
        with SqliteLog(tmp_path / "log.sqlite") as opened_log:
            yield opened_log


def test_the_table_has_a_row_for_every_case() -> None:
    assert list(table()) == list(CASES)


@pytest.mark.parametrize("what", CASES)
def test_feedback_is_answered_and_counted_as_the_table_says(what: str, log: Log) -> None:
    clock = [START]
    one = decider(log=log, now=lambda: clock[0])
    act, early = CASES[what]
    clients = opened(one)
    person = Person(next(clients), clock, one)
    if not early:
        person.decide()
    answer = act(person)
    if early:
        person.decide()
    next(clients, None)
    expected, worth = table()[what]
    assert answer == expected
    joined = join(one.deployment.domain, log.read("shop", 0, 1e12), start=0.0, end=1e12, observes=MultiDiscrete)
    assert joined.batch.reward.tolist() == [pytest.approx(float(worth.split()[0]))]
    assert joined.report.late == (what == "Later than `wait`")
