"""Is it learning: what it earns and gives away, how much it tries out, what it has seen, and every training."""

from __future__ import annotations

from functools import partial

from bondhu.dashboard import layout
from bondhu.dashboard.figures.regrets import regret
from bondhu.dashboard.figures.runs import recipes, runs
from bondhu.dashboard.page import Asked, Chart, Desk, Page, Pending
from bondhu.dashboard.sections import courses, coverages, trainings
from bondhu.dashboard.sections.courses import Stretch, marks
from bondhu.registry import lifecycle
from bondhu.report.markup import Markup, tag

TITLE = "Learning"
EARNED = "Does it earn more?"


def view(desk: Desk, asked: Asked) -> Page:
    """The page."""
    sheet = desk.decisions.sheet()
    charts: dict[str, Chart] = {}
    parts: list[Markup] = []
    if len(sheet):
        of = courses.stretch(sheet, asked.query.get("window", ""), desk.app.now())
        parts += [_window(asked, of), _earned(desk, asked, of, charts), _tried(desk, asked, of, charts)]
        declared = desk.app.domain.describe()["fields"]
        covered, chart = coverages.section(asked, sheet, declared)
        parts.append(layout.section("coverage", "What has it seen?", covered))
        charts |= {chart.name: chart} if chart else {}
    else:
        why = "There are no decisions yet, so that there is nothing to learn from."
        how = layout.link("The overview says how to begin.", asked.link("/"))
        parts.append(tag("div", layout.status("empty", why, how), id="nothing", data_live=""))
    return Page(TITLE, [*parts, *_trainings(desk, asked, charts)], charts)


def _window(asked: Asked, of: Stretch) -> Markup:
    """How far back the pictures look."""
    return layout.asking(
        asked,
        layout.choice("window", "Time", courses.WINDOWS, of.chosen),
        layout.button("Show", kind="unscripted"),
        keep=[name for name in asked.query if name not in ("window", "csv")],
    )


def _earned(desk: Desk, asked: Asked, of: Stretch, charts: dict[str, Chart]) -> Markup:
    """Rewards and regret."""
    events = desk.app.events()
    if not courses.settled(of):
        waits = courses.unsettled(of, desk.app.domain.reward.wait)
        return layout.section("earned", EARNED, layout.answer("earned-answer", waits))
    reward, found = courses.reward_chart(of, events, lifecycle.traffic(events)), regret(of.sheet, of.edges)
    charts[reward.name] = reward
    if found.best:
        drawn = [courses.regret_chart(found, marks(events)), courses.worth_chart(found)]
        charts |= {each.name: each for each in drawn}
        rest = layout.row(*(layout.chart(asked, each) for each in drawn))
    else:
        why = "No action has been tried often enough, everywhere, to say what always taking it would earn."
        rest = layout.status("empty", f"There is no regret to tell. {why}")
    answer = layout.answer("earned-answer", layout.chart(asked, reward), rest, courses.refused(found))
    return layout.section("earned", EARNED, answer)


def _tried(desk: Desk, asked: Asked, of: Stretch, charts: dict[str, Chart]) -> Markup:
    """Exploration, and what is done."""
    events = desk.app.events()
    drawn = [courses.shares_chart(of, events), courses.exploration_chart(of, events)]
    charts |= {each.name: each for each in drawn}
    answer = layout.answer("tried-answer", layout.row(*(layout.chart(asked, each) for each in drawn)))
    return layout.section("tried", "What does it try?", answer)


def _trainings(desk: Desk, asked: Asked, charts: dict[str, Chart]) -> list[Markup]:
    """All that is known of trainings."""
    app = desk.app
    versions = tuple(app.versions())
    read = desk.errands.ask(("recipes", versions), partial(recipes, app.deployment.registry, versions))
    found = runs(app, read if isinstance(read, dict) else {})
    drawn, chart = trainings.growth(asked, found, marks(app.events()))
    charts |= {chart.name: chart} if chart else {}
    late = "The files of the versions are being read; hyper-parameters follow." if isinstance(read, Pending) else ""
    return [
        layout.section("growth", "How far has learning come?", drawn),
        layout.section("runs", "Trainings", trainings.table(asked, found, app.now()), note=late),
        layout.section("compare", "Two of them side by side", trainings.comparison(asked, found)),
    ]
