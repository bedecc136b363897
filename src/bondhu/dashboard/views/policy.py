"""The policy explorer: what each version would do in any context, and where and for whom two versions differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any, NamedTuple

from bondhu.dashboard import layout
from bondhu.dashboard.charts.bars import Groups, Row, bars
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.figures import contexts
from bondhu.dashboard.figures.acting import Answer, Option, answer, compared, never_seen
from bondhu.dashboard.figures.contexts import PREFIX, Filled, Wanted
from bondhu.dashboard.forms import Range
from bondhu.dashboard.layout import asking, button, chart, choice, code, field, link, section, slider, status
from bondhu.dashboard.page import DASHBOARD, Asked, Chart, Desk, Page, Table
from bondhu.dashboard.sections.between import differ
from bondhu.errors import InvalidInput, nearest
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE
from bondhu.report.axis import round_step
from bondhu.report.layout import table
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.study import Figure
from bondhu.report.words import NOTHING, percent, rounded

SHOWN = 12  # rows of a picture; the table has all of them
NOWHERE = Figure(nan, nan, nan)
STEPS = (100, 1_000, 10_000)  # steps of a slider, the fewest that can say its value


def view(desk: Desk, asked: Asked) -> Page:
    form, told = _form(desk, asked)
    older, wrong = _older(desk, asked)
    versions = compared(desk.app, older)
    charts: dict[str, Chart] = {}
    parts = [
        section("context", "In which context?", *told, _asked(asked, desk, form, (versions, wrong)), live=False),
        _answered(desk, asked, (form, versions), charts),
        layout.answer("pair", differ(desk, asked, versions, charts)),
    ]
    return Page("Policy", parts, charts)


# --------------------------------------------------------------------------------------------------------- the form


def _form(desk: Desk, asked: Asked) -> tuple[Wanted, list[Markup]]:
    """The context of the address, and what it began with."""
    app, sheet = desk.app, desk.decisions.sheet()
    newest = float(sheet.time[-1]) if len(sheet) else None
    trouble: list[Markup] = []
    try:
        begun, whose = contexts.start(app, asked.query.get("decision"), newest)
    except InvalidInput as error:
        trouble = [status("error", str(error), link("Search decisions", asked.link(f"{DASHBOARD}/decisions")))]
        begun, whose = contexts.start(app, None, newest)
    edited = any(name.startswith(PREFIX) for name in asked.query)
    says = f"As asked for; whatever was not said is as in {whose}." if edited else f"It begins with {whose}."
    return contexts.wanted(app.domain, asked.query, begun), [*trouble, tag("p", says, class_="note")]


def _older(desk: Desk, asked: Asked) -> tuple[str | None, str]:
    """The version to compare with, as asked for, and what is wrong with that."""
    said = asked.query.get("older") or None
    known = [BASELINE, *desk.app.versions()]
    if said is None or said in known:
        return said, ""
    return None, f"There is no version {said[:80]!r}. {nearest(said, known)}"


def _asked(asked: Asked, desk: Desk, form: Wanted, beside: tuple[Sequence[str], str]) -> Markup:
    """The fields, and the version that the live one is seen beside."""
    versions, wrong = beside
    live = versions[0]
    words = {name: name for name in reversed(desk.app.versions()) if name != live}
    words |= {BASELINE: "the rule"} if live != BASELINE else {}
    against = [choice("older", "compared with", words, versions[-1]), _wrong("older", wrong)] if words else []
    return asking(
        asked,
        *map(_field, form.fields),
        *against,
        button("Show", kind="main"),
        keep=("decision",),
    )


def _field(of: Filled) -> Markup:
    """One field, and what is wrong with it."""
    name, kind = PREFIX + of.name, of.kind
    if kind == "category":
        values = [str(each) for each in of.declared["values"]]
        drawn = choice(name, of.name, values if of.text in values else [of.text, *values], of.text)
    elif kind == "number" and not of.wrong:
        low, high = of.declared["range"]
        drawn = slider(name, of.name, float(of.text), Range(low, high, _step(low, high, float(of.text))))
    elif kind in ("number", "person"):
        drawn = field(name, of.name, of.text, hint=contexts.example(of.declared))
    else:
        drawn = _area(name, of)
    return tag("div", drawn, _wrong(name, of.wrong))


def _step(low: float, high: float, value: float) -> float:
    """The largest step of a slider with which it can say this value."""
    found = [round_step((high - low) / each) for each in STEPS]
    fits = (each for each in found if abs((value - low) / each - round((value - low) / each)) < 1e-6)
    return next(fits, found[-1])


def _area(name: str, of: Filled) -> Markup:
    """Several lines to write in."""
    about = {"aria_describedby": f"{name}-hint", "spellcheck": "false", "dir": "auto"}
    written = tag("textarea", of.text, name=name, id=f"field-{name}", rows=3, **about)
    hint = tag("small", contexts.example(of.declared), id=f"{name}-hint")
    return tag("div", tag("label", of.name, for_=f"field-{name}"), written, hint, class_="field")


def _wrong(name: str, what: str) -> Markup:
    """What is wrong with a field; it comes and goes with the answer."""
    return layout.answer(f"wrong-{name}", *([status("error", what)] if what else []))


# -------------------------------------------------------------------------------------------------------- the answer


def _answered(desk: Desk, asked: Asked, of: tuple[Wanted, Sequence[str]], charts: dict[str, Chart]) -> Markup:
    """What the versions do in this context."""
    form, versions = of
    if form.context is None:
        names = ", ".join(each.name for each in form.fields if each.wrong)
        return layout.answer("does", status("error", f"Nothing can be said before this is put right: {names}."))
    labels = contexts.labels(desk.app.domain, form.context)
    sides = _sides(desk, versions, form.context)
    able = [side for side in sides if not side.of.problem]
    telling = [side for side in able if not side.of.blank]
    parts = [*(_sentence(side, labels) for side in sides), _exploring(desk)]
    if able:
        charts["probabilities"] = _probabilities(able, labels)
        drawn = [chart(asked, charts["probabilities"]), *_values(asked, able, labels, charts)]
        parts.append(layout.row(*drawn))
        parts += [_table(telling, labels)] if telling else []
    return layout.answer("does", tag("h2", "What would be done"), *parts)


class Side(NamedTuple):
    """One of the versions."""

    title: str  # what it is called in pictures
    kind: str  # how its bars look
    of: Answer

    @property
    def knows(self) -> bool:
        """Whether it says what actions are worth."""
        return any(each.value is not None for each in self.of.options)


def _sides(desk: Desk, versions: Sequence[str], context: Mapping[str, Any]) -> list[Side]:
    """What each version does; the live one comes first."""
    standing = {each.version: each.status for each in lifecycle.versions(desk.app.events())}
    live = versions[0]
    found = []
    for name in versions:
        rule = "the rule, live" if name == live else "the rule"
        title = rule if name == BASELINE else f"{'live' if name == live else standing.get(name, 'older')}: {name}"
        kind = "one" if name == live else "other" if name == BASELINE else "three"
        found.append(Side(title, kind, answer(desk.app, name, context)))
    return found


def _sentence(side: Side, labels: Mapping[str, str]) -> Markup:
    """What a version takes most."""
    title, _, of = side
    if of.problem:
        return status("error", joined([tag("b", title), " cannot say: ", of.problem]))
    if of.blank:
        return tag("p", tag("b", title), ": ", never_seen(len(of.options)))
    best = of.likeliest
    first = best[0]
    name = labels.get(first.action, first.action)
    if len(best) > 1:
        others = f" or any of {len(best) - 1} others that are equally good" if len(best) > 2 else " or one other"
        said = [code(name), f"{others}, each with a probability of {percent(first.probability)}."]
    else:
        worth = "" if first.value is None else f", expecting {rounded(first.value)}"
        said = [code(name), f", with a probability of {percent(first.probability)}{worth}."]
    return tag("p", tag("b", title), " takes most ", *said)


def _exploring(desk: Desk) -> Markup:
    rate = desk.app.settings.exploration.rate
    says = (
        f"As they decide: {percent(rate)} of all decisions are drawn at random ([exploration] rate)."
        if rate
        else "As they decide: nothing is explored on top ([exploration] rate is 0)."
    )
    return tag("p", says, class_="note")


def _order(able: Sequence[Side]) -> list[str]:
    """Actions, those that any version is likeliest to take first."""
    most: dict[str, float] = {}
    for side in able:
        for option in side.of.options:
            most[option.action] = max(most.get(option.action, 0.0), option.probability)
    return sorted(most, key=lambda name: -most[name])


def _probabilities(able: Sequence[Side], labels: Mapping[str, str]) -> Chart:
    by_action = [{each.action: each.probability for each in side.of.options} for side in able]
    order, names = _order(able), [side.title for side in able]
    rows = [Row(labels.get(action, action), [each.get(action, nan) for each in by_action]) for action in order[:SHOWN]]
    groups = Groups(names, "probability", [side.kind for side in able], shares=True)
    drawn = bars(About("probabilities", "Probability of each action", _left(len(order))), rows, groups)
    cells = [[labels.get(action, action), *(each.get(action) for each in by_action)] for action in order]
    return drawn._replace(table=Table(["action", *names], cells))


def _left(rows: int) -> str:
    return f"The {SHOWN} likeliest of {rows:,} actions." if rows > SHOWN else ""


def _values(asked: Asked, able: Sequence[Side], labels: Mapping[str, str], charts: dict[str, Chart]) -> list[Markup]:
    """What the versions that know values expect of each action."""
    knowing = [side for side in able if side.knows and not side.of.blank]
    if any(side.knows for side in able) and not knowing:
        return [status("empty", "No version knows what an action is worth in such a context.")]
    if not knowing:
        says = "None of them keeps values: the rule does not, nor do learners that learn probabilities alone."
        return [status("empty", says)]
    by_action = [{each.action: each for each in side.of.options} for side in knowing]
    rows = []
    for action in _order(able)[:SHOWN]:
        found = [_worth(each.get(action)) for each in by_action]
        bounds = [each.low for each in found], [each.high for each in found]
        rows.append(Row(labels.get(action, action), [each.value for each in found], *bounds))
    cells = [
        [labels.get(each.action, each.action), side.title, each.value, each.low, each.high, each.tries]
        for side in knowing
        for each in side.of.options
    ]
    says = "What each version believes, with 95 % as far as it knows itself; not what was measured."
    groups = Groups([side.title for side in knowing], "expected reward", [side.kind for side in knowing])
    drawn = bars(About("values", "Value of each action", says), rows, groups)
    columns = ["action", "version", "value", "low", "high", "tries"]
    charts["values"] = drawn._replace(table=Table(columns, cells))
    return [chart(asked, charts["values"])]


def _worth(of: Option | None) -> Figure:
    return Figure(*(nan if each is None else each for each in (of.value, of.low, of.high))) if of else NOWHERE


def _table(able: Sequence[Side], labels: Mapping[str, str]) -> Markup:
    """Everything beside each other."""
    columns = ["action"]
    for side in able:
        short = side.title.partition(":")[0]
        columns += [f"{short}: probability", *([f"{short}: value"] if side.knows else [])]
    by_action = [{each.action: each for each in side.of.options} for side in able]
    rows = []
    for action in _order(able):
        row = [labels.get(action, action)]
        for side, options in zip(able, by_action, strict=True):
            option = options.get(action)
            row.append(NOTHING if option is None else percent(option.probability))
            row += [_valued(option)] if side.knows else []
        rows.append(row)
    return table("Every action", columns, rows, stacked=len(columns) > 3)


def _valued(of: Option | None) -> str:
    worth = _worth(of)
    if not isfinite(worth.value):
        return NOTHING
    return f"{rounded(worth.value)} ({rounded(worth.low)} to {rounded(worth.high)})"
