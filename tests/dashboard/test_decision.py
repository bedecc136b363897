"""One decision's page: the same figures as the audit record of the API, and words for whatever cannot be said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bondhu.dashboard.page import Desk
from bondhu.ports import Transcript
from bondhu.serve.decide import Request
from bondhu.types import Decision, Feedback
from tests.dashboard import looking
from tests.dashboard.shopping import Shop, column, grown, of_one, shop
from tests.gateway.place import folder
from tests.service import eater
from tests.service.shop import ACTIONS
from tests.service.stand import Clock
from tests.service.web import ADMIN, opened

HOSTILE = {
    "html": "<script>alert('1')</script><img src=x onerror=alert(1)>",
    "rtl": "\u202eשלום עולם\u202c",
    "emoji": "🙈🏳️‍🌈",
    "long": "<b>" + "x" * 10_000,
    "nested": {"</td>": ["<i>", {"a": "\"' onclick=alert(1)"}]},
    '<u onmouseover="alert(1)">': "field",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return grown(tmp_path_factory.mktemp("decision"))


def ids(place: Shop) -> list[str]:
    return list(place.app.log.read("shop", 0, 1e12).id)


def one_of(place: Shop, version: str, action: str) -> str:
    rows = [place.app.log.find(each) for each in ids(place)]
    return next(row[0].id for row in rows if row and row[0].version == version and row[0].action == action)


def test_the_page_shows_the_audit_record_of_the_api_bit_for_bit(place: Shop) -> None:
    first, _ = place.app.versions()
    chosen = [one_of(place, version, action) for version in ("baseline", first) for action in ("red", "blue")]
    for client in opened(place.app.decider()):
        for identity in chosen:
            audit = client.get(f"/v1/decisions/{identity}", **ADMIN).json()
            page, root = of_one(place.desk, identity)
            assert root.one("div", id="why").one("p", class_="answer").text == audit["why"]
            names = ("action", "probability", "value", "low", "high", "tries")
            rows = [tuple(each[name] for name in names) for each in audit["candidates"]]
            assert sorted(map(tuple, page.charts["probabilities"].table.rows)) == sorted(rows)
            if any(abs(each["by"]) > 1e-9 for each in audit["moved"]):
                moved = zip(column(page, "moved", "field"), column(page, "moved", "by"), strict=True)
                assert [*moved] == [(each["field"], each["by"]) for each in audit["moved"]]
            assert audit["replayed"]
            assert repr(audit["decision"]["probability"]) in root.one("section", id="replay").text
            assert ("explored" in root.one("section", id="decision").one("dl").text) == audit["explored"]


def test_what_does_not_come_out_the_same_is_told(tmp_path: Path) -> None:
    place = shop(tmp_path)
    made = place.app.decider().choose([Request({"mood": "sad", "age": 3}, id="forged")])[0]
    gone = made._replace(id="gone", version="a version that was lost")
    place.app.log.append([made._replace(probability=float(np.nextafter(made.probability, 0.0))), gone])
    _, root = of_one(place.desk, "forged")
    assert "No. Decided again with the rule, another action or another probability" in root.text
    page, root = of_one(place.desk, "gone")
    assert "No. It cannot be decided again with version 'a version that was lost'" in root.text
    assert "probabilities" not in page.charts
    assert "Allowed was: red, blue, green." in root.one("section", id="candidates").text
    assert "Nobody can say" in root.one("section", id="moved").text


def test_an_unknown_id_is_not_found_and_the_page_says_where_to_look(place: Shop) -> None:
    for identity in ("nobody", "<script>", "x" * 1_000, "with a NUL \x00", ""):
        page, root = of_one(place.desk, identity)
        assert page.status == 404
        assert [each.attributes["href"] for each in root.all("a")] == ["/dashboard/decisions"]


def test_hostile_contexts_stay_text(tmp_path: Path) -> None:
    place = shop(tmp_path)
    row = Decision(*("evil", "shop", "s", "<u>", place.clock.now, HOSTILE, ACTIONS, "red", 1.0, (), "baseline", "live"))
    said = [Feedback('"><script>', "evil", "<b>like</b>", 1.0, place.clock.now)]
    place.app.log.append([row], said)
    _, root = of_one(place.desk, "evil")
    assert not root.all("script")
    assert not root.all("img")
    assert not [each for each in root.all("*") if any(name.startswith("on") for name in each.attributes)]
    context = root.one("section", id="context")
    shown = ["".join(part for part in each.inside if isinstance(part, str)) for each in context.all("bdi")]
    for name in ("html", "rtl", "emoji"):
        assert HOSTILE[name] in shown
    assert '<u onmouseover="alert(1)">' in shown
    folded = context.one("details")
    assert folded.one("summary").text.endswith("… (10,003 characters)")
    assert HOSTILE["long"] in shown
    assert any('onclick=alert(1)"' in each for each in shown)
    assert "<b>like</b>" in root.one("section", id="feedback").text


def test_feedback_is_shown_with_what_still_counts(tmp_path: Path) -> None:
    place = shop(tmp_path)
    row = Decision(
        *("one", "shop", "s", "u", place.clock.now, {"mood": "sad", "age": 3}, ACTIONS, "red", 1 / 3, (0.2,)),
        *("baseline", "live"),
    )
    now = place.clock.now
    said = [
        Feedback("f1", "one", "watched", 0.5, now),
        Feedback("f2", "one", "watched", 1.0, now + 1, "f1"),
        Feedback("f3", "one", "like", 1.0, now + 2),
        Feedback("f4", "one", "like", None, now + 3, "f3"),
    ]
    place.app.log.append([row], said)
    place.clock.now += 10
    _, root = of_one(place.desk, "one")
    rows = root.one("section", id="feedback").rows("Feedback")
    assert [each[3] for each in rows] == ["no: revised or taken back", "yes", "no: revised or taken back", "takes back"]
    assert "The reward is so far 0.5." in root.text
    place.clock.now += 7_200
    _, root = of_one(place.desk, "one")
    assert "The reward is 0.5." in root.text


# ---------------------------------------------------------------------------------------------------------- what if


def test_what_others_earned_is_the_mean_of_their_rewards(tmp_path: Path) -> None:
    place = shop(tmp_path)
    for number in range(400):
        place.decide(number, context={"mood": "sad", "age": 30})
    place.clock.now += 7_200
    made = place.decide(0, context={"mood": "sad", "age": 31})
    page, root = of_one(place.desk, made.id)
    earned = dict(zip(column(page, "what-if", "action"), column(page, "what-if", "earned"), strict=True))
    assert earned == {"red": 0.0, "green": 0.0, "blue": 1.0}
    assert sum(column(page, "what-if", "decisions")) == 400
    assert column(page, "what-if", "action")[0] == made.action
    assert set(column(page, "what-if", "given up")) == {""}
    assert np.isnan(column(page, "what-if", "believed")).all()
    assert "baseline keeps no values: there is no belief to show." in root.text
    assert "weighted by the inverse of the probability with which it was taken" in root.text
    assert "the last declared, as none is known to have moved it" in root.text
    assert "all of them earned the same, so there is no interval" in root.text


def test_what_is_given_up_for_all_actions_is_said_once(tmp_path: Path) -> None:
    place = shop(tmp_path)
    for number in range(400):
        place.decide(number, context={"mood": "sad", "age": 30})
    place.clock.now += 7_200
    made = place.decide(0, context={"mood": "sad", "age": 90})
    page, root = of_one(place.desk, made.id)
    assert set(column(page, "what-if", "given up")) == {"age"}
    section = root.one("section", id="what-if")
    assert section.text.count("Given up for all actions: age.") == 1
    how = [each[-1] for each in section.rows("What each action brings")]
    assert {each.partition(";")[0] for each in how} == {"alike in the rest"}


def test_a_belief_is_that_of_the_version_and_few_others_are_refused(place: Shop) -> None:
    first, _ = place.app.versions()
    page, root = of_one(place.desk, one_of(place, first, "blue"))
    believed = dict(zip(column(page, "what-if", "action"), column(page, "what-if", "believed"), strict=True))
    values = dict(zip(column(page, "values", "action"), column(page, "values", "value"), strict=True))
    assert believed == values
    told = root.one("section", id="what-if").text
    assert "a model's belief, right or wrong" in told
    assert any("fewer than 30 decisions of 10 people" in each for each in column(page, "what-if", "refused"))


def test_actions_that_come_along_are_not_compared_with_those_of_others(tmp_path: Path) -> None:
    app = eater.deployment(tmp_path, Clock())
    made = app.decider().decide(Request({"contextFeatures": [], "actions": eater.MEALS}, user="u"))
    page, root = of_one(looking.desk(app), made.id)
    told = root.one("section", id="what-if").text
    assert "The name of an action is a place in the list of one request" in told
    assert "what-if" not in page.charts
    assert "pasta (actions-1)" in column(page, "probabilities", "action")
    alone = app.decider().decide(Request({"contextFeatures": [], "actions": eater.MEALS[:1]}))
    _, root = of_one(looking.desk(app), alone.id)
    assert "No other action was allowed." in root.one("section", id="what-if").text


# ------------------------------------------------------------------------------------------------- what stands around


def test_what_was_decided_before_and_after_in_the_session_is_listed(tmp_path: Path) -> None:
    place = shop(tmp_path)
    mine = [place.decide(number, user="ada", session="visit").id for number in range(3)]
    place.decide(3, user="ada", session="another")
    place.decide(4, user="bob", session="visit")
    _, root = of_one(place.desk, mine[1])
    section = root.one("section", id="session")
    assert [each.attributes["href"].rpartition("/")[2] for each in section.one("tbody").all("a")] == [mine[2], mine[0]]
    assert section.all("a")[-1].attributes["href"] == "/dashboard/decisions?session=visit&user=ada"
    alone = place.decide(5, user=None, session=None)
    _, root = of_one(place.desk, alone.id)
    assert "It is the only decision of its session." in root.text


def test_decisions_that_the_columns_do_not_reach_are_shown_all_the_same(place: Shop) -> None:
    class Late:
        def sheet(self) -> object:
            sheet = looking.Read(place.app).sheet()
            return sheet.take(slice(len(sheet) - 5, len(sheet)))

        def progress(self) -> object:
            return looking.Read(place.app).progress()

    desk = replace(place.desk, decisions=Late())
    first = ids(place)[0]
    page, root = of_one(desk, first)
    assert page.status == 200
    assert "do not reach back so far" in root.one("section", id="session").text
    assert isinstance(desk, Desk)


def test_the_page_says_what_was_being_released(tmp_path: Path) -> None:
    place = grown(tmp_path)
    first, live = place.app.versions()
    now = place.clock.now
    plain = Decision(
        *("trial", "shop", "s", "u", now, {"mood": "sad", "age": 3}, ACTIONS, "red", 1.0, (), first, "trial", 0.25),
    )
    place.app.log.append([plain, plain._replace(id="holdout", variant="holdout", version="baseline", assigned=0.1)])
    told = {name: of_one(place.desk, name)[1].one("section", id="release").text for name in ("trial", "holdout")}
    assert f"The user was in a trial: its version was given to 25 % of the people; live was {live}." in told["trial"]
    assert "The user is in the holdout, which always meets the rule: given to 10 %" in told["holdout"]
    before = ids(place)[0]
    assert "The user met what was live: the rule" in of_one(place.desk, before)[1].one("section", id="release").text


def test_a_transcript_is_shown_as_text_where_it_is_kept(tmp_path: Path) -> None:
    from bondhu.app import open_app
    from bondhu.settings import load

    app = open_app(load(folder(tmp_path, {"local": "http://127.0.0.1:9/v1"}, styles=("plain", "brief"))))
    context = {"text": "<b>hi</b>", "topic": "code", "words": 3, "retry": "no"}
    made = [app.decider().decide(Request(context, user="u", id=name)) for name in ("kept", "lost")]
    said = [{"role": "user", "content": "<script>alert(1)</script>"}]
    body = {"messages": said, "answer": {"role": "assistant", "content": "A *list*."}, "model": "tiny", "cost": 0.1}
    app.transcripts.keep([Transcript(made[0].id, app.now(), body)])
    _, root = of_one(looking.desk(app), "kept")
    talk = root.one("section", id="transcript")
    assert [each.text for each in talk.one("dl", class_="talk").all("dd")] == ["<script>alert(1)</script>", "A *list*."]
    assert "model tiny cost 0.1" in talk.text
    assert not root.all("script")
    _, root = of_one(looking.desk(app), "lost")
    assert "Nothing is kept" in root.one("section", id="transcript").text
    assert of_one(looking.desk(app), "chatcmpl-kept")[0].status == 404  # that is no id that this server made


def test_a_decision_of_before_an_action_was_added_is_decided_again_as_the_api_does(tmp_path: Path) -> None:
    before = grown(tmp_path)
    place = shop(tmp_path, actions={"names": [*ACTIONS, "yellow"]})
    place.clock.now = before.clock.now
    new = [place.decide(number) for number in range(3)]
    live = place.app.decider()
    for identity in (ids(before)[-1], new[-1].id):
        audit = live.explain(identity)
        page, root = of_one(place.desk, identity)
        assert column(page, "probabilities", "probability") == sorted(
            (e.probability for e in audit.candidates), reverse=True
        )
        assert audit.replayed == ("bit for bit: decided again" in root.one("section", id="replay").text)
    assert len(live.explain(ids(before)[0]).candidates) == 3
    assert len(live.explain(new[-1].id).candidates) == 4


def test_what_an_apprentice_did_says_whose_choice_it_was(tmp_path: Path) -> None:
    place = shop(tmp_path, release={"apprentice": True}, exploration={"rate": 0.5})
    made = [place.decide(number, default="green", session=None) for number in range(30)]
    by_version = {each.version: each for each in made}
    assert set(by_version) == {"application", "application, explored"}
    for version, each in by_version.items():
        page, root = of_one(place.desk, each.id)
        assert ("explored" in root.one("section", id="decision").one("dl").text.split("Version")[0]) == ("," in version)
        assert "bit for bit: decided again" in root.one("section", id="replay").text
        assert "Allowed was: red, blue, green." in root.one("section", id="candidates").text
        assert "probabilities" not in page.charts
