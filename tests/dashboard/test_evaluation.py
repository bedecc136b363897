"""The view of an evaluation: the same study as the page of `bondhu evaluate --html`, and nothing is recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bondhu import studying
from bondhu.app import App
from bondhu.dashboard.page import Page
from bondhu.dashboard.views.evaluation import CORNERS, for_whom, of_interest, thinned, view
from bondhu.ports import Event
from bondhu.registry.lifecycle import BASELINE
from bondhu.report.study import Curve, Group
from bondhu.report.words import numbers
from bondhu.server.administration import Administration
from bondhu.train.window import DAY, Window
from tests.dashboard.looking import OPERATOR, AtOnce, Element, Never, asked, desk, read
from tests.service.stand import Clock, log, opened
from tests.service.test_release import PEOPLE, deployed
from tests.service.test_report import estimated, made

PATH = "/dashboard/evaluation"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """A version that passed the gate, among people of two moods; half of them are kept back."""
    gate = {"minimum_interactions": 100, "minimum_effective_samples": 50}
    made = opened(tmp_path_factory.mktemp("evaluated"), training={"holdout": 0.5}, gate=gate)
    log(made, PEOPLE, 6, context=[{"mood": mood, "age": 30} for mood in ("happy", "sad")])
    made.train()
    return made


def drawn(app: App, role: str | None = None, **query: str) -> Page:
    return view(desk(app), asked(PATH, role, query))


def seen(app: App, role: str | None = None, **query: str) -> Element:
    return read(drawn(app, role, **query))


def test_the_verdict_is_that_of_the_gate_and_is_not_kept_again(app: App) -> None:
    before = list(app.events())
    page = seen(app)
    kept = Administration(app).verdicts(app.versions()[0])["verdicts"][-1]["figures"]
    window = Window(app.now() - 7 * DAY, app.now())
    judgement = app.evaluate(window=window, note=False)
    assert list(app.events()) == before
    assert judgement.verdict.decision == kept["decision"] == "promote"
    verdict = page.one("section", class_="verdict")
    assert "✓ Promote." in verdict.text
    assert [each.text for each in verdict.all("li")] == list(judgement.verdict.reasons)
    dr = judgement.candidate["dr"]
    cards = {
        each.one("dt").text: [dd.text for dd in each.all("dd")] for each in page.one("dl", class_="cards").all("div")
    }
    write = numbers([next(each for each in studying.study(app, judgement=judgement).estimates if each.name == "dr")])
    assert cards[f"{app.versions()[0]} earns"][0] == write.plain(dr.value)
    assert cards["effective samples"][1] == f"of {judgement.report.rows:,} decisions"
    assert dr.value == pytest.approx(kept["candidate_value"])


def test_a_verdict_is_kept_where_nobody_says_otherwise(tmp_path: Path) -> None:
    app = deployed(tmp_path)
    app.evaluate(note=False)
    assert len(app.verdicts()) == 1
    app.evaluate()
    assert len(app.verdicts()) == 2


def test_every_picture_can_be_taken_along_with_the_numbers_of_the_study(app: App) -> None:
    page = drawn(app)
    window = Window(app.now() - 7 * DAY, app.now())
    study = studying.study(app, window=window, judgement=app.evaluate(window=window, note=False))
    assert set(page.charts) >= {
        *("decision-values", "decision-advantages", "kinds-of-value", "kinds-of-advantage"),
        *("weights", "weights-against", "groups", "curves"),
    }
    values = {row[0]: row[1:] for row in page.charts["decision-values"].table.rows}
    for each in study.estimates:
        ours, theirs = each.candidate, each.against
        assert values[each.name] == (ours.value, ours.low, ours.high, theirs.value, theirs.low, theirs.high)
    weighed = page.charts["weights"].table.rows
    assert sum(row[2] for row in weighed) == study.rows
    assert [row[:2] for row in page.charts["groups"].table.rows] == [(each.name, each.rows) for each in study.groups]
    root = read(page)
    for name in page.charts:
        figure = root.one("figure", id=f"chart-{name}")
        assert f"csv={name}" in figure.all("a")[0].attributes["href"]


def test_the_rules_of_the_gate_and_what_each_estimator_assumes_are_told(app: App) -> None:
    page = seen(app)
    rules = {row[0]: row[1:] for row in page.rows("What the gate asks for")}
    assert rules["effective samples"][0] == "at least 50"
    assert {row[0] for row in page.rows("What each estimator takes for granted")} >= {"dm", "dr", "ips", "snips"}
    assert len(page.rows("Importance weights")) == 2


def test_it_says_for_whom_a_version_is_worse(app: App) -> None:
    assert seen(app).one("p", id="worse").text.startswith("For whom is it worse? ")
    study, worse = made(), Group("mood = sad", 40, estimated(-0.2, 0.1))
    assert for_whom(study) == (
        "For nobody surely. It may be for those where mood = happy (-0.05, 60 decisions): their intervals do not rule "
        "out 0."
    )
    assert for_whom(replace(study, groups=(*study.groups, worse))) == (
        "Surely for those where mood = sad (-0.2, 40 decisions)."
    )
    assert for_whom(replace(study, groups=study.groups[:1])).startswith("For none of the 2 groups")
    assert for_whom(replace(study, groups=())) == "There is no advantage that could be told apart by groups."
    many = tuple(worse._replace(name=f"age = {number}") for number in range(9))
    assert for_whom(replace(study, groups=many)).endswith("; and 4 more groups.")


def test_it_begins_with_the_version_under_release_then_an_open_candidate_then_the_live_one(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock)
    (first,) = app.versions()
    app.promote(first, reason="test")
    made = replace(app.deployment.registry.load(first), created=clock.now)
    app.deployment.registry.add(replace(made, id="v2"))
    app.deployment.registry.record("shop", Event(clock.now, "judged", "v2", "no", {"decision": "refuse"}))
    assert of_interest(app) == first
    app.deployment.registry.add(replace(made, id="v3"))
    assert of_interest(app) == "v3"
    app.deployment.registry.record("shop", Event(clock.now, "shadowed", "v2", "anyway", {}))
    assert of_interest(app) == "v2"
    assert of_interest(opened(tmp_path / "none")) is None


def test_any_two_versions_can_be_compared_and_the_address_says_which(app: App) -> None:
    name = app.versions()[0]
    page = seen(app, version=BASELINE, against=name, days="all")
    verdict = page.one("section", class_="verdict").text
    assert f"whether the rule should replace {name}. A decision earns 0.66" in verdict
    assert "less under it (95 % interval -0.66" in verdict
    assert "everything until" in page.text
    form = page.one("form", class_="asking")
    chosen = [each.attributes["value"] for each in form.all("option") if "selected" in each.attributes]
    assert chosen == [BASELINE, name, "all"]


@pytest.mark.parametrize(
    ("query", "says", "status"),
    [
        ({"version": "v9"}, "There is no version 'v9'.", 404),
        ({"version": BASELINE, "against": BASELINE}, "'baseline' is compared with itself.", 422),
        ({"days": "soon"}, "over the days that are listed, and these are not. Choose one of", 422),
        ({"days": "20.00001"}, "Choose one of 1, 7, 14, 28, 90, all.", 422),
        ({"days": "-1"}, "Choose one of 1, 7, 14, 28, 90, all.", 422),
        ({"days": "nan"}, "Choose one of 1, 7, 14, 28, 90, all.", 422),
        ({"against": "<b>"}, "There is no version '<b>'.", 404),
    ],
)
def test_what_cannot_be_asked_is_answered_with_what_can(
    app: App, query: dict[str, str], says: str, status: int
) -> None:
    page = drawn(app, **query)
    assert page.status == status
    assert says in read(page).one("div", class_="error").text


def test_without_a_version_somebody_has_to_train(tmp_path: Path) -> None:
    app = opened(tmp_path)
    assert "There is no version yet that could be compared" in seen(app).text
    assert [each.attributes["action"] for each in seen(app, OPERATOR).all("form")] == ["/dashboard/acts/train"]


def test_where_nobody_was_held_out_it_says_what_to_change(tmp_path: Path) -> None:
    app = opened(tmp_path, training={"holdout": 0.0})
    log(app, PEOPLE, 6)
    app.train()
    error = seen(app).one("div", class_="error").text
    assert "learned from everybody's decisions until" in error
    assert "train with [training] holdout = 0.2" in error


def test_days_in_which_nothing_was_settled_say_so(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock)
    clock.now += 30 * DAY
    page = seen(app, days="1")
    assert "there is no settled decision of anybody who was kept back" in page.text
    assert "days=all" in page.one("div", class_="empty").one("a").attributes["href"]
    assert "… Wait." in page.one("section", class_="verdict").text or "✕ Refuse." in page.text


def test_what_is_under_way_is_said_and_what_was_found_before_is_shown_meanwhile(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock)
    waiting = read(view(desk(app, errands=Never()), asked(PATH)))
    assert f"{app.versions()[0]} is compared with the rule; begun" in waiting.one("div", class_="status").text
    errands = AtOnce()
    view(desk(app, errands=errands), asked(PATH))
    clock.now += 3600.0
    later = read(view(desk(app, errands=Never(errands.done)), asked(PATH)))
    assert "Meanwhile, this is what was found before." in later.text
    assert "✓ Promote." in later.text


def test_a_distribution_of_many_values_is_drawn_with_some_of_them() -> None:
    values = np.arange(10_000.0)
    curve = Curve("v1", values, values / 9_999, values / 9_999, values / 9_999, ())
    found = thinned(curve)
    assert len(found.values) == CORNERS
    assert (found.values[0], found.values[-1], found.cdf[-1]) == (0.0, 9_999.0, 1.0)
    np.testing.assert_allclose(found.cdf, found.values / 9_999)
    assert thinned(found) is found
