"""The view of releases: who decides, what the running test says, how it came so, and who may move what."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from pathlib import Path

import pytest

from bondhu.access import Caller
from bondhu.access.acts import Acts, Where
from bondhu.app import App
from bondhu.dashboard.columns.recurring import latest
from bondhu.dashboard.figures import trials
from bondhu.dashboard.figures.lineage import ancestries, differences
from bondhu.dashboard.figures.trials import looks_of, missing, moments, running, wait_of
from bondhu.dashboard.page import Page
from bondhu.dashboard.sections.climbing import position
from bondhu.dashboard.views.releases import deciding, view
from bondhu.experimenting import Question, analysis
from bondhu.ports import Event
from bondhu.registry.lifecycle import BASELINE, Step, Traffic, traffic
from bondhu.release.loop import next_move
from bondhu.release.rules import ReleaseRules
from bondhu.report.words import moment, percent
from bondhu.server.administration import Administration
from tests.dashboard.looking import ADMIN, OPERATOR, READER, AtOnce, Element, Never, asked, desk, read
from tests.service.shop import version
from tests.service.stand import HOUR, Clock, log, opened
from tests.service.test_release import PEOPLE, an_hour, deployed

PATH = "/dashboard/releases"


def seen(app: App, role: str | None = None, **query: str) -> Element:
    return read(drawn(app, role, **query))


def drawn(app: App, role: str | None = None, **query: str) -> Page:
    return view(desk(app), asked(PATH, role, query))


def on_trial(path: Path, clock: Clock, hours: int = 2, people: int = 400, **release: object) -> App:
    """A version on trial for half of the people, which is waited for."""
    app = deployed(path, clock, **{"shadow": False, "steps": [0.5, 1.0], "minimum_hours": 1000.0, **release})
    app.release(reason="the launch", by="ann")
    for _ in range(hours):
        an_hour(app, clock, people)
    return app


def step_of(app: App) -> Step:
    step = traffic(app.events()).step
    assert step is not None
    return step


# ------------------------------------------------------------------------------------------------------------ standing


@pytest.mark.parametrize(
    ("now", "holdout", "says"),
    [
        (Traffic(None, None, False), 0.0, "The rule decides for everybody."),
        (Traffic("v1", None, False), 0.0, "Version v1 decides for everybody."),
        (Traffic("v1", None, False), 0.2, "everybody but for the 20\u00a0% who are in the holdout"),
        (Traffic("v1", Step("v2", 0.0, 0.0, 0.0), False), 0.0, "v2 is in shadow and decides for nobody yet."),
        (
            Traffic("v1", Step("v2", 0.5, 0.0, 0.0), False),
            0.0,
            "all others; v2 is on trial for 50\u00a0% of the people.",
        ),
        (
            Traffic("v1", Step("v2", 0.5, 0.0, 0.0), False),
            0.2,
            "for 40\u00a0% of the people (50\u00a0% of those outside",
        ),
        (Traffic(None, None, True), 0.2, "The kill switch is on: the rule decides for everybody"),
    ],
)
def test_who_decides_for_whom_is_one_sentence(now: Traffic, holdout: float, says: str) -> None:
    assert says in deciding(now, holdout)


def test_without_a_version_it_says_what_to_do_next(tmp_path: Path) -> None:
    page = seen(opened(tmp_path))
    assert "There is no version yet; a training makes the first one." in page.text
    assert "No version is in shadow or on trial" in page.text
    assert "The gate was not asked yet." in page.text
    assert "Nothing has happened yet" in page.text
    assert page.one("section", id="acts").one("a").attributes["href"] == "/dashboard/login?back=%2Fdashboard%2Freleases"


def test_the_ladder_shows_where_the_version_under_release_stands(tmp_path: Path) -> None:
    clock = Clock()
    app = on_trial(tmp_path, clock)
    ladder = seen(app).one("ol", class_="ladder")
    assert [each.one("b").text for each in ladder.all("li")] == [
        *("candidate", "trial at 50 %", "trial at 100 %", "live")
    ]
    assert ladder.one("li", aria_current="step").one("b").text == "trial at 50 %"
    app.promote(reason="enough")
    ladder = seen(app).one("ol", class_="ladder")
    assert ladder.one("li", aria_current="step").one("b").text == "live"
    app.stop(reason="complaints")
    assert seen(app).one("ol", class_="ladder").all("li", aria_current="step") == []
    assert "The kill switch is on" in seen(app).text


def test_a_version_whose_share_the_rules_no_longer_know_stands_where_it_stands() -> None:
    names = ["candidate", "trial at 10\u00a0%", "trial at 30\u00a0%", "live"]
    assert position(Step("v1", 0.3, 0.0, 0.0), names, "trial") == 2
    assert position(None, names, "retired") == -1


# ----------------------------------------------------------------------------------------------------- the running test


def test_the_running_test_shows_the_figures_of_a_look_and_records_nothing(tmp_path: Path) -> None:
    clock = Clock()
    app = on_trial(tmp_path, clock)
    before = list(app.events())
    page = drawn(app)
    move = next_move(app.deployment, app.acting, step_of(app), app.release_rules, app.now())
    test = read(page).one("section", id="test")
    assert move.kind == "wait"
    assert all(reason in test.text for reason in move.reasons)
    rows = {row[0]: row[1:] for row in test.rows("What this step asks for")}
    assert rows["settled decisions at this step"] == [f"{move.figures['decisions']:,}", "at least 100", "nothing"]
    assert rows["hours at this step"][:2] == ["2.2", "at least 1000"]
    assert rows["hours at this step"][2] == "about 41 days"
    reward = move.figures["reward"]
    now = page.charts["difference-now"].table.rows[0]
    assert now == ("everybody", reward["value"], reward["low"], reward["high"])
    assert reward["low"] > 0
    assert list(page.charts["difference"].table.rows[-1][2:]) == [reward["value"], reward["low"], reward["high"]]
    assert list(app.events()) == before


def test_the_difference_at_past_looks_is_what_those_looks_would_have_seen(tmp_path: Path) -> None:
    clock = Clock()
    app = on_trial(tmp_path, clock, hours=4)
    found = running(app, step_of(app))
    middle = found.path[1]
    then = replace(app, now=lambda: middle.time)
    look = next_move(then.deployment, then.acting, step_of(app), app.release_rules, middle.time)
    assert isfinite(middle.difference.low)
    assert middle.difference._asdict() == look.figures["reward"]
    widths = [each.difference.high - each.difference.low for each in found.path if isfinite(each.difference.low)]
    assert widths[-1] < widths[0]


def test_a_look_that_moved_a_release_is_marked_in_its_course(tmp_path: Path) -> None:
    clock = Clock()
    app = on_trial(tmp_path, clock, minimum_hours=1.0)
    look = app.look()
    assert look is not None
    assert (look.move.kind, look.move.share) == ("tried", 1.0)
    an_hour(app, clock)
    (moved,) = looks_of(app.events(), step_of(app))
    assert moved.difference._asdict() == app.events()[-1].figures["reward"]
    assert moved.time == app.events()[-1].time
    picture = seen(app).one("figure", id="chart-difference")
    assert "a step" in picture.text


def test_what_was_computed_of_the_past_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    app = on_trial(tmp_path, clock)
    step, computed = step_of(app), []
    first = running(app, step)
    monkeypatch.setattr(trials, "_difference", lambda *_: computed.append(1))
    assert running(app, step, first).path[:-1] == first.path[:-1]
    assert computed == []


def test_past_looks_stay_where_they_are_while_time_goes_on() -> None:
    assert moments(0.0, 2.5 * HOUR) == [HOUR, 2 * HOUR]
    assert moments(0.0, 0.5 * HOUR) == []
    assert set(moments(0.0, 9 * HOUR)) <= set(moments(0.0, 9.5 * HOUR))
    assert max(len(moments(0.0, days * 24 * HOUR)) for days in (1, 3, 7, 28, 90)) <= trials.MOST + 1


def test_people_are_counted_by_variant_beside_what_was_expected(tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock())
    ratio = running(app, step_of(app)).ratio
    assert ratio is not None
    assert (ratio.users, ratio.mismatch) == (400, False)
    test = seen(app).one("section", id="test")
    assert ratio.sentence in test.text
    assert test.rows("People by the share") == [["50 %", "400", str(ratio.treated), "200.0"]]


def test_guardrails_and_groups_are_shown_with_interval_limit_and_state(tmp_path: Path) -> None:
    release = {"guardrails": {"watched": 0.5}, "groups": ["mood"]}
    app = on_trial(tmp_path, Clock(), **release)
    figures = running(app, step_of(app)).move.figures
    test = seen(app).one("section", id="test")
    (rail,) = test.rows("Signals that must not grow")
    assert (rail[0], rail[2]) == ("watched", "+0.5")
    (group,) = test.rows("The difference within groups")
    assert group[0] == "mood = happy"
    assert group[2] == "surely gains"
    assert figures["groups"]["mood = happy"]["low"] > 0


def test_the_time_to_a_decision_is_told_or_why_nobody_can(tmp_path: Path) -> None:
    clock = Clock()
    app = on_trial(tmp_path, clock, hours=2, minimum_hours=5.0)
    when = seen(app).one("p", id="when").text
    assert "At the pace and the difference so far, in about 2 hours: hours at this step takes longest." in when
    assert "(28 days), it ends." in when
    few = on_trial(tmp_path / "few", Clock(), hours=1, people=6)
    when = seen(few).one("p", id="when").text
    assert "No time can be given. There is no difference yet that could be foreseen from" in when


def test_a_step_is_missing_what_its_rules_ask_for_at_the_pace_so_far(tmp_path: Path) -> None:
    clock = Clock()
    app = on_trial(tmp_path, clock)
    found = running(app, step_of(app))
    rules = replace(app.release_rules, minimum_decisions=1000.0)
    made, hours = found.move.figures["made"], found.move.figures["hours"]
    decisions = missing(found, rules, wait_of(app))[0]
    assert not decisions.met
    assert decisions.hours == pytest.approx(1000 / (made / hours) + 1.0 - hours)
    assert wait_of(app) == HOUR


def test_a_version_in_shadow_shows_agreement_failures_and_latency(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock, shadow=True)
    app.release(reason="the launch")
    an_hour(app, clock)
    test = seen(app).one("section", id="test")
    cards = {each.one("dt").text: each.all("dd")[0].text for each in test.one("dl", class_="cards").all("div")}
    figures = running(app, step_of(app)).move.figures
    assert cards["agreement"] == percent(figures["agreement"]).replace("\u00a0", " ")
    assert cards["failures"] == "0 of 400"
    assert "It climbs." in test.text
    assert "[release] automatic is off" in test.text


def test_a_version_that_cannot_act_comes_back_and_says_why(tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock())
    (file,) = tmp_path.rglob(f"{app.versions()[0]}/values.npy")
    file.write_bytes(b"damaged")
    page = seen(app)
    assert "It comes back." in page.text
    assert "does not match its checksum" in page.one("section", id="test").text
    assert "does not match its checksum" in page.one("section", id="versions").text


def test_what_is_under_way_is_said_and_an_older_look_is_shown_meanwhile(tmp_path: Path) -> None:
    clock = Clock()
    app = on_trial(tmp_path, clock)
    nothing = read(view(desk(app, errands=Never()), asked(PATH)))
    assert "What people say is read from the log; begun" in nothing.one("section", id="test").text
    errands = AtOnce()
    first = read(view(desk(app, errands=errands), asked(PATH))).one("section", id="test").text
    clock.now += 600.0
    later = read(view(desk(app, errands=Never(errands.done)), asked(PATH))).one("section", id="test").text
    assert later == first


def test_recurring_work_is_done_once_in_a_while(tmp_path: Path) -> None:
    clock = Clock()
    app, done = opened(tmp_path, clock), []
    looking = desk(app)
    results = []
    for _ in range(4):
        results.append(latest(looking, "count", 60.0, lambda: done.append(1) or len(done)).result)
        clock.now += 30.0
    assert results == [1, 1, 2, 2]


# ----------------------------------------------------------------------------------------------------------- the past


def test_history_and_versions_are_those_of_the_api(tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock(), minimum_hours=1.0)
    app.look()
    app.withdraw(reason="second thoughts", by="ann")
    page, told = seen(app), Administration(app).releases()
    rows = page.rows("Every transition")
    assert [row[1] for row in rows] == [each["version"] for each in reversed(told["history"])]
    assert [row[2] for row in rows] == ["withdrawn", "tried 100 %", "tried 50 %", "added"]
    assert [row[3] for row in rows] == ["ann", "release", "ann", "—"]
    assert rows[0][4] == "second thoughts"
    (row,) = page.rows("Every version")
    (standing,) = told["versions"]
    assert row[:2] == [standing["version"], f"{standing['status']} since {moment(standing['changed'])}"]
    assert row[2] == moment(standing["added"])
    learned = app.deployment.registry.load(row[0]).notes["interactions"]
    assert row[3:] == [f"tabular.q_learning {learned:,.0f} decisions", "nothing", standing["why"]]


def test_every_verdict_of_the_api_is_there_with_all_reasons_and_figures(tmp_path: Path) -> None:
    app = deployed(tmp_path)
    app.evaluate(app.versions()[0], against=BASELINE)
    page, told = seen(app).one("section", id="verdicts"), Administration(app).verdicts(None)["verdicts"]
    shown = page.all("details")
    assert len(shown) == len(told) == 2
    for each, verdict in zip(shown, reversed(told), strict=True):
        figures = verdict["figures"]
        assert each.one("summary").text.startswith(f"{figures['decision']} {verdict['version']} against the rule,")
        assert [item.text for item in each.all("li")] == list(figures["reasons"])
        named = {row[0]: row[1] for row in each.rows("Figures")}
        assert {name for name, value in figures.items() if type(value) in (int, float)} == set(named)
        assert float(named["advantage_low"]) == pytest.approx(figures["advantage_low"], rel=1e-3)
    one = seen(app, version="nobody").one("section", id="verdicts")
    assert "The gate was not asked of nobody yet." in one.text


def test_what_changed_in_the_hyper_parameters_is_told_beside_the_parent() -> None:
    then = replace(version("v1"), hyperparameters={"learning_rate": 0.1, "passes": 1})
    now = replace(version("v2"), hyperparameters={"learning_rate": 0.2, "discount": 0.9})
    assert differences(then, now) == ("learning_rate: 0.1 → 0.2", "passes: 1 → default", "discount: default → 0.9")
    assert differences(then, replace(now, learner="bandit.ucb")) == ("tabular.q_learning → bandit.ucb",)


def test_a_version_is_likened_to_its_parent_and_not_to_the_one_before(tmp_path: Path) -> None:
    app = opened(tmp_path)
    registry = app.deployment.registry
    for number, (name, parent, rate) in enumerate([("a", None, 0.1), ("b", "a", 0.2), ("c", "a", 0.1)]):
        made = replace(version(name), hyperparameters={"learning_rate": rate}, parent=parent, created=float(number))
        registry.add(made)
    found = ancestries(registry, app.events())
    assert [each.changed for each in found.values()] == [(), ("learning_rate: 0.1 → 0.2",), ()]


def test_what_others_wrote_shows_as_text(tmp_path: Path) -> None:
    app = deployed(tmp_path)
    evil = "<script>alert(1)</script> \u202eright \N{GRINNING FACE}"
    app.promote(reason=evil, by="<b>ann</b>")
    page = seen(app)
    assert page.rows("Every transition")[0][3:] == ["<b>ann</b>", evil]
    assert page.all("script") == page.one("section", id="history").all("b") == []


def test_a_long_history_comes_in_pages(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock)
    for number in range(30):
        app.promote(reason=f"up {number}")
        app.rollback(reason=f"down {number}")
    first, second = seen(app).rows("Every transition"), seen(app, page="2").rows("Every transition")
    assert (len(first), len(second)) == (50, 11)
    assert (first[0][4], second[-1][2]) == ("down 29", "added")
    assert seen(app, page="9999").rows("Every transition") == first


# --------------------------------------------------------------------------------------------------------------- acts


def posts(page: Element) -> list[tuple[str, dict[str, str]]]:
    found = []
    for form in page.all("form", method="post"):
        said = {each.attributes["name"]: each.attributes["value"] for each in form.all("input")}
        found.append((form.attributes["action"].rpartition("/")[2], said))
    return found


def test_who_may_only_look_has_nothing_to_press_and_is_told_what_it_takes(tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock())
    for role in (None, READER):
        page = seen(app, role)
        assert posts(page) == []
        assert "takes a key of the role operator or admin" in page.one("section", id="acts").text
        assert "The audit log is for keys of the role admin." in page.text


def test_an_operator_may_promote_withdraw_and_stop_what_is_on_trial(tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock())
    name = app.versions()[0]
    found = posts(seen(app, OPERATOR).one("section", id="acts"))
    assert [act for act, _ in found] == ["promote", "withdraw", "stop"]
    assert found[0][1] == {
        "token": "a-token",
        "back": "/dashboard/releases",
        "version": name,
        "over": BASELINE,
    }
    app.promote(name, reason="enough")
    found = posts(seen(app, OPERATOR).one("section", id="acts"))
    assert [(act, said.get("over")) for act, said in found] == [("rollback", name), ("stop", None)]


def test_a_candidate_can_be_released_with_or_without_the_gate(tmp_path: Path) -> None:
    app = deployed(tmp_path)
    found = posts(seen(app, OPERATOR).one("section", id="acts"))
    assert [(act, said.get("unproven")) for act, said in found] == [
        ("release", None),
        ("release", "yes"),
        ("stop", None),
    ]
    assert [act for act, _ in posts(seen(app, OPERATOR).one("section", id="versions"))] == ["release", "promote"]


def test_an_administrator_sees_the_last_acts(tmp_path: Path) -> None:
    app = deployed(tmp_path)
    acts = Acts(app.ledger, "shop", app.now)
    for number in range(25):
        said = {"reason": f"number {number}", "version": None}
        acts.note(Caller("ann", "operator"), "POST /x", said, 200, Where("192.0.2.1"))
    rows = seen(app, ADMIN).rows("The last 20 acts")
    assert rows[0][1:] == ["ann (operator)", "POST /x", "reason = number 24", "192.0.2.1", "200"]
    assert rows[-1][3] == "reason = number 5"
    assert [each.seq for each in acts.after(0, 100)] == list(range(1, 26))


# -------------------------------------------------------------------------------------------------------- experiments


def test_two_variants_are_compared_as_the_experiment_has_it(tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock())
    found = analysis(app, Question(metrics=("like",), by=("mood",)))
    page = drawn(app, treated="trial", control="live", by="mood", metric="like")
    section = read(page).one("section", id="experiment")
    rows = {row[0]: row for row in section.rows("Effects")}
    assert set(rows) == {"reward", "like", "mood = happy"}
    assert rows["reward"][3] == f"{found.primary.value:+.4g}"
    assert rows["reward"][4] == f"{found.primary.always_low:+.4g} to {found.primary.always_high:+.4g}"
    assert (found.answer, "Better." in section.text) == ("better", True)
    assert page.charts["effects"].table.rows[0][1] == found.primary.value


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"treated": "live", "control": "holdout"}, "There is no settled decision of the variant 'holdout'."),
        ({"treated": "nobody", "control": "live"}, "There is no such variant to be treated."),
        ({"treated": "live", "control": "live"}, "A variant is compared with itself."),
        ({"treated": "trial", "control": "live", "by": "taste"}, "There is no field 'taste'. Fields: mood, age."),
        ({"treated": "trial", "control": "live", "days": "soon"}, "These are no days."),
        ({"treated": "trial", "control": "live", "metric": "lik"}, "There is no signal 'lik'."),
    ],
)
def test_what_cannot_be_compared_says_why_and_what_to_do(query: dict[str, str], says: str, tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock())
    assert says in seen(app, **query).one("div", id="compared").text


def test_the_people_of_a_test_are_those_of_the_log(tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock(), hours=1)
    effect = running(app, step_of(app)).effect
    assert effect is not None
    assert effect.treated.users + effect.control.users == 400
    cards = seen(app).one("section", id="test").one("dl", class_="cards").text
    assert effect.treated.compared == (effect.treated.users, effect.treated.decisions)  # there was no step before
    assert f"{effect.treated.users:,} people, {effect.treated.decisions:,} settled decisions" in cards


def test_those_who_were_met_before_the_trial_are_not_counted_behind_its_means(tmp_path: Path) -> None:
    clock = Clock()
    app = deployed(tmp_path, clock, **{"shadow": True, "steps": [0.5, 1.0], "minimum_hours": 1.0})
    app.release(reason="the launch")
    an_hour(app, clock, 200)
    look = app.look()
    assert look is not None
    assert (look.move.kind, look.move.share) == ("tried", 0.5)
    an_hour(app, clock, 200)
    of = running(app, step_of(app)).effect
    assert of is not None
    assert of.treated.compared == (of.treated.users, of.treated.decisions)
    assert (of.control.decisions, of.control.compared[1]) == (400 - of.treated.decisions, 200 - of.treated.decisions)
    cards = seen(app).one("section", id="test").one("dl", class_="cards").text
    assert f"{of.control.compared[0]:,} people, {of.control.compared[1]:,} settled decisions" in cards


def test_where_nothing_can_be_said_there_is_a_sentence_with_figures_and_no_empty_picture(tmp_path: Path) -> None:
    app = on_trial(tmp_path, Clock(), hours=1, people=24)
    page, found = drawn(app), running(app, step_of(app))
    assert found.effect is not None
    assert "difference" not in page.charts
    test = read(page).one("section", id="test")
    worth = f"{found.effect.treated.worth:.3g}"
    assert (
        f"It takes 20 equally active people on either side: {found.effect.treated.users} people on trial" in test.text
    )
    assert f"are worth {worth} such" in test.text
    assert "There is nobody yet to compare its people with" not in test.text


def test_a_trained_version_is_marked_where_somebody_was_erased(tmp_path: Path) -> None:
    app = opened(tmp_path)
    log(app, PEOPLE, 6)
    made = app.train().trained.version
    assert made is not None
    app.deployment.registry.record("shop", Event(app.now(), "marked", made.id, "erased", {}))
    (row,) = seen(app).rows("Every version")
    assert "It learned from one person who was erased since" in row[5]
    assert ReleaseRules().holdout == 0.0
