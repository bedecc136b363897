"""The policy explorer: the figures of every version in a context; what bad fields and bad versions do to them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest

from bondhu import settings
from bondhu.app import open_app
from bondhu.dashboard.figures import contexts
from bondhu.dashboard.figures.differing import Differ, Move, Segment
from bondhu.dashboard.page import Pending
from bondhu.dashboard.sections import between
from bondhu.dashboard.sections.between import Pair, pair_of
from bondhu.domains.ranking import template
from bondhu.serve.decide import Request
from bondhu.serve.explain import believed
from tests.dashboard import looking
from tests.dashboard.shopping import Shop, column, grown, of_one, of_policy, shop
from tests.service import eater
from tests.service.stand import Clock

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return grown(tmp_path_factory.mktemp("policy"))


def test_probabilities_and_values_are_those_with_which_the_server_decides(place: Shop) -> None:
    page, _ = of_policy(place.desk, context__mood="sad", context__age="30")
    first, live = place.app.versions()
    acting = place.app.decider().live.acting(place.clock.now)
    assert acting.version == live
    seen = acting.encoder.one({"mood": "sad", "age": 30})[None]
    chances = acting.policy.distribution(seen, np.ones((1, 3), bool))[0]
    shown = dict(
        zip(column(page, "probabilities", "action"), column(page, "probabilities", f"live: {live}"), strict=True)
    )
    assert shown == dict(zip(acting.actions, chances.tolist(), strict=True))
    rule = column(page, "probabilities", "the rule")
    assert rule == pytest.approx([1 / 3] * 3, abs=1e-15)
    values = [row for row in page.charts["values"].table.rows if row[1] == f"live: {live}"]
    assert [tuple(row[2:]) for row in values] == believed(acting, seen)
    assert f"retired: {first}" in page.charts["probabilities"].table.columns  # the one that was live before


def test_the_form_begins_with_the_newest_decision_or_that_of_an_id(place: Shop) -> None:
    newest = place.app.log.read("shop", 0, 1e12)
    _, root = of_policy(place.desk)
    assert root.one("input", id="field-context.age").attributes["value"] == "59"
    assert [each.text for each in root.one("select", id="field-context.mood").all("option", selected="")] == ["sad"]
    _, root = of_policy(place.desk, decision=newest.id[2])
    assert root.one("input", id="field-context.age").attributes["value"] == "2"
    assert [each.attributes["value"] for each in root.all("input", type="hidden")] == [newest.id[2]]
    _, root = of_policy(place.desk, decision="nobody")
    assert "There is no decision 'nobody'" in root.text
    assert root.one("input", id="field-context.age").attributes["value"] == "59"


def test_a_field_in_the_address_counts_and_the_others_stay(place: Shop) -> None:
    page, root = of_policy(place.desk, context__age="12.5")
    assert root.one("input", id="field-context.age").attributes["value"] == "12.5"
    assert root.one("output").text == "12.5"
    same, _ = of_policy(place.desk, context__age="12.5", context__mood="sad")
    assert column(page, "values", "value") == column(same, "values", "value")


def test_bad_input_is_told_at_its_field_and_the_rest_is_kept(place: Shop) -> None:
    page, root = of_policy(place.desk, context__age="170", context__mood="happy")
    assert page.charts.keys().isdisjoint({"probabilities", "values"})
    told = root.one("div", id="wrong-context.age")
    assert told.text == "✕ Field 'age' got 170, which is outside 0 to 100. Send a number from 0 to 100."
    assert root.one("div", id="wrong-context.mood").text == ""
    assert root.one("input", id="field-context.age").attributes["value"] == "170"
    assert [each.text for each in root.one("select", id="field-context.mood").all("option", selected="")] == ["happy"]
    assert "before this is put right: age." in root.one("div", id="does").text
    _, root = of_policy(place.desk, context__age="old", context__mood=HOSTILE)
    assert "'old', which is no number" in root.one("div", id="wrong-context.age").text
    assert HOSTILE in root.one("div", id="wrong-context.mood").text


def test_an_unknown_older_version_is_told_with_the_nearest(place: Shop) -> None:
    first, live = place.app.versions()
    _, root = of_policy(place.desk, older="baselin")
    assert "Did you mean 'baseline'?" in root.one("div", id="wrong-older").text
    page, root = of_policy(place.desk, older="baseline")
    assert page.charts["probabilities"].table.columns == ["action", f"live: {live}", "the rule"]
    assert [each.text for each in root.one("select", id="field-older").all("option")] == [first, "the rule"]


def test_a_version_that_cannot_be_loaded_says_so_and_the_others_answer(tmp_path: Path) -> None:
    place = grown(tmp_path)
    first, live = place.app.versions()
    header = next(Path(tmp_path).rglob(f"{first}/header.json"))
    header.write_text("{}")
    page, root = of_policy(place.desk)
    assert f"retired: {first} cannot say:" in root.one("div", id="does").text
    assert page.charts["probabilities"].table.columns == ["action", f"live: {live}", "the rule"]
    assert root.one("section", id="differ").one("div", class_="error").text.startswith("✕")


def test_a_context_that_a_version_has_never_seen_is_a_sentence_and_no_picture_of_values(tmp_path: Path) -> None:
    place = shop(tmp_path, learner={"name": "tabular.q_learning"})
    for number in range(60):
        place.decide(number, context={"mood": "happy", "age": 10})
    name = place.train()
    place.app.promote(name, reason="test")
    page, root = of_policy(place.desk, context__mood="sad", context__age="90")
    never = "This version has never seen such a context: all 3 actions are alike to it."
    assert f"live: {name} : {never}" in root.one("div", id="does").text
    assert "values" not in page.charts
    assert root.rows("Every action")[0][1:] == ["33.3 %"]  # of the rule
    known, root = of_policy(place.desk, context__mood="happy", context__age="10")
    assert "values" in known.charts
    assert "never seen" not in root.text
    made = place.decide(0, context={"mood": "sad", "age": 90})
    page, root = of_one(place.desk, made.id)
    assert never in root.one("section", id="candidates").text
    assert {"probabilities", "values", "moved"}.isdisjoint(page.charts)


def test_without_a_decision_or_a_version_there_are_the_rule_and_sliders(tmp_path: Path) -> None:
    app = open_app(settings.from_tables({"domain": {"extends": "recommendation"}}, tmp_path), now=Clock())
    page, root = of_policy(looking.desk(app), context__mood="sad")
    ranges = [each.attributes for each in root.all("input", type="range")]
    assert [each["name"].removeprefix("context.") for each in ranges] == [
        "openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism",
    ]  # fmt: skip
    assert {(each["min"], each["max"], each["step"], each["value"]) for each in ranges} == {("0", "100", "1", "50")}
    assert len(root.all("select")) == 3
    assert "the rule, live takes most low/balanced/familiar" in root.text
    assert column(page, "probabilities", "the rule, live")[0] > 0.9
    assert "keeps values" in root.one("div", id="does").one("div", class_="empty").text
    assert "There is the rule and no version yet." in root.one("section", id="differ").text


def test_actions_that_come_along_are_called_by_their_names(tmp_path: Path) -> None:
    app = eater.deployment(tmp_path, Clock())
    made = app.decider().decide(Request({"contextFeatures": [], "actions": eater.MEALS}))
    page, root = of_policy(looking.desk(app), decision=made.id)
    assert column(page, "probabilities", "action")[0] == "pasta (actions-1)"
    assert len(page.charts["probabilities"].table.rows) == 4  # of 6 there could be
    assert '"ice cream"' in root.one("textarea", id="field-context.actions").text
    _, root = of_policy(looking.desk(app), context__actions='[{"id": ')
    assert "which is not JSON" in root.one("div", id="wrong-context.actions").text
    page, _ = of_policy(looking.desk(app), context__actions='[{"id":"<b>tea</b>","features":[]}]')
    assert column(page, "probabilities", "action") == ["<b>tea</b> (actions-1)"]
    assert tomllib.loads(template())["actions"]["candidates"] == "actions"


def test_contexts_of_other_times_begin_the_form_as_far_as_they_fit(place: Shop) -> None:
    found = contexts.fitted(place.app.domain, {"mood": "bored", "age": 7, "hat": True})
    assert found == {"mood": "happy", "age": 7}


def test_hostile_text_in_a_form_stays_text(tmp_path: Path) -> None:
    more = {"context": {"note": {"kind": "text"}, "who": {"kind": "person"}, "place": {"kind": "vector", "size": 2}}}
    place = shop(tmp_path, learner={"name": "bandit.lin_ucb"}, **more)
    note = f"{HOSTILE} 🙈 \u202eשלום\u202c " + "x" * 10_000
    context = {"mood": "sad", "age": 1, "note": note, "who": '" autofocus onfocus="alert(1)', "place": [0.5, 1]}
    place.decide(0, context=context)
    _, root = of_policy(place.desk)
    area = root.one("textarea", id="field-context.note")
    assert "".join(each for each in area.inside if isinstance(each, str)) == note
    assert root.one("input", id="field-context.who").attributes["value"] == '" autofocus onfocus="alert(1)'
    assert root.one("textarea", id="field-context.place").text == "[0.5,1]"
    assert not [each for each in root.all("*") if any(name.startswith("on") for name in each.attributes)]
    assert not root.all("img")


# ------------------------------------------------------------------------------------------------- where two differ


def test_a_pair_is_in_the_order_in_which_the_versions_came() -> None:
    assert pair_of(["b", "baseline", "a"], ["a", "b"]) == Pair("a", "b")
    assert pair_of(["a", "baseline", "b"], ["a", "b"]) == Pair("a", "b")
    assert pair_of(["a", "baseline"], ["a"]) == Pair("baseline", "a")
    assert pair_of(["baseline"], []) is None


def test_the_section_counts_decisions_and_people(place: Shop) -> None:
    page, root = of_policy(place.desk, older="baseline")
    told = root.one("section", id="differ").text
    assert "disagree about the likeliest action in 0 % of the newest 180 decisions: for 0 of 40 people" in told
    assert "moves" not in page.charts  # the rule takes any of several: no action is against it


def test_while_it_is_counted_the_page_says_so_or_shows_what_was_counted_before(place: Shop) -> None:
    never = looking.Never()
    desk = looking.desk(place.app, errands=never)
    pair = pair_of(["b", "baseline"], [])
    _, root = of_policy(desk, older="baseline")
    assert "Both are asked about the newest decisions" in root.one("section", id="differ").text
    first, live = place.app.versions()
    bucket = int(desk.decisions.sheet().time[-1] // between.BUCKET)
    found = between.differing(place.app, first, live)
    never.done["differ", first, live, bucket - 1] = found
    _, root = of_policy(desk)
    assert "It is being counted anew." in root.one("section", id="differ").text
    assert isinstance(never.ask("nobody", lambda: 1), Pending)
    assert pair == Pair("baseline", "b")


def test_where_two_versions_differ_is_a_table_with_a_way_to_each(place: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Differ(
        *(100, 30, place.clock.now, 2, 25, 9, 0.4),
        segments=(Segment("mood", "sad", 50, 20, 25, 9, 0.5), Segment("mood", "happy", 5, 2, 0, 0, 0.1)),
        moves=(Move("red", "blue", 20, 8, "d7"), Move("green", "blue", 5, 1, "d8")),
    )
    monkeypatch.setattr(between, "differing", lambda *_: counted)
    page, root = of_policy(place.desk, context__age="3")
    section = root.one("section", id="differ")
    assert "disagree about the likeliest action in 25 % of the newest 100 decisions: for 9 of 30 people" in section.text
    assert "2 were made for other fields or actions and are left out." in section.text
    assert page.charts["moves"].table.rows == counted.moves
    assert [each[:4] for each in section.rows("The most frequent")] == [
        ["red", "blue", "20", "8"],
        ["green", "blue", "5", "1"],
    ]
    hrefs = [each.attributes["href"] for each in section.all("a") if each.text == "try it"]
    assert hrefs == ["/dashboard/policy?decision=d7", "/dashboard/policy?decision=d8"]
    assert column(page, "for-whom", "value") == ["sad"]  # five decisions say nothing
    assert column(page, "for-whom", "share that differs") == [0.5]
    assert section.rows("Those for whom")[-1] == ["mood: sad", "50 %", "9 of 20", "50"]
