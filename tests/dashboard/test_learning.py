"""The page of learning: rewards and regret, what is tried, what was seen, and every training."""

from __future__ import annotations

import re
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bondhu.dashboard.figures.regrets import regret
from bondhu.dashboard.figures.runs import Recipe, Run, compared, metrics_of, numbers, recipes, runs
from bondhu.dashboard.page import Asked, Page, Viewer
from bondhu.dashboard.sections import courses, coverages, trainings
from bondhu.dashboard.views import learning
from bondhu.monitor.tracking import flat
from bondhu.ports import Task
from tests.dashboard import looking
from tests.dashboard.looking import Element, Never
from tests.dashboard.rows import sheet
from tests.dashboard.shopping import Shop, grown, shop

FIELDS = [
    {"name": "age", "kind": "number"},
    {"name": "mood", "kind": "category"},
    {"name": "place", "kind": "category"},
]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with two versions, and a training that failed."""
    made = grown(tmp_path_factory.mktemp("used"))
    task = Task("rl_training", made.clock.now + 1.0, "failed", 0, 0, 0.4, {}, "The <b>disk</b> was full.")
    made.app.tasks.record(task)
    return made


def look(made: Shop, query: dict[str, str] | None = None) -> tuple[Page, Element]:
    page = learning.view(made.desk, looking.asked("/dashboard/learning", query=query))
    return page, looking.read(page)


def run(**more: Any) -> Run:
    parts: dict[str, Any] = {
        "time": 1.0, "status": "completed", "version": "v1", "learner": "tabular.q_learning", "hyperparameters": {},
        "metrics": {}, "rows": 10, "users": 5, "reward": 0.2, "seconds": 1.5, "decision": "wait", "reasons": (),
        "problem": "",
    }  # fmt: skip
    return Run(**{**parts, **more})


def asked(**query: str) -> Asked:
    return Asked(Viewer("anybody", frozenset()), "", "/dashboard/learning", query)


# ----------------------------------------------------------------------------------------------------------- trainings


def test_runs_are_trainings_and_versions_that_came_from_elsewhere(used: Shop) -> None:
    app = used.app
    versions = app.versions()
    known = recipes(app.deployment.registry, versions)
    found = runs(app, known)
    assert [(each.status, each.version) for each in found] == [
        ("failed", ""), ("completed", versions[1]), ("completed", versions[0])
    ]  # fmt: skip
    assert found[1].learner == "bandit.linear_thompson"
    assert found[2].rows == 120
    assert found[0].problem == "The <b>disk</b> was full."
    assert found[0].name.startswith("failed-1795")
    assert runs(app, {})[1].learner == ""


def test_files_that_cannot_be_read_are_a_problem_of_their_version(used: Shop) -> None:
    found = recipes(used.app.deployment.registry, ["not-there"])
    assert "not-there" in found["not-there"].problem
    assert found["not-there"] == Recipe(problem=found["not-there"].problem)


def test_metrics_are_numbers_and_nothing_said_twice() -> None:
    notes = {"states": 5, "total_states": 5, "explore": True, "td_error": 0.5, "bad": nan, "training": {"a": 1}}
    assert numbers(notes) == {"states": 5.0, "td_error": 0.5}
    assert flat({"a": 1, "exploration": {"name": "x", "rate": 0.1}}) == {"a": 1, "exploration.name": "x",
                                                                       "exploration.rate": 0.1}  # fmt: skip
    both = [run(metrics={"td_error": 1.0, "states": 2.0}), run(version="", metrics={"nothing": 1.0})]
    assert metrics_of(both) == ["states", "td_error"]


def test_two_runs_are_compared_thing_by_thing() -> None:
    one = run(hyperparameters={"rate": 0.1, "passes": 3}, metrics={"states": 5.0})
    other = run(version="v2", hyperparameters={"rate": 0.2, "passes": 3, "new": True}, metrics={"states": 5.0})
    found = compared(one, other)
    assert [each.about for each in found["training"] if each.differs] == []
    assert [(each.about, each.one, each.other) for each in found["hyper-parameters"] if each.differs] == [
        ("rate", 0.1, 0.2), ("new", None, True)
    ]  # fmt: skip
    assert [each.differs for each in found["metrics"]] == [False]


def test_the_newest_version_is_compared_with_the_one_before_unless_others_are_asked_for() -> None:
    found = [run(version=f"2026110{number}", time=float(number)) for number in (3, 2, 1)]
    page = looking.Reader(trainings.comparison(asked(), found)).root
    chosen = [each.attributes["value"] for each in page.all("option", selected="")]
    assert chosen == ["20261103", "20261102"]
    page = looking.Reader(trainings.comparison(asked(one="20261101", other="nonsense"), found)).root
    assert [each.attributes["value"] for each in page.all("option", selected="")] == ["20261101", "20261103"]
    assert "it takes two" not in page.text
    assert "a comparison takes two" in looking.Reader(trainings.comparison(asked(), found[:1])).root.text


def test_differences_are_marked_in_the_page(used: Shop) -> None:
    _, page = look(used)
    differing = [row.one("th").text for row in page.all("tr", class_="differs")]
    assert "decisions learned from" in differing
    assert "learner" not in differing
    same = [row.one("th").text for row in page.all("tr", class_="same")]
    assert "learner" in same


def test_the_table_of_trainings_says_what_each_came_to(used: Shop) -> None:
    _, page = look(used)
    rows = page.rows("Trainings and versions")
    assert [row[1] for row in rows] == ["failed", "completed", "completed"]
    assert rows[0][-1] == "The <b>disk</b> was full."
    assert rows[2][4] == "120"
    link = page.one("section", id="runs").all("a")[0].attributes["href"]
    assert link == f"/dashboard/learning?one={used.app.versions()[1]}#compare"


def test_growth_is_told_of_the_metric_that_is_asked_for(used: Shop) -> None:
    page, _ = look(used)
    known = metrics_of(runs(used.app, recipes(used.app.deployment.registry, used.app.versions())))
    assert page.charts["growth"].table.columns[2] == known[0].replace("_", " ")
    other, _ = look(used, {"metric": known[-1]})
    assert other.charts["growth"].table.columns[2] == known[-1].replace("_", " ")
    wrong, _ = look(used, {"metric": "<script>"})
    assert wrong.charts["growth"].table.columns[2] == known[0].replace("_", " ")


def test_while_files_are_being_read_the_rest_is_there(used: Shop) -> None:
    page = learning.view(looking.desk(used.app, errands=Never()), looking.asked("/dashboard/learning"))
    seen = looking.read(page)
    assert "hyper-parameters follow" in seen.one("section", id="runs").text
    assert len(seen.rows("Trainings and versions")) == 3


# ------------------------------------------------------------------------------------------------ rewards and actions


def test_the_page_has_all_its_charts(used: Shop) -> None:
    page, seen = look(used)
    assert list(page.charts) == ["reward", "regret", "worth", "actions", "exploration", "coverage", "growth"]
    figures = [each.attributes["id"] for each in seen.all("figure")]
    assert figures == [f"chart-{name}" for name in page.charts]


def test_the_regret_is_that_of_the_figures(used: Shop) -> None:
    page, _ = look(used)
    of = courses.stretch(used.desk.decisions.sheet(), "all", used.clock.now)
    found = regret(of.sheet, of.edges)
    assert page.charts["regret"].table.rows[-1][2] == pytest.approx(float(found.total[-1]))
    assert found.best in page.charts["regret"].caption
    assert page.charts["worth"].table.rows[0][0] == found.best


def test_without_exploration_there_is_no_regret_and_the_page_says_why() -> None:
    made = sheet(action=["blue"] * 20, time=np.arange(20) * 3600.0)
    of = courses.stretch(made, "all", 1e6)
    told = courses.refused(regret(of.sheet, of.edges))
    assert "effective decisions; 30 are needed" in told


def test_the_rarest_actions_are_drawn_together() -> None:
    names = [f"action {number}" for number in range(8)]
    column = [name for number, name in enumerate(names) for _ in range(10 * (number + 1))]
    made = sheet(action=column, time=np.tile(np.arange(10) * 3600.0, 36).tolist())
    order = np.argsort(made.time, kind="stable")
    of = courses.stretch(made.take(order), "all", 1e6)
    rows = courses.shares_chart(of, []).table.rows
    assert {row[1] for row in rows} == {"action 7", "action 6", "action 5", "action 4", "4 others"}
    assert sum(row[2] for row in rows if row[0] == rows[0][0]) == pytest.approx(1.0)


def test_exploration_is_a_share() -> None:
    made = sheet(exploration=[0.5] * 10 + [0.25] * 10, time=np.arange(20) * 60.0)
    chart = courses.exploration_chart(courses.stretch(made, "all", 1e6), [])
    assert (chart.table.rows[0][2], chart.table.rows[-1][2]) == (0.5, 0.25)
    assert ">50 %<" not in chart.caption
    assert "25 %" in chart.picture


# ------------------------------------------------------------------------------------------------------- what was seen


def seen_by(mood: list[str], place: list[str], action: list[str] | None = None) -> Any:
    rows = len(mood)
    return sheet(
        time=np.arange(rows) * 60.0,
        action=action or ["blue"] * rows,
        context={"age": ["0 to 50"] * rows, "mood": mood, "place": place},
    )


def test_the_heat_map_counts_decisions_by_two_fields() -> None:
    made = seen_by(["sad", "sad", "happy", "calm"], ["home", "home", "work", "home"])
    _, chart = coverages.section(asked(), made, FIELDS)
    assert chart is not None
    assert [list(row) for row in chart.table.rows] == [
        ["sad", "home", 2.0], ["sad", "work", 0.0], ["happy", "home", 0.0], ["happy", "work", 1.0],
        ["calm", "home", 1.0], ["calm", "work", 0.0],
    ]  # fmt: skip
    assert chart.caption == "3 of 6 cells were never met."
    turned, chart = coverages.section(asked(down="place", across="mood"), made, FIELDS)
    assert chart is not None
    assert chart.table.columns == ["place", "mood", "decisions"]
    assert len(re.findall("<option", turned)) == 3 + 3 + 2


def test_one_action_can_be_looked_at_alone() -> None:
    made = seen_by(["sad", "sad", "happy"], ["home"] * 3, ["blue", "red", "red"])
    _, chart = coverages.section(asked(action="red", down="mood", across="place"), made, FIELDS)
    assert chart is not None
    assert [row[2] for row in chart.table.rows] == [1.0, 1.0]
    _, everything = coverages.section(asked(action="nonsense", down="mood", across="place"), made, FIELDS)
    assert everything is not None
    assert [row[2] for row in everything.table.rows] == [2.0, 1.0]


def test_a_cell_leads_to_what_was_done_in_it() -> None:
    made = seen_by(["sad", "sad", "happy"], ["home"] * 3, ["blue", "red", "red"])
    drawn, _ = coverages.section(asked(down="mood", across="place"), made, FIELDS)
    assert 'href="/dashboard/learning?down=mood&amp;across=place&amp;row=sad&amp;column=home#coverage"' in drawn
    inside, _ = coverages.section(asked(down="mood", across="place", row="happy", column="home"), made, FIELDS)
    page = looking.Reader(inside).root
    rows = page.rows("Actions where mood = happy, place = home")
    assert [row[:3] for row in rows] == [["red", "1", "100 %"], ["blue", "0", "0 %"]]
    assert "1 decision; 1 of 2 actions were never tried here." in page.text
    where = [each.attributes["href"] for each in page.all("a")]
    assert "/dashboard/decisions?context.mood=happy&context.place=home&action=red" in where
    assert len(page.all("rect", class_="chosen")) == 1
    unknown, _ = coverages.section(asked(down="mood", across="place", row="x", column="home"), made, FIELDS)
    assert "Follow a cell" in unknown


def test_rare_values_are_left_out_where_there_are_many() -> None:
    mood = [f"m{number}" for number in range(40) for _ in range(number + 1)]
    made = seen_by(mood, ["home"] * len(mood))
    of = coverages.wanted(asked(down="mood", across="place"), made, FIELDS)
    assert of is not None
    chart = coverages.drawn(asked(), made, of)
    assert [row[0] for row in chart.table.rows] == [f"m{number}" for number in range(16, 40)]
    assert "The 16 cells of rarer values are not drawn." in chart.caption
    assert coverages.most(np.array([3, 9, 1, 9]), 2) == [1, 3]


def test_a_context_of_one_field_has_no_map() -> None:
    made = sheet(time=[0.0], context={"mood": ["sad"]})
    told, chart = coverages.section(asked(), made, FIELDS)
    assert chart is None
    assert "no two fields" in told


def test_hostile_values_are_text() -> None:
    name = '<img src=x onerror="alert(1)">'
    made = seen_by([name, "sad"], ["home", name], [name, "blue"])
    drawn, _ = coverages.section(asked(down="mood", across="place", row=name, column="home"), made, FIELDS)
    assert "<img" not in drawn
    assert name in looking.Reader(drawn).root.text


def test_a_log_that_holds_nothing_says_so(tmp_path: Path) -> None:
    page, seen = look(shop(tmp_path))
    assert "There are no decisions yet" in seen.text
    assert "Nothing was trained yet" in seen.text
    assert page.charts == {}


def test_where_nothing_is_settled_the_page_says_when_the_first_reward_is(tmp_path: Path) -> None:
    made = shop(tmp_path)
    for number in range(5):
        made.decide(number)
    page, seen = look(made)
    assert "reward" not in page.charts
    assert "settle" in seen.one("section", id="earned").text
