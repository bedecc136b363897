"""What if: what other actions bring, as the version believed and as others found. A section of a decision's page."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite, nan, nextafter
from typing import NamedTuple

from bondhu.app import App
from bondhu.dashboard.charts.bars import Groups, Row, bars
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.figures import contexts
from bondhu.dashboard.figures.counterfactual import FEWEST_DECISIONS, FEWEST_PEOPLE, Brought, brought
from bondhu.dashboard.layout import chart, section, status
from bondhu.dashboard.page import Asked, Chart, Desk, Table
from bondhu.errors import BondhuError
from bondhu.report.layout import table
from bondhu.report.markup import Markup, tag
from bondhu.report.study import Figure
from bondhu.report.words import NOTHING, digits_of, rounded
from bondhu.serve.messages import Audit, Candidate
from bondhu.watch.observed import observe_rows

SHOWN = 12  # rows of the picture; the table has all of them
GROUPED = ("category", "number")  # kinds of field by which situations are compared
BELIEVED, MEASURED = "believed by the version", "earned by others"
NOWHERE = Figure(nan, nan, nan)


class Other(NamedTuple):
    """One action: what the version believed it brings, and what it brought to others."""

    name: str  # for people
    believed: Figure  # NaN: it keeps no values
    brought: Brought


def otherwise(desk: Desk, asked: Asked, audit: Audit, charts: dict[str, Chart]) -> Markup:
    """The section."""
    title, decision = "What if?", audit.decision
    allowed: Sequence[str] = decision["allowed"]
    if len(allowed) < 2:
        return section("what-if", title, status("empty", "No other action was allowed."))
    found = _others(desk, audit)
    taken = decision["action"]
    parts = [*_says(desk, audit, found), *_drawn(asked, found, taken, charts), *_table(found, taken)]
    return section("what-if", title, *parts)


def _others(desk: Desk, audit: Audit) -> list[Other]:
    """The action that was taken, then every other one that was allowed."""
    app, decision = desk.app, audit.decision
    taken = decision["action"]
    actions = [taken, *(each for each in decision["allowed"] if each != taken)]
    labels = contexts.labels(app.domain, decision["context"])
    known = {each.action: _believed(each) for each in audit.candidates}
    if app.domain.describe().get("candidates"):
        why = "The name of an action is a place in the list of one request: in others it is another action."
        measured = [Brought(each, NOWHERE, 0, 0, (), why) for each in actions]
    else:
        measured = brought(desk.decisions.sheet(), situation(app, audit), order(app, audit), actions)
    return [Other(labels.get(each.action, each.action), known.get(each.action, NOWHERE), each) for each in measured]


def _believed(of: Candidate) -> Figure:
    return (
        NOWHERE
        if of.value is None
        else Figure(*(nan if each is None else each for each in (of.value, of.low, of.high)))
    )


def situation(app: App, audit: Audit) -> dict[str, str]:
    """The category of each field, or the bin of its number, as the columns have them; nothing where the context is not
    what the domain declares now."""
    time, identity = audit.decision["time"], audit.decision["id"]
    end = nextafter(time, inf)
    try:
        records = app.log.read(app.domain.name, time, end)
        observed, kept = observe_rows(app.domain, records, time, end)
    except BondhuError:  # it was erased meanwhile, or the store is away
        return {}
    if identity not in kept.id:
        return {}
    row = list(kept.id).index(identity)
    return {name: column[row] for name, column in observed.context.items()}


def order(app: App, audit: Audit) -> list[str]:
    """Fields by which situations can be compared, those that moved the decision most first."""
    fields = [each["name"] for each in contexts.declared_fields(app.domain) if each["kind"] in GROUPED]
    moved = {each.field: abs(each.by) for each in audit.moved}
    return sorted(fields, key=lambda name: -moved.get(name, 0.0))


def _says(desk: Desk, audit: Audit, found: Sequence[Other]) -> list[Markup]:
    """What the two figures are, and what they are not."""
    version = audit.decision["version"]
    believes = any(isfinite(each.believed.value) for each in found)
    model = (
        f"Believed is what {version} expected of each action in this very context: a model's belief, right or wrong. "
        "Of a learner that looks ahead it counts what follows in the session as well."
        if believes
        else f"{version} keeps no values: there is no belief to show."
    )
    alike = _same_refusal(found)
    if alike:
        return [tag("p", model), status("empty", f"What others earned says nothing here. {alike}")]
    others = (
        "Earned by others estimates what one decision would earn if everybody in the same situation were given that "
        "action: the mean of settled decisions with it, each weighted by the inverse of the probability with which it "
        "was taken. What it changes in later decisions is not in it."
    )
    ignored = [each["name"] for each in contexts.declared_fields(desk.app.domain) if each["kind"] not in GROUPED]
    parts = [tag("p", model), tag("p", others), tag("p", _given_up(audit, found), class_="note")]
    return [*parts, tag("p", f"Not compared: {', '.join(ignored)}.", class_="note")] if ignored else parts


def _given_up(audit: Audit, found: Sequence[Other]) -> str:
    """What the situations have not in common, and in which order fields are given up."""
    shared = _shared(found)
    said = f"Given up for all actions: {', '.join(shared)}." if shared else "Compared in all fields, but where it says."
    moved = any(each.by for each in audit.moved)
    first = "those that moved this decision least" if moved else "the last declared, as none is known to have moved it"
    asked = f"{FEWEST_DECISIONS} even decisions of {FEWEST_PEOPLE} people"
    return f"{said} Fields are given up until there are {asked}, at most half of them: first {first}."


def _shared(found: Sequence[Other]) -> tuple[str, ...]:
    """The fields that are given up for every action of which something is told."""
    told = [each.brought.given_up for each in found if not each.brought.refused]
    return min(told, key=len, default=())


def _same_refusal(found: Sequence[Other]) -> str:
    """Why nothing is said of any action, where that is one reason."""
    reasons = {each.brought.refused for each in found}
    return reasons.pop() if len(reasons) == 1 else ""


def _drawn(asked: Asked, found: Sequence[Other], taken: str, charts: dict[str, Chart]) -> list[Markup]:
    """Both figures of each action, where there is one at least."""
    known = [each for each in found if isfinite(each.believed.value) or isfinite(each.brought.reward.value)]
    if not known:
        return []
    ranked = sorted(known, key=lambda each: (each.brought.action != taken, -_best(each)))
    figures = {BELIEVED: [each.believed for each in ranked], MEASURED: [each.brought.reward for each in ranked]}
    names = [name for name, found_ in figures.items() if any(isfinite(each.value) for each in found_)]
    rows = [_row(each, taken, [figures[name][at] for name in names]) for at, each in enumerate(ranked[:SHOWN])]
    more = f" The {SHOWN} that promise most of {len(known):,}." if len(known) > SHOWN else ""
    says = f"With 95 % intervals. ▸ marks the action taken.{more}"
    kinds = {BELIEVED: "one", MEASURED: "other"}
    groups = Groups(names, "reward of a decision", [kinds[name] for name in names])
    cells = [
        [each.name, *each.believed, *each.brought.reward, each.brought.decisions, each.brought.people,
         ", ".join(each.brought.given_up), each.brought.refused]
        for each in found
    ]  # fmt: skip
    columns = ["action", "believed", "believed from", "believed to", "earned", "earned from", "earned to"]
    table_ = Table([*columns, "decisions", "people", "given up", "refused"], cells)
    charts["what-if"] = bars(About("what-if", "What other actions bring", says), rows, groups)._replace(table=table_)
    return [chart(asked, charts["what-if"])]


def _best(of: Other) -> float:
    return of.brought.reward.value if isfinite(of.brought.reward.value) else of.believed.value


def _row(of: Other, taken: str, figures: Sequence[Figure]) -> Row:
    name = f"▸ {of.name}" if of.brought.action == taken else of.name
    return Row(name, [each.value for each in figures], [each.low for each in figures], [each.high for each in figures])


def _table(found: Sequence[Other], taken: str) -> list[Markup]:
    """Every action, with what others earned where that says anything at all."""
    measured = not _same_refusal(found)
    if not measured and not any(isfinite(each.believed.value) for each in found):
        return []
    rows, shared = [], _shared(found)
    for each in found:
        name = f"{each.name} (taken)" if each.brought.action == taken else each.name
        rows.append([name, _figure(each.believed), *(_behind(each.brought, shared) if measured else [])])
    columns = ["action", BELIEVED, *([MEASURED, "of", "how, or why not"] if measured else [])]
    return [table("What each action brings, with 95 % intervals", columns, rows)]


def _behind(of: Brought, shared: Sequence[str]) -> list[str]:
    """What others earned, how many they were, and in what they were otherwise besides what is said of all."""
    count = f"{of.decisions:,} decisions of {of.people:,} people" if not of.refused else NOTHING
    more = [name for name in of.given_up if name not in shared]
    given = f"given up too: {', '.join(more)}" if more else "alike in the rest" if shared else "alike in all fields"
    same = "" if isfinite(of.reward.low) else "; all of them earned the same, so there is no interval"
    return [_figure(of.reward), count, of.refused or f"{given}{same}"]


def _figure(of: Figure) -> str:
    if not isfinite(of.value):
        return NOTHING
    return digits_of([of]).whole(of) if isfinite(of.low) and isfinite(of.high) else rounded(of.value)
