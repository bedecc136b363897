"""The search for decisions: each criterion by itself, every page, people whose names are hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures.searching import asked_for, by_id, candidates, cursor, hits, sessions
from bondhu.dashboard.page import Desk, Progress
from bondhu.dashboard.views import decisions
from bondhu.serve.decide import Request
from bondhu.types import Decision, Feedback
from tests.dashboard import looking
from tests.dashboard.looking import Element
from tests.dashboard.shopping import Shop, asked, grown, of_decisions, shop
from tests.service.shop import ACTIONS

SALT = "a salt that nobody could guess"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return grown(tmp_path_factory.mktemp("decisions"))


def logged(place: Shop) -> list[Decision]:
    """All decisions, newest first."""
    records = place.app.log.read("shop", 0, 1e12)
    found = [place.app.log.find(identity) for identity in records.id]
    return sorted((each[0] for each in found if each), key=lambda each: -each.time)


def shown(root: Element) -> list[str]:
    """Ids of the decisions that are listed."""
    rows = root.one("section", id="found").all("th", scope="row")
    return [urlsplit(row.one("a").attributes["href"]).path.rpartition("/")[2] for row in rows]


def found(place: Shop, **query: str) -> set[str]:
    """Ids of all that are found, page after page."""
    desk, ids, said = place.desk, set(), {name.replace("__", "."): value for name, value in query.items()}
    sheet = desk.decisions.sheet()
    while True:
        search, wrong = asked_for(place.app, sheet, said)
        assert wrong == {}
        moments = sessions(place.app, 1_000).of(search.session) if search.session else []
        page = hits(place.app, sheet, search, moments)
        new = {each.decision.id for each in page.rows}
        assert not new & ids
        ids |= new
        if page.before is None:
            return ids
        said = {**said, "before": cursor(page.before)}


def test_the_newest_fifty_come_first_and_the_next_page_goes_on(place: Shop) -> None:
    every = [each.id for each in logged(place)]
    root = of_decisions(place.desk)
    assert shown(root) == every[:50]
    assert root.one("section", id="found").one("caption").text == "50 of 180 decisions"
    assert "data-live" in root.one("section", id="found").attributes
    older = root.one("nav").one("a").attributes["href"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(older).query).items()}
    root = of_decisions(place.desk, query)
    assert shown(root) == every[50:100]
    assert [each.text for each in root.one("nav").all("a")] == ["← newest", "older →"]
    assert "data-live" not in root.one("section", id="found").attributes


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ({"user": "u7"}, lambda each: each.user == "u7"),
        ({"session": "s7"}, lambda each: each.session == "s7"),
        ({"session": "s7", "user": "u17"}, lambda each: each.session == "s7" and each.user == "u17"),
        ({"action": "blue"}, lambda each: each.action == "blue"),
        ({"version": "baseline"}, lambda each: each.version == "baseline"),
        (
            {"context__mood": "sad", "action": "red"},
            lambda each: each.context["mood"] == "sad" and each.action == "red",
        ),
        ({"context__age": "20 to 40"}, lambda each: 20 <= each.context["age"] < 40),
        ({"explored": "yes"}, lambda each: each.version != "baseline" and each.action != "blue"),
        ({"explored": "no"}, lambda each: each.version == "baseline" or each.action == "blue"),
        (
            {"reward": "above", "amount": "0.5", "version": "baseline"},
            lambda each: each.action == "blue" and each.version == "baseline",
        ),
        ({"variant": "trial"}, lambda each: False),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_every_criterion_finds_what_it_says(place: Shop, query: dict[str, str], meant: Any) -> None:
    assert found(place, **query) == {each.id for each in logged(place) if meant(each)}


def test_times_are_utc_and_bound_the_search(place: Shop) -> None:
    every = logged(place)
    sheet = place.desk.decisions.sheet()
    search, wrong = asked_for(place.app, sheet, {"from": "2026-11-18T12:01:00", "to": "2026-11-18T13:02:00+01:00"})
    assert wrong == {}
    assert search.end - search.start == 60.0
    rows = candidates(sheet, search)
    assert sheet.time[rows].tolist() == [each.time for each in every if search.start <= each.time < search.end]
    assert len(rows) == 60


def test_decisions_of_one_moment_are_all_found_once(tmp_path: Path) -> None:
    place = shop(tmp_path)
    place.app.decider().decide_many([Request({"mood": "sad", "age": 1}, user="u", id=f"d{n}") for n in range(130)])
    assert found(place) == {f"d{number}" for number in range(130)}
    assert found(place, explored="no") == {f"d{number}" for number in range(130)}  # the rule draws evenly


def test_rows_say_what_was_done_and_what_came_of_it(place: Shop) -> None:
    every = logged(place)
    root = of_decisions(place.desk)
    cells = [[each.text for each in row.all("td")] for row in root.one("section", id="found").one("tbody").all("tr")]
    for row, made in zip(cells, every, strict=False):
        liked = made.action == "blue"
        assert row[0] == made.action
        assert row[1] == f"{made.probability:.3g}"
        assert row[2] == ("explored" if made.probability < 0.5 else "")
        assert row[3] == made.version
        assert row[4] == ("1" if liked else "0")  # two hours ago: settled
        assert row[5] == ("like 1" if liked else "—")


def test_an_id_finds_a_decision_also_that_of_feedback(place: Shop) -> None:
    made = next(each for each in logged(place) if each.action == "blue")
    assert shown(of_decisions(place.desk, {"id": made.id})) == [made.id]
    assert shown(of_decisions(place.desk, {"id": f"said of {made.id}"})) == [made.id]
    assert "No decision has the id 'nobody'" in of_decisions(place.desk, {"id": "nobody"}).text
    assert by_id(place.app, "with a NUL \x00") is None


def test_what_was_revised_or_taken_back_does_not_count(tmp_path: Path) -> None:
    place = shop(tmp_path)
    made = place.decide(0, id="one")
    kept = [
        Feedback("w1", "one", "watched", 0.5, place.clock.now),
        Feedback("w2", "one", "watched", 1.0, place.clock.now, "w1"),
    ]
    gone = [
        Feedback("l1", "one", "like", 1.0, place.clock.now),
        Feedback("l2", "one", "like", None, place.clock.now, "l1"),
    ]
    place.app.log.append([], [*kept, *gone])
    (row,) = of_decisions(place.desk, {"user": "u0"}).one("section", id="found").one("tbody").all("tr")
    liked = ", like 1" if made.action == "blue" else ""
    assert row.all("td")[5].text in (f"watched 1{liked}", "like 1, watched 1")
    assert row.all("td")[4].text == f"{1.5 if liked else 0.5} so far"


def test_people_and_sessions_are_found_by_the_names_that_the_application_uses(tmp_path: Path) -> None:
    hidden = {"privacy": {"user": "hash", "session": "hash", "salt": SALT}}
    place = shop(tmp_path, **hidden)
    made = [place.decide(number) for number in range(10)]
    assert made[3].user not in (None, "u3")
    assert found(place, user="u3") == {made[3].id}
    assert found(place, session="s4") == {made[4].id}
    assert found(place, user=str(made[3].user)) == {made[3].id}  # as it is stored
    assert found(place, user="u3", session="s4") == set()


def test_sessions_of_nobody_known_and_those_called_like_the_user_need_no_reading(tmp_path: Path) -> None:
    place = shop(tmp_path)
    nobody = place.decide(0, user=None, session="visit")
    own = place.decide(1, user="ada", session=None)
    desk = looking.desk(place.app, errands=looking.Never())
    root = of_decisions(desk, {"session": "visit"})
    assert shown(root) == [nobody.id]
    assert "The session is looked for among the newest 100,000 decisions" in root.text
    assert shown(of_decisions(desk, {"session": "ada"})) == [own.id]


def test_one_reading_of_the_log_is_for_all_sessions(place: Shop) -> None:
    errands = looking.AtOnce()
    desk = looking.desk(place.app, errands=errands)
    for session in ("s7", "s8", "nobody's", "s7"):
        wanted = {each.id for each in logged(place) if each.session == session}
        assert set(shown(of_decisions(desk, {"session": session}))) == wanted
    assert len(errands.done) == 1
    met = sessions(place.app, 1_000)
    every = sorted(each.time for each in logged(place) if each.session == "s8")
    assert sorted(met.of("s8")) == every
    assert sessions(place.app, 10).of("s8") == every[-1:]
    assert sessions(place.app, 0).of("s8") == []


@pytest.mark.parametrize("before", ["1e308~0", "-1e308~0", "inf~0", "nan", "7e10~0", f"1~{'9' * 5_000}", "1~-1"])
def test_a_time_that_no_calendar_has_is_no_place_to_go_on_from(place: Shop, before: str) -> None:
    every = [each.id for each in logged(place)]
    assert shown(of_decisions(place.desk, {"before": before})) == every[:50]


def test_a_place_far_behind_its_moment_is_one_from_which_older_ones_follow(place: Shop) -> None:
    every = logged(place)
    query = {"before": f"{every[0].time!r}~{10**30}"}
    assert shown(of_decisions(place.desk, query)) == [each.id for each in every[1:51]]


def test_no_amount_is_too_large_to_be_asked_for(place: Shop) -> None:
    assert found(place, reward="above", amount="1e308") == found(place, reward="below", amount="-1e308") == set()
    every = {each.id for each in logged(place)}
    assert found(place, reward="above", amount="-1e308") == found(place, reward="below", amount="1e308") == every


def test_wrong_words_are_told_and_nothing_is_looked_for(place: Shop) -> None:
    query = {"from": "tomorrow", "reward": "above", "amount": "much", "context.mood": "bad", "context.hat": "red"}
    root = of_decisions(place.desk, query)
    told = [each.text.removeprefix("✕ ") for each in root.one("section", id="search").all("div", class_="error")]
    assert told[0].startswith("'much' is no number")
    assert told[1].startswith("'tomorrow' is no time")
    assert told[2].startswith("There is no field 'hat'")
    assert told[3].startswith("No decision has the mood 'bad'")
    assert "Nothing was looked for" in root.one("section", id="found").text
    root = of_decisions(place.desk, {"explored": "maybe", "before": "never"})
    assert "There is no explored 'maybe'" in root.text


def test_where_not_everything_is_read_the_page_says_how_far_back(place: Shop) -> None:
    class Some:
        def sheet(self) -> Sheet:
            return place.desk.decisions.sheet()

        def progress(self) -> Progress:
            return Progress(180, 1_000, place.clock.now - 86_400)

    desk = Desk(place.app, Some(), looking.AtOnce())
    assert "180 of about 1,000 decisions are searched, those since 2026-11-17" in of_decisions(desk).text
    later = {"from": "2026-11-18T00:00"}
    assert "are searched" not in of_decisions(desk, later).text


def test_without_decisions_the_page_says_what_to_do(tmp_path: Path) -> None:
    assert "There is no decision yet. Ask for one" in of_decisions(shop(tmp_path).desk).text


def test_hostile_words_stay_words(place: Shop) -> None:
    hostile = '"><script>alert(1)</script>'
    for name in ("id", "user", "session", "action", "version", "variant", "explored", "from", "context.mood", "before"):
        root = looking.read(decisions.view(place.desk, asked("decisions", {name: hostile})))
        assert not root.all("script")


def test_ids_with_any_letters_lead_to_their_decision(tmp_path: Path) -> None:
    place = shop(tmp_path)
    for number, identity in enumerate(("a b", "naïve/路", "50%?#", "..")):
        place.decide(number, id=identity)
    hrefs = {each.attributes["href"] for each in of_decisions(place.desk).one("section", id="found").all("a")}
    assert hrefs == {
        "/dashboard/decisions/a%20b",
        "/dashboard/decisions/na%C3%AFve/%E8%B7%AF",
        "/dashboard/decisions/50%25%3F%23",
        "/dashboard/decisions?id=..",
    }


def test_what_was_erased_meanwhile_is_left_out(tmp_path: Path) -> None:
    place = shop(tmp_path)
    made = [place.decide(number) for number in range(4)]
    sheet = place.desk.decisions.sheet()
    place.app.log.erase("shop", "u2")
    search, _ = asked_for(place.app, sheet, {})
    assert [each.decision.id for each in hits(place.app, sheet, search).rows] == [made[at].id for at in (3, 1, 0)]


def test_contexts_that_do_not_fit_any_more_are_found_by_their_id(tmp_path: Path) -> None:
    place = shop(tmp_path)
    row = Decision(*("odd", "shop", "s", "u", place.clock.now, {"hat": 1}, ACTIONS, "red", 1.0, (), "gone", "live"))
    place.app.log.append([row])
    assert "1 have a context that is not what is declared now" in of_decisions(place.desk).text
    root = of_decisions(place.desk, {"id": "odd"})
    assert "cannot be told" in root.one("section", id="found").text
