"""The first page: the answer, the figures at a glance, what comes next, what is wrong, and for whom it is worse."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.dashboard.columns.clusters import Mean
from bondhu.dashboard.figures import series
from bondhu.dashboard.figures.answers import Answer, Beside, answered, in_force_since, live_since, rule_left
from bondhu.dashboard.figures.scheduled import Scheduled
from bondhu.dashboard.figures.trials import Missing, Running
from bondhu.dashboard.figures.upcoming import coming, earliest
from bondhu.dashboard.page import Desk, Progress
from bondhu.dashboard.sections import beside, courses
from bondhu.dashboard.views import overview
from bondhu.ports import Event, Task
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import Step
from bondhu.release.rules import Move, ReleaseRules
from bondhu.report.study import Figure
from bondhu.report.words import moment
from tests.dashboard import looking
from tests.dashboard.looking import Element, Never
from tests.dashboard.rows import sheet
from tests.dashboard.shopping import Shop, grown, shop

DAY = 86_400.0


def event(kind: str, version: str, time: float = 0.0, **more: Any) -> Event:
    return Event(time, kind, version, more.pop("reason", "test"), more.pop("figures", {}), **more)


def advantage(low: float, high: float, against: str = "baseline") -> dict[str, Any]:
    middle = (low + high) / 2
    return {"decision": "promote", "against": against, "advantage_value": middle, "advantage_low": low,
            "advantage_high": high}  # fmt: skip


LIVE = [event("added", "v1", 1.0), event("promoted", "v1", 2.0)]


def said(
    events: Sequence[Event], seen: Beside | None = None, holdout: float = 0.0, means: dict[str, Mean] | None = None
) -> Answer:
    return answered(events, lifecycle.traffic(events), seen, holdout, means or {})


def found(low: float, high: float, sure: float = nan) -> Beside:
    return Beside(Figure((low + high) / 2, low, high), 983, 267, 1_793_637_881.0, sure)


# --------------------------------------------------------------------------------------------------------- the answer


def test_people_of_the_holdout_say_whether_it_is_better_and_since_when() -> None:
    better = said(LIVE, found(0.02, 0.12, 1_793_700_000.0))
    assert (better.decision, better.word) == ("promote", "Better than the rule")
    assert better.sentence == (
        "A decision earns 0.070 more (95 % interval +0.020 to +0.120, at every look). Surely so since "
        "2026-11-03 10:00 UTC at the latest."
    )
    assert "983 people who meet what was learned and 267 of the holdout" in better.notes[0]
    worse = said(LIVE, found(-0.12, -0.02))
    assert (worse.decision, worse.sentence[:28]) == ("refuse", "A decision earns 0.070 less ")
    open_ = said(LIVE, found(-0.10, 0.02))
    assert open_.decision == "wait"
    assert open_.sentence.startswith("A decision earns 0.040 less than under the rule, which may be chance")
    assert open_.notes[0].endswith("More decisions will tell.")


def test_without_a_holdout_the_log_answers() -> None:
    judged = [LIVE[0], event("judged", "v1", 1.5, figures=advantage(0.01, 0.05)), LIVE[1]]
    answer = said(judged)
    assert (answer.decision, answer.word, answer.since) == ("promote", "Better than the rule, by the log", 2.0)
    assert "0.030 more than under the rule" in answer.sentence
    assert "[release] holdout" in answer.notes[-1]
    assert said(judged, Beside(Figure(0.1, -inf, inf), 3, 2, 0.0)).word == "Better than the rule, by the log"
    other = [LIVE[0], event("judged", "v1", 1.5, figures=advantage(0.01, 0.05, "v0")), LIVE[1]]
    assert said(other).word == "Not known"


def test_where_nobody_can_tell_it_says_what_is_missing() -> None:
    means = {"v1": Mean(0.9, 0.8, 1.0, 40, 60), "baseline": Mean(0.3, 0.2, 0.4, 40, 120)}
    alone = said(LIVE, means=means)
    assert alone.sentence == "v1 is live, and nobody meets the rule any more: there is nothing to compare it with."
    assert alone.notes[0].startswith("A decision earned 0.90 (0.80 to 1.00) under it, and 0.30 (0.20 to 0.40) under")
    assert "too few decisions are settled yet" in said(LIVE, holdout=0.1).sentence
    assert said(LIVE[:1]).word == "Not yet"
    stopped = said([*LIVE, event("stopped", "baseline", 3.0, reason="It was loud.", by="ada")])
    assert (stopped.decision, stopped.word) == ("refuse", "Stopped")
    assert stopped.sentence == "The rule decides for everybody. Everything was stopped by ada: It was loud."


def test_the_rule_was_left_when_the_first_version_took_over() -> None:
    second = [*LIVE, event("added", "v2", 3.0), event("promoted", "v2", 4.0)]
    assert (rule_left(second), live_since(second, "v2")) == (2.0, 4.0)
    back = [*second, event("stopped", "baseline", 5.0)]
    assert isnan(rule_left(back))
    assert rule_left([*back, event("promoted", "v2", 6.0)]) == 6.0


def test_a_first_version_is_advised_once_there_is_enough_to_learn_from() -> None:
    (few,) = said([], means={"baseline": Mean(0.0, nan, nan, 1, 1)}).notes
    assert few == "There is too little to learn from yet: 1 decision is settled; some 1,000 make a first version."
    assert said([], means={"baseline": Mean(0.0, -1.0, 1.0, 400, 1_000)}).notes == (
        "Train a first version: `bondhu train`.",
    )


def test_only_those_are_compared_who_were_drawn_at_once() -> None:
    added, both = LIVE[0], ("live", "trial")
    first, second = event("tried", "v1", 1.5, share=0.1), event("tried", "v1", 3.0, share=0.5)
    assert beside.released([added]) is None
    assert beside.released([added, event("shadowed", "v1", 1.2)]) is None
    assert beside.released([added, first]) == (1.5, inf, ("trial",))
    assert beside.released([added, first, second]) == (3.0, inf, ("trial",))  # at another share
    live = [added, first, second, event("promoted", "v1", 4.0)]
    assert beside.released(live) == (4.0, inf, both)
    more = [*live, event("added", "v2", 5.0), event("tried", "v2", 6.0, share=0.1)]
    assert beside.released(more) == (4.0, inf, both)
    stopped = [*more, event("stopped", "baseline", 7.0), event("added", "v3", 8.0)]
    assert beside.released(stopped) == (4.0, 7.0, both)
    assert beside.released([added, first, event("withdrawn", "v1", 2.0)]) == (1.5, 2.0, ("trial",))
    again = [*stopped, event("tried", "v3", 9.0, share=0.1)]
    assert beside.released(again) == (9.0, inf, ("trial",))


def test_what_the_rule_earned_is_never_counted_as_learned() -> None:
    rng = np.random.default_rng(0)
    variant = rng.choice(["live", "trial", "holdout"], 3_000)
    made = sheet(
        variant=variant.tolist(), version=np.where(variant == "trial", "v1", "baseline").tolist(),
        reward=rng.normal(0.5, 0.1, 3_000) + 0.2 * (variant == "trial"),
    )  # fmt: skip
    trial = beside.course(made, beside.Span(0.0, inf, ("trial",)))
    assert trial is not None
    assert trial.value[-1] == pytest.approx(0.2, abs=0.02)
    assert trial.people[-1].sum() == pytest.approx((variant != "live").sum(), abs=5)
    ended = beside.course(made, beside.Span(0.0, 2_000.0, ("trial",)))
    assert ended is not None
    assert ended.time[-1] < 2_000.0  # the rule decides from then on


def test_what_was_known_when_everything_was_stopped_stays() -> None:
    events = [*LIVE, event("stopped", "baseline", 1_793_700_000.0, reason="It was loud.", by="ada")]
    known = found(0.02, 0.12)._replace(end=1_793_700_000.0)
    told = said(events, known)
    assert (told.word, len(told.notes)) == ("Stopped", 1)
    assert told.notes[0] == (
        "From 2026-11-02 16:44 UTC to 2026-11-03 10:00 UTC, a decision earned 0.070 more than under the rule for the "
        "983 people who met what was learned, beside 267 of the holdout (95 % interval +0.020 to +0.120, at every "
        "look)."
    )
    trial = said([LIVE[0], event("tried", "v1", 1.5, share=0.1)], found(-0.1, 0.2))
    assert trial.sentence == "The rule is in force; v1 is on trial for 10\xa0% of the people."
    assert "which may be chance" in trial.notes[0]


def test_what_is_in_force_began_when_it_took_over() -> None:
    assert isnan(in_force_since(LIVE[:1]))
    assert in_force_since([*LIVE, event("promoted", "v1", 3.0)]) == 2.0
    assert in_force_since([*LIVE, event("stopped", "baseline", 5.0)]) == 5.0


def test_segments_that_surely_lose_are_named_worst_first() -> None:
    rng = np.random.default_rng(0)
    number = 4_000
    variant = rng.choice(["live", "holdout"], number)
    mood = np.where(rng.random(number) < 0.002, "odd", rng.choice(["happy", "sad"], number))
    reward = rng.normal(0.5, 0.1, number) - 0.3 * ((variant == "live") & (mood == "sad"))
    made = sheet(variant=variant.tolist(), reward=reward.tolist(), context={"mood": mood.tolist()})
    seen = beside.worse(made, ["mood", "not there"], beside.Span(0.0, inf, ("live", "trial")))
    assert (seen.told, seen.thin) == (2, 1)
    assert [(each.field, each.segment.value) for each in seen.losing] == [("mood", "sad")]
    assert seen.losing[0].segment.difference == pytest.approx(-0.3, abs=0.03)
    assert 0.005 < seen.reach[0] <= seen.reach[1] < 0.05


def test_people_who_met_the_rule_before_anything_was_released_hide_no_loss() -> None:
    rng = np.random.default_rng(1)
    number = 6_000
    variant, after = rng.choice(["live", "holdout"], number), np.arange(number) > 4_500
    reward = rng.normal(0.5, 0.5, number) - 0.2 * ((variant == "live") & after)
    made = sheet(variant=variant.tolist(), reward=reward.tolist(), context={"mood": ["sad", "odd"] * 3_000})
    both = ("live", "trial")
    assert not beside.worse(made.between(0.0, 4_500.0), ["mood"], beside.Span(0.0, inf, both)).losing
    seen = beside.worse(made, ["mood"], beside.Span(4_501.0, inf, both))
    assert [round(each.segment.difference, 1) for each in seen.losing] == [-0.2, -0.2]
    assert {each.segment.decisions[0] + each.segment.decisions[1] for each in seen.losing} <= set(range(740, 751))


# ---------------------------------------------------------------------------------------------------- what comes next


RULES = ReleaseRules(automatic=True, minimum_decisions=150)
WEEKLY = Scheduled("rl_training", "Train", "mon at 1:00 UTC", None, 5_000.0)


def test_what_comes_next_is_told_in_the_order_of_its_weight() -> None:
    events = [*LIVE, event("added", "v2", 3.0), event("tried", "v2", 4.0, share=0.1), event("added", "v3", 5.0),
              event("judged", "v3", 6.0, figures={"decision": "wait"}), event("added", "v4", 7.0),
              event("judged", "v4", 8.0, figures={"decision": "refuse"})]  # fmt: skip
    told = coming(events, RULES, ([WEEKLY], True), None)
    assert [(each.what, each.version) for each in told] == [("release", "v2"), ("training", ""), ("verdict", "v3")]
    assert told[0].says == (
        "is on trial for 10\xa0% of the people; then 50\xa0% of the people, once 150 decisions and 24 hours of this "
        "step are in."
    )
    assert (earliest(told[1], 4_000.0), isnan(earliest(told[1], 6_000.0))) == (5_000.0, True)


def test_a_release_that_was_looked_at_says_when_it_moves() -> None:
    step = Step("v1", 0.1, 4.0, 4.0)
    events = [LIVE[0], event("tried", "v1", 4.0, share=0.1)]
    missed = (Missing("settled decisions at this step", "60", "at least 150", False, 30.0),)

    def says(kind: str, *waiting: Missing) -> str:
        seen = Running(step, Move(kind, None, ("It surely loses.",), {}), (), None, None, None, "")
        return coming(events, RULES, ([], False), (seen, waiting or missed))[0].says

    assert says("wait").endswith("about 1 day (settled decisions at this step: 60, and at least 150 is asked for).")
    assert says("wait", missed[0]._replace(hours=inf)).endswith(
        "Nobody can say when yet (settled decisions at this step: 60, and at least 150 is asked for)."
    )
    assert says("tried").endswith("The next look moves it on.")
    assert says("withdrawn").endswith("The next look takes it back: It surely loses.")


def test_without_a_schedule_somebody_has_to_train() -> None:
    (told,) = coming([], RULES, ([], False), None)
    assert "`bondhu train`" in told.says
    stopped = coming([*LIVE, event("stopped", "baseline", 3.0)], RULES, ([WEEKLY], True), None)
    assert [each.what for each in stopped] == ["stopped", "training"]


# ------------------------------------------------------------------------------------------------------ lines of time


def test_the_lines_that_matter_are_drawn() -> None:
    versions = [f"v{number}" for number in range(9)]
    column = [name for number, name in enumerate(versions) for _ in range(10 + number)] + ["baseline"] * 3
    made = sheet(version=column, time=np.arange(len(column)) * 60.0)
    tracks = series.reward_over_time(made, series.bins(*series.window(made)).edges)
    now = lifecycle.Traffic("v0", Step("v1", 0.1, 0.0, 0.0), False)
    assert courses.shown(tracks, now) == ["v0", "v1", "v7", "v8", "baseline"]
    assert courses.kinds(now) == {"v1": "three", "baseline": "other", "v0": "one"}
    chart = courses.reward_chart(courses.stretch(made, "all", 1_000.0), [], now)
    assert "5 other versions are not drawn" in chart.caption
    assert {row[1] for row in chart.table.rows} == {"v0", "v1", "v7", "v8", "the rule"}


def test_a_window_leaves_out_what_is_older() -> None:
    made = sheet(time=np.arange(100) * DAY)
    assert courses.stretch(made, "7", 99 * DAY).edges[0] >= 91 * DAY
    assert courses.stretch(made, "nonsense", 99 * DAY).chosen == "all"
    assert courses.told(courses.stretch(made, "all", 99 * DAY)) == "a week"


# ------------------------------------------------------------------------------------------------------------ the page


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return grown(tmp_path_factory.mktemp("used"))


def look(desk: Desk, query: dict[str, str] | None = None) -> Element:
    return looking.read(overview.view(desk, looking.asked("/", query=query)))


def glance(page: Element) -> dict[str, list[str]]:
    groups = [each for each in page.one("div", id="glance").one("dl").inside if isinstance(each, Element)]
    return {each.one("dt").text: [said.text for said in each.all("dd")] for each in groups}


def test_the_figures_at_a_glance_are_those_of_the_log(used: Shop) -> None:
    page = look(used.desk)
    live = used.app.live()
    figures = glance(page)
    assert figures["live"] == [str(live), "nobody has asked for a decision since it is in force"]
    assert figures["decisions a minute"][0] == "0"
    assert figures["outstanding reward"] == ["0", "expected for 0 decisions not settled yet"]
    assert figures["reward of a decision"][1] == "nothing of the live version is settled yet"
    assert figures["alerts"][0] == "1"
    assert page.one("div", id="answer").text.startswith(f"… Not known. {live} is live")


def test_what_came_in_is_told_by_the_minute(tmp_path: Path) -> None:
    made = shop(tmp_path)
    for number in range(30):
        made.decide(number)
    made.clock.now += 120.0
    figures = glance(look(made.desk))
    assert figures["decisions a minute"][0] == "15"  # the first one was made in the minute before the last
    assert figures["decisions a minute"][1].startswith("since the first one")
    assert figures["live"] == ["the rule", "made 100 % of the last day's decisions"]
    assert figures["outstanding reward"][1] == "expected for 30 decisions not settled yet"
    made.clock.now += 3300.0
    figures = glance(look(made.desk))
    assert figures["decisions a minute"][1].startswith("since the first one")
    made.clock.now += 300.0
    assert glance(look(made.desk))["decisions a minute"][1].startswith("in the last hour")


def test_the_page_has_its_charts_with_their_data(used: Shop) -> None:
    page = overview.view(used.desk, looking.asked("/"))
    assert list(page.charts) == ["reward", "rates"]
    first = used.app.versions()[0]
    rows = {row[1]: row for row in page.charts["reward"].table.rows}
    assert rows[first][-1] == "60 decisions of 40 people"
    assert rows["the rule"][-1] == "120 decisions of 40 people"


def test_somebody_in_a_holdout_makes_it_an_experiment(tmp_path: Path) -> None:
    made = shop(tmp_path, release={"holdout": 0.3})
    for number in range(200):
        made.decide(number)
    made.app.promote(made.train(), reason="test")
    for number in range(600):
        made.decide(number, user=f"u{number}")
    made.clock.now += 3 * 3600.0
    page = overview.view(made.desk, looking.asked("/"))
    seen = looking.read(page)
    assert list(page.charts) == ["reward", "difference", "rates"]
    answer = seen.one("div", id="answer").text
    assert answer.startswith("✓ Better than the rule. A decision earns ")
    assert "Surely so since 2026-" in answer
    worse = seen.one("section", id="worse")
    assert "For nobody who could be told apart." in worse.text
    assert not worse.all("div", class_="good")
    assert "A loss of less than " in worse.text
    made.app.stop(reason="It was loud.", by="ada")
    made.decide(1, user="u1")
    stopped = overview.view(made.desk, looking.asked("/"))
    assert stopped.charts["difference"].title == "More than the rule earned"
    told = looking.read(stopped)
    assert told.one("div", id="answer").text.startswith("✕ Stopped. The rule decides for everybody.")
    assert "a decision earned " in told.one("div", id="answer").text
    assert "holdout = 0.05" not in told.text
    assert glance(told)["live"] == ["the rule", "made 100 % of the decisions since it is in force"]


def test_where_nobody_can_be_compared_the_reason_is_the_true_one(tmp_path: Path) -> None:
    made = shop(tmp_path)
    made.decide(0)
    told = look(made.desk).one("section", id="worse").text
    assert "Nothing that was learned has decided for anybody yet" in told
    assert "holdout" not in told
    for number in range(120):
        made.decide(number)
    made.app.promote(made.train(), reason="test")
    made.decide(0)
    assert "[release] holdout = 0.05" in look(made.desk).one("section", id="worse").text


def test_before_anything_is_settled_it_says_when_something_will_be(tmp_path: Path) -> None:
    made = shop(tmp_path)
    first = made.decide(0)
    page = overview.view(made.desk, looking.asked("/"))
    assert list(page.charts) == ["rates"]
    told = looking.read(page).one("section", id="over-time").text
    assert (
        f"Nothing is settled yet; the first reward settles at {moment(first.time + made.app.domain.reward.wait)}."
        in told
    )
    assert "1970" not in told
    assert "There is too little to learn from yet: 0 decisions are settled" in looking.read(page).text


def test_what_is_in_the_reward_is_said_beside_it(used: Shop) -> None:
    assert "as they were served, exploration included" in look(used.desk).one("figure", id="chart-reward").text


def test_what_takes_longer_is_said_to_be_under_way(tmp_path: Path) -> None:
    made = shop(tmp_path, release={"holdout": 0.3})
    for number in range(120):
        made.decide(number)
    made.app.promote(made.train(), reason="test")
    for number in range(40):
        made.decide(number, user=f"u{number}")
    page = look(looking.desk(made.app, errands=Never()))
    assert "People are being compared" in page.one("section", id="worse").text
    assert "Nothing is known to be." in page.one("section", id="wrong").text


def test_what_the_watch_found_and_trainings_that_failed_are_told(tmp_path: Path) -> None:
    made = shop(tmp_path)
    for number in range(30):
        made.decide(number)
    finding = {"kind": "reward fell: policy", "subject": "", "severity": "critical", "title": "It <b>fell</b>.",
               "evidence": []}  # fmt: skip
    now = made.clock.now
    made.app.tasks.record(Task("watch", now, "completed", 0, 0, 0.0, {"findings": [finding], "told": {}}))
    made.app.tasks.record(Task("rl_training", now, "failed", 0, 0, 0.1, {}, "The disk was full."))
    page = look(made.desk)
    told = [each.text for each in page.one("section", id="wrong").all("li")]
    assert told[0] == "critical It <b>fell</b>. Health"
    assert told[1] == "warning The last training failed: The disk was full. Health"
    assert glance(page)["alerts"][0] == str(len(told))


def test_verdicts_stand_with_their_reasons_newest_first(used: Shop) -> None:
    app = used.app
    live = str(app.live())
    figures = {"decision": "refuse", "reasons": ["It loses <i>much</i>."]}
    app.deployment.registry.record(app.domain.name, Event(app.now(), "judged", live, "refuse", figures, "gate"))
    first = look(used.desk).one("section", id="verdicts").all("li")[0]
    assert first.text.startswith(f"✕ refuse {live}")
    assert first.text.endswith("It loses <i>much</i>.")
    assert first.one("a").attributes["href"] == f"/dashboard/evaluation?version={live}"


def test_a_log_that_holds_nothing_says_how_to_begin(tmp_path: Path) -> None:
    made = shop(tmp_path)
    page = look(made.desk)
    commands = [each.text for each in page.all("pre")]
    assert commands[0] == (
        'curl http://127.0.0.1:8000/v1/decide -d \'{"context": {"mood": "happy", "age": 50}, "user": "ada"}\''
    )
    assert commands[1] == 'curl http://127.0.0.1:8000/v1/feedback -d \'{"decision_id": "ID", "signal": "like"}\''
    assert commands[2] == "bondhu train"
    elsewhere = looking.read(overview.view(made.desk, looking.asked("/")._replace(host="shop.example:8471")))
    assert elsewhere.all("pre")[0].text.startswith("curl http://shop.example:8471/v1/decide ")
    assert "bondhu demo --live" in page.text


def test_a_log_that_is_being_read_says_so(tmp_path: Path) -> None:
    made = shop(tmp_path)

    class Reading(looking.Read):
        def progress(self) -> Progress:
            return Progress(0, 5_000, nan)

    desk = Desk(made.app, Reading(made.app), looking.AtOnce())
    assert look(desk).text == "… About 5,000 decisions are being read; the newest come first."
