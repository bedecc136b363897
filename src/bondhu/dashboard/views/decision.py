"""One decision: why this action for this user, what came of it, and what others would have brought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np

from bondhu.dashboard.charts.bars import Groups, Row, bars
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures import contexts
from bondhu.dashboard.figures.acting import as_it_acted, never_seen
from bondhu.dashboard.figures.searching import LONGEST, Found, by_id, fetched
from bondhu.dashboard.layout import badge, called, chart, code, link, row, section, status, when
from bondhu.dashboard.page import DASHBOARD, Asked, Chart, Desk, Page, Table
from bondhu.dashboard.sections.listing import DECISIONS, listed, marked, sent, standing, worth
from bondhu.dashboard.sections.otherwise import otherwise
from bondhu.errors import BondhuError
from bondhu.ports import Transcript
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import APPLICATION, BASELINE, EXPLORED
from bondhu.registry.share import HOLDOUT, TRIAL
from bondhu.report.layout import facts, table
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.words import NOTHING, percent, rounded
from bondhu.serve.explain import explain
from bondhu.serve.messages import Audit, Candidate
from bondhu.types import Decision
from bondhu.watch.observed import number_of

SHOWN = 12  # rows of a picture; the table has all of them
NOISE = 1e-9  # differences that rounding alone makes
BESIDE = 10  # decisions of the session before this one, and after it


class Looked(NamedTuple):
    """One decision with all that is drawn of it."""

    found: Found
    audit: Audit
    labels: Mapping[str, str]  # of actions, for people

    @property
    def decision(self) -> Decision:
        return self.found.decision

    def name(self, action: str) -> str:
        return self.labels.get(action, action)


def view(desk: Desk, asked: Asked) -> Page:
    app, identity = desk.app, asked.parts.get("id", "")
    found = by_id(app, identity) if len(identity) <= LONGEST else None
    if found is None:
        return _missing(asked, identity)
    made, said, *_ = found
    audit = explain(made, said, as_it_acted(app, made.allowed))
    of = Looked(found, audit, contexts.labels(app.domain, made.context))
    sheet = desk.decisions.sheet()
    charts: dict[str, Chart] = {}
    parts = [
        _head(asked, of),
        row(_context(made), _feedback(of)),
        _candidates(asked, of, charts),
        _moved(asked, of, charts),
        otherwise(desk, asked, audit, charts),
        _replay(of),
        _release(desk, asked, made),
        _session(desk, asked, sheet, made),
        *_transcript(desk, made),
    ]
    return Page(f"Decision {made.id}", parts, charts)


def _missing(asked: Asked, identity: str) -> Page:
    what = f"There is no decision {identity[:LONGEST]!r} in this deployment."
    why = "Its id may be cut off, it may be of another deployment, or its person was erased. "
    search = link("Search for the user, the time or the action", asked.link(DECISIONS))
    return Page("No such decision", [status("empty", what, joined([why, search, "."]))], status=404)


# -------------------------------------------------------------------------------------------------- why this action


def _head(asked: Asked, of: Looked) -> Markup:
    """Why, in a sentence, and what was done when, for whom."""
    made, found = of.decision, of.found
    again = "Decided again, it comes out bit for bit." if of.audit.replayed else "It does not come out again as logged."
    told = tag(
        "div", tag("p", of.audit.why, class_="answer"), tag("p", again, class_="note"), class_="verdict", id="why"
    )
    pairs: list[tuple[str, ...]] = [
        ("When", when(made.time)),
        ("Action", joined([code(of.name(made.action)), " ", marked(found)])),
        ("Probability", f"{made.probability:.4g}"),
        ("Version", code(called(made.version))),
        ("User", tag("bdi", made.user) if made.user else "nobody known"),
        ("Session", tag("bdi", made.session)),
        ("Reward", worth(found)),
        ("Id", code(made.id)),
    ]
    more = link("Try other contexts from here on", asked.link(f"{DASHBOARD}/policy", decision=made.id))
    return section("decision", "What was decided", told, facts(pairs), tag("p", more))


def _candidates(asked: Asked, of: Looked, charts: dict[str, Chart]) -> Markup:
    """Every action that was allowed, with its probability and value."""
    title, found = "What could have been done", sorted(of.audit.candidates, key=lambda each: -each.probability)
    if not found:
        allowed = ", ".join(map(of.name, of.decision.allowed))
        return section("candidates", title, status("empty", f"Allowed was: {allowed}. Nobody can say how likely."))
    if alike(found):
        says = f"{never_seen(len(found))} Each of them was taken with a probability of {percent(found[0].probability)}."
        return section("candidates", title, status("empty", says))
    drawn = [Row(_starred(of, each.action), [each.probability]) for each in _shown(found, of.decision.action)]
    about = About("probabilities", "Probability of each action", _left(len(found)))
    cells = [[of.name(each.action), each.probability, each.value, each.low, each.high, each.tries] for each in found]
    every = Table(["action", "probability", "value", "low", "high", "tries"], cells)
    charts["probabilities"] = bars(about, drawn, Groups(["probability"], "probability", shares=True))._replace(
        table=every
    )
    parts = [chart(asked, charts["probabilities"])]
    if any(each.value is not None for each in found):
        charts["values"] = _values(of, found)._replace(table=every)
        parts = [row(*parts, chart(asked, charts["values"]))]
    else:
        parts.append(tag("p", "This version keeps no values: it knows probabilities alone.", class_="note"))
    rows = [[of.name(each.action), percent(each.probability), _valued(each), _number(each.tries)] for each in found]
    columns = ["action", "probability", "value (95 %)", "decisions behind it"]
    every_row = table("Every action that was allowed", columns, rows, stacked=True)
    return section("candidates", title, *parts, every_row)


def alike(found: Sequence[Candidate]) -> bool:
    """Whether the version knew values, and none by which one action differs from another."""
    seen = {(each.probability, each.value, each.low, each.high, each.tries) for each in found}
    return len(found) > 1 and len(seen) == 1 and found[0].value is not None


def _values(of: Looked, found: Sequence[Candidate]) -> Chart:
    rows = []
    for each in _shown(found, of.decision.action):
        value, low, high = (nan if part is None else part for part in (each.value, each.low, each.high))
        rows.append(Row(_starred(of, each.action), [value], [low], [high]))
    says = f"What {called(of.decision.version)} believed, with 95 % as far as it knows itself."
    return bars(About("values", "Value of each action", says), rows, Groups(["value"], "expected reward"))


def _starred(of: Looked, action: str) -> str:
    """The name of an action; that of the one taken is marked."""
    return f"▸ {of.name(action)}" if action == of.decision.action else of.name(action)


def _shown(found: Sequence[Candidate], taken: str) -> list[Candidate]:
    """Those that are drawn: the likeliest, and the one that was taken."""
    first = [*found[:SHOWN]]
    return first + [each for each in found[SHOWN:] if each.action == taken]


def _left(rows: int) -> str:
    marked_ = "▸ marks the action taken."
    return f"The {SHOWN} likeliest of {rows:,} actions. {marked_}" if rows > SHOWN else marked_


def _valued(of: Candidate) -> str:
    if of.value is None:
        return NOTHING
    if of.low is None or of.high is None:
        return rounded(of.value)
    return f"{rounded(of.value)} ({rounded(of.low)} to {rounded(of.high)})"


def _number(of: float | None) -> str:
    return NOTHING if of is None else rounded(of)


def _moved(asked: Asked, of: Looked, charts: dict[str, Chart]) -> Markup:
    """What moved it."""
    title, found, unit = "What moved it", of.audit.moved, of.audit.moved_in
    if not found:
        says = "Nobody can say: the version cannot be asked, or its context has no fields with other typical values."
        return section("moved", title, status("empty", says))
    if not any(abs(each.by) > NOISE for each in found):
        says = "Nothing in the context: with other values it would have looked the same."
        return section("moved", title, status("empty", says))
    rows = [Row(each.field, [each.by]) for each in found[:SHOWN] if abs(each.by) > NOISE]
    if len(rows) == 1:
        more = "better" if rows[0].values[0] > 0 else "worse"
        says = (
            f"{rows[0].name} alone: beside the other allowed actions {of.name(of.decision.action)} looked "
            f"{rounded(abs(rows[0].values[0]))} ({unit}) {more} than it would with other typical values of it."
        )
        return section("moved", title, tag("p", says))
    says = (
        f"How much better {of.name(of.decision.action)} looked, beside the other allowed actions, than it would with "
        "other typical values of that field alone."
    )
    drawn = bars(About("moved", "By field", says), rows, Groups([unit], f"difference in {unit}"))
    charts["moved"] = drawn._replace(
        table=Table(["field", "by", "in"], [[each.field, each.by, unit] for each in found])
    )
    return section("moved", title, chart(asked, charts["moved"]))


# ---------------------------------------------------------------------------------------------- what is known of it


def _context(made: Decision) -> Markup:
    """Every field as it was sent."""
    rows = [
        tag("tr", tag("th", tag("bdi", str(name)), scope="row", class_="text"), tag("td", sent(value), class_="long"))
        for name, value in made.context.items()
    ]
    head = tag("thead", tag("tr", tag("th", "field", scope="col"), tag("th", "value", scope="col")))
    drawn = tag("table", tag("caption", "The context as it was sent"), head, tag("tbody", *rows))
    box = tag("div", drawn, class_="scroll", role="region", aria_label="The context as it was sent", tabindex=0)
    return section("context", "In which context", box, live=False)


def _feedback(of: Looked) -> Markup:
    """What was said, revised and taken back, and what it is worth."""
    said = of.found.said
    counted = {each.id for each in standing(said)}
    if not said:
        settled = (
            "Nobody said anything in time: its reward is the default."
            if of.found.settled
            else ("Nobody has said anything yet. Feedback comes by POST /v1/feedback with the decision's id.")
        )
        return section("feedback", "What was said of it", status("empty", settled))
    rows = [
        [
            when(each.time),
            tag("bdi", each.signal),
            NOTHING if each.value is None else rounded(each.value, 4),
            "yes" if each.id in counted else ("takes back" if each.value is None else "no: revised or taken back"),
            tag("bdi", each.id),
        ]
        for each in said
    ]
    summed = joined(["The reward ", "is " if of.found.settled else "is so far ", rounded(of.found.reward, 4), "."])
    shown = table("Feedback, in order of arrival", ["time (UTC)", "signal", "value", "counts", "id"], rows)
    return section("feedback", "What was said of it", tag("p", summed), shown)


def _replay(of: Looked) -> Markup:
    """Whether it comes out again."""
    made = of.decision
    if of.audit.replayed:
        says = (
            "Yes, bit for bit: decided again with ",
            code(called(made.version)),
            f", the same action comes out with the same probability, {made.probability!r}.",
        )
        return section("replay", "Can it be decided again?", status("good", joined(says)), live=False)
    acted = made.version not in (APPLICATION, EXPLORED)
    why = (
        of.audit.why
        if not of.audit.candidates and acted
        else (
            f"Decided again with {called(made.version)}, another action or another probability comes out: the row, the "
            "version or the declaration of the domain is not what it was."
        )
    )
    told = joined([code(f"bondhu replay {made.id}"), " says the same."])
    return section("replay", "Can it be decided again?", status("error", f"No. {why}", told), live=False)


def _release(desk: Desk, asked: Asked, made: Decision) -> Markup:
    """Which variant it was of, and what was being released then."""
    then = lifecycle.traffic([each for each in desk.app.events() if each.time <= made.time])
    live = code(called(then.live or BASELINE))
    share = f"given to {percent(made.assigned)} of the people"
    said: list[str | Markup]
    if made.variant == TRIAL:
        said = ["The user was in a trial: its version was ", share, "; live was ", live, "."]
    elif made.variant == HOLDOUT:
        said = ["The user is in the holdout, which always meets the rule: ", share, "; live was ", live, "."]
    else:
        said = ["The user met what was live: ", live, f", {share}."]
    if then.step is not None:
        where = f"on trial at {percent(then.step.share)}" if then.step.share else "in shadow"
        said += [" Then ", code(then.step.version), f" was {where}."]
    releases = tag("p", link("All about releases", asked.link(f"{DASHBOARD}/releases")))
    return section(
        "release", "What was being released", tag("p", badge(made.variant), " ", *said), releases, live=False
    )


def _session(desk: Desk, asked: Asked, sheet: Sheet, made: Decision) -> Markup:
    """What was decided before and after it in the same session."""
    title = "Before and after, in the same session"
    person = number_of(f"user:{made.user}" if made.user else f"session:{made.session}")
    rows = np.flatnonzero(sheet.user == person)
    if not len(rows):
        says = "Decisions of that time are not read: the columns in memory do not reach back so far."
        return section("session", title, status("empty", says), live=False)
    at = int(np.searchsorted(sheet.time[rows], made.time))
    around = rows[max(at - BESIDE, 0) : at + BESIDE + 1]
    found = [
        each
        for each in fetched(desk.app, sheet, around[::-1])
        if each is not None and each.decision.session == made.session
    ]
    if len(found) < 2:
        says = "It is the only decision of its session."
        return section("session", title, status("empty", says))
    query = {"session": made.session, **({"user": made.user} if made.user else {})}
    every = link("All of this session", asked.link(DECISIONS, **query))
    return section("session", title, listed(asked, "Newest first", found, here=made.id), tag("p", every))


def _transcript(desk: Desk, made: Decision) -> list[Markup]:
    """What was said around it, where that is kept."""
    if desk.app.settings.gateway is None:
        return []
    title = "What was written"
    try:
        kept = desk.app.transcripts.transcripts([made.id])
    except BondhuError as error:
        return [section("transcript", title, status("error", f"It cannot be read now. {error}"), live=False)]
    if not kept:
        says = "Nothing is kept: [gateway] may say so, the answer may not have ended yet, or it was let go."
        return [section("transcript", title, status("empty", says), live=False)]
    return [section("transcript", title, *_said_around(kept[0]), live=False)]


def _said_around(of: Transcript) -> list[Markup]:
    """Messages and answer in turn, then what is known of the answer."""
    body = of.body
    messages = [each for each in body.get("messages") or () if isinstance(each, Mapping)]
    answer = body.get("answer")
    turns = [_turn(str(each.get("role", "")), each.get("content")) for each in messages]
    turns += [_turn("answer", answer.get("content", answer) if isinstance(answer, Mapping) else answer)]
    rest = {name: value for name, value in body.items() if name not in ("messages", "answer")}
    pairs = [(name, sent(value)) for name, value in rest.items() if value is not None]
    return [tag("dl", *turns, class_="talk"), facts(pairs)]


def _turn(who: str, content: Any) -> Markup:
    nothing = tag("span", NOTHING)
    return tag("div", tag("dt", tag("bdi", who)), tag("dd", nothing if content is None else sent(content)))
