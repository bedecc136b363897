"""A shop with a rule, two versions, people who like blue, and everything at hand that a view of it is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bondhu.app import App
from bondhu.dashboard.page import Asked, Desk, Page
from bondhu.dashboard.views import decision, decisions, policy
from bondhu.serve.decide import Request, Said
from bondhu.types import Decision
from tests.dashboard import looking
from tests.dashboard.looking import Element
from tests.service.stand import HOUR, Clock, opened

LEARNER = {"name": "bandit.linear_thompson"}
PEOPLE = 40


@dataclass
class Shop:
    """The deployment, and its clock."""

    app: App
    clock: Clock

    @property
    def desk(self) -> Desk:
        return looking.desk(self.app)

    def decide(self, number: int, **more: Any) -> Decision:
        """Somebody comes, a second after the last one; they like blue and say so at once."""
        self.clock.now += 1.0
        context = {"mood": ("happy", "sad")[number % 2], "age": number % 100}
        asked = Request(**{"context": context, "user": f"u{number % PEOPLE}", "session": f"s{number % 50}", **more})
        live = self.app.decider()
        made = live.decide(asked)
        if made.action == "blue":
            live.hear([Said(made.id, "like", 1.0, id=f"said of {made.id}")])
        return made

    def train(self) -> str:
        """A version of what settled so far."""
        self.clock.now += 2 * HOUR
        version = self.app.train().trained.version
        assert version is not None
        return version.id


def shop(path: Path, **more: Any) -> Shop:
    """Nobody was there yet."""
    clock = Clock()
    below = {"learner": LEARNER, "exploration": {"rate": 0.2, "learner": True}}
    return Shop(opened(path, clock, **{**below, **more}), clock)


def grown(path: Path) -> Shop:
    """120 decisions of the rule, 60 of a first version, then a second one is live."""
    made = shop(path)
    for number in range(120):
        made.decide(number)
    made.app.promote(made.train(), reason="test")
    for number in range(60):
        made.decide(number)
    made.app.promote(made.train(), reason="test")
    return made


def asked(path: str, query: dict[str, str] | None = None, **parts: str) -> Asked:
    return looking.asked(f"/dashboard/{path}", query=query)._replace(parts=parts)


def of_policy(desk: Desk, **query: str) -> tuple[Page, Element]:
    """The policy explorer; `__` in a name of the query is a dot."""
    said = {name.replace("__", "."): value for name, value in query.items()}
    page = policy.view(desk, asked("policy", said))
    return page, looking.read(page)


def of_decisions(desk: Desk, query: dict[str, str] | None = None) -> Element:
    return looking.read(decisions.view(desk, asked("decisions", query)))


def of_one(desk: Desk, identity: str) -> tuple[Page, Element]:
    page = decision.view(desk, asked(f"decisions/{identity}", None, id=identity))
    return page, looking.read(page)


def column(page: Page, chart: str, name: str) -> list[Any]:
    """One column of a chart's data."""
    table = page.charts[chart].table
    at = list(table.columns).index(name)
    return [row[at] for row in table.rows]
