"""The search for decisions: whose, where, what was done, what came of it; newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures.contexts import PREFIX
from bondhu.dashboard.figures.searching import Search, asked_for, by_id, cursor, hits, sessions
from bondhu.dashboard.forms import asking, button, choice, field
from bondhu.dashboard.layout import called, counted, link, section, status, when
from bondhu.dashboard.page import Asked, Desk, Failed, Page, Pending
from bondhu.dashboard.sections.listing import DECISIONS, listed
from bondhu.errors import BondhuError
from bondhu.report.markup import Markup, tag
from bondhu.report.words import moment

ANY = {"": "any"}
BACK = 100_000  # newest decisions among which a session of people known by name is looked for
BUCKET = 60.0  # seconds of decisions after which they are read anew
GROUPED = ("category", "number")  # kinds of field that can be searched by
REWARDED = {
    "known": "settled",
    "waiting": "not settled yet",
    "above": "more than …",
    "below": "less than …",
}


def view(desk: Desk, asked: Asked) -> Page:
    sheet = desk.decisions.sheet()
    search, wrong = asked_for(desk.app, sheet, asked.query)
    form = section("search", "Which decisions?", _form(desk, asked, sheet, wrong), live=False)
    return Page("Decisions", [form, _found(desk, asked, sheet, (search, wrong))])


# ----------------------------------------------------------------------------------------------------------- the form


def _form(desk: Desk, asked: Asked, sheet: Sheet, wrong: Mapping[str, str]) -> Markup:
    said = asked.query
    declared = {each["name"]: each for each in desk.app.domain.describe()["fields"]}
    fields = [name for name, each in declared.items() if each["kind"] in GROUPED and name in sheet.context]
    situation = [_choice(said, PREFIX + name, name, _values(sheet, name, declared[name])) for name in fields]
    opened = {"open": ""} if any(name.startswith(PREFIX) for name in said) else {}
    where = tag("details", tag("summary", "In which context"), tag("div", *situation, class_="asking"), **opened)
    drawn = [
        _line(said, "id", "id", hint="of a decision, or of feedback"),
        _line(said, "user", "user", hint="as your application sends it"),
        _line(said, "session", "session"),
        _choice(said, "action", "action", desk.app.domain.actions),
        _choice(said, "version", "version", {str(each): called(str(each)) for each in sheet.version.values}),
        _choice(said, "variant", "variant", [str(each) for each in sheet.variant.values]),
        _choice(said, "explored", "explored", {"yes": "another was likelier", "no": "the likeliest was taken"}),
        _choice(said, "reward", "reward", REWARDED),
        _line(said, "amount", "… than", kind="text", hint="a number"),
        _line(said, "from", "from (UTC)", kind="datetime-local"),
        _line(said, "to", "to (UTC)", kind="datetime-local"),
    ]
    told = [status("error", each) for each in wrong.values()]
    clear = link("Clear", asked.link(DECISIONS))
    return asking(
        asked,
        *drawn,
        *([where] if situation else []),
        *told,
        tag("p", button("Search", kind="main"), " ", clear),
        now=False,
    )


def _line(said: Mapping[str, str], name: str, label: str, **more: Any) -> Markup:
    return field(name, label, said.get(name, ""), **more)


def _choice(said: Mapping[str, str], name: str, label: str, options: Sequence[str] | Mapping[str, str]) -> Markup:
    words = dict(options) if isinstance(options, Mapping) else {each: each for each in options}
    chosen = said.get(name, "")
    other = {chosen: chosen} if chosen and chosen not in words else {}
    return choice(name, label, {**ANY, **words, **other}, chosen)


def _values(sheet: Sheet, name: str, declared: Mapping[str, Any]) -> list[str]:
    """What may be asked of a field: as declared, or as it was met."""
    met = [str(each) for each in sheet.context[name].values]
    listed_ = [str(each) for each in declared.get("values", [])]
    return [each for each in listed_ if each in met] if listed_ else met


# ---------------------------------------------------------------------------------------------------------- the rows


def _found(desk: Desk, asked: Asked, sheet: Sheet, asking_: tuple[Search, Mapping[str, str]]) -> Markup:
    search, wrong = asking_
    title = "Newest first" if not search.identity else "With this id"
    if wrong:
        said = status("error", "Nothing was looked for: something of what was asked for is not right.")
        return section("found", title, said)
    try:
        parts = _one(desk, asked, search) if search.identity else _some(desk, asked, sheet, search)
    except BondhuError as error:
        parts = [status("error", f"The log cannot be read now. {error}")]
    return section("found", title, *parts, live=search.before is None)


def _one(desk: Desk, asked: Asked, search: Search) -> list[Markup]:
    found = by_id(desk.app, search.identity)
    if found is None:
        what = f"No decision has the id {search.identity!r}, and no feedback that is about one."
        why = "It may be of another deployment, or its person was erased. Look for the user, or for the time."
        return [status("empty", what, tag("span", why))]
    return [listed(asked, "The decision", [found])]


def _some(desk: Desk, asked: Asked, sheet: Sheet, search: Search) -> list[Markup]:
    moments, told = _moments(desk, sheet, search)
    found = hits(desk.app, sheet, search, moments)
    reach = _reach(desk, sheet, search)
    if not found.rows:
        return [*told, *reach, *_nothing(asked, sheet, found.before is not None), *_pages(asked, found.before)]
    exact = not (search.explored or search.session)
    number = f"{'' if exact else 'at most '}{counted(found.of, 'decision')}"
    if search.before is not None:
        number = f"{number} up to {moment(search.before[0])}"
    caption = f"{len(found.rows):,} of {number}"
    return [*told, *reach, listed(asked, caption, found.rows), *_pages(asked, found.before)]


def _moments(desk: Desk, sheet: Sheet, search: Search) -> tuple[list[float], list[Markup]]:
    """When a session was met, and what is to be said of that: the columns know people, and not their sessions."""
    if not search.session or search.user or not len(sheet):
        return [], []
    # once for all sessions: whoever asks for one after another asks for nothing more
    found = desk.errands.ask(("sessions", int(sheet.time[-1] // BUCKET)), partial(sessions, desk.app, BACK))
    if isinstance(found, Pending):
        says = f"The session is looked for among the newest {BACK:,} decisions of people who are known by name."
        return [], [status("wait", f"{says} With the user as well it is found at once.")]
    if isinstance(found, Failed):
        return [], [status("error", found.why)]
    return found.of(search.session), []


def _reach(desk: Desk, sheet: Sheet, search: Search) -> list[Markup]:
    """How far back was looked, where that is not all, and what cannot be found like this."""
    progress = desk.decisions.progress()
    says: list[str | Markup] = []
    if progress.read < progress.of and search.start < progress.since:
        says += [f"{progress.read:,} of about {progress.of:,} decisions are searched, those since "]
        says += [when(progress.since), ". Older ones are found by their id. "]
    if sheet.unfit:
        says.append(f"{sheet.unfit:,} have a context that is not what is declared now: they are found by their id.")
    return [tag("p", *says, class_="note")] if says else []


def _nothing(asked: Asked, sheet: Sheet, more: bool) -> list[Markup]:
    if more:
        return [status("wait", "None of those that were looked at is like that.")]
    if not len(sheet):
        says = "There is no decision yet. Ask for one: POST /v1/decide, or `bondhu demo` for simulated people."
        return [status("empty", says)]
    return [status("empty", "No decision is like that.", link("Ask for all of them", asked.link(DECISIONS)))]


def _pages(asked: Asked, before: tuple[float, int] | None) -> list[Markup]:
    """The way to older ones, and back to the newest."""
    newest = [link("← newest", asked.link(before=None))] if "before" in asked.query else []
    older = [link("older →", asked.link(before=cursor(before)))] if before is not None else []
    return [tag("nav", *newest, *older, class_="pages", aria_label="Pages")] if newest or older else []
