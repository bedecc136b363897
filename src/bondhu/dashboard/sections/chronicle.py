"""What became of the versions, drawn: verdicts, where they stand, every transition, and what administrators did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bondhu.access import ADMINISTER
from bondhu.dashboard import layout
from bondhu.dashboard.figures.lineage import Ancestry
from bondhu.dashboard.page import DASHBOARD, Asked
from bondhu.ports import Entry, Event
from bondhu.registry.lifecycle import BASELINE, Standing
from bondhu.report.layout import say, table
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.words import NOTHING, moment, percent, rounded

SHOWN = 20  # verdicts
PAGE = 50  # transitions
VERSIONS = ("version", "status", "trained", "learned from", "what changed", "why it stands there")  # columns
TONES = {"promote": "promote", "wait": "wait", "refuse": "refuse"}
KINDS = {"live": "promote", "trial": "wait", "shadow": "wait"}


def verdicts(asked: Asked, events: Sequence[Event]) -> Markup:
    """What the gate said, newest first, each with its reasons and figures; of one version where the address says so."""
    wanted = asked.query.get("version")
    found = [each for each in reversed(events) if each.kind == "judged" and wanted in (None, "", each.version)]
    if not found:
        whose = f" of {wanted}" if wanted else ""
        how = say("Trainings ask it by themselves where people are held out; `bondhu evaluate` asks it.")
        shown: list[Markup] = [layout.status("empty", f"The gate was not asked{whose} yet.", how)]
    else:
        shown = [_verdict(asked, each, number) for number, each in enumerate(found[:SHOWN])]
    every = [tag("p", layout.link("Verdicts of all versions", asked.link(version=None)))] if wanted else []
    older = len(found) - SHOWN
    more = [say(f"{older:,} older ones are shown by `bondhu verdicts`.", "note")] if older > 0 else []
    return layout.section("verdicts", "What the gate said", *every, *shown, *more)


def _verdict(asked: Asked, event: Event, number: int) -> Markup:
    """One verdict, folded."""
    figures = event.figures
    decision, against = str(figures.get("decision", "")), str(figures.get("against", NOTHING))
    head = tag(
        "summary",
        layout.badge(decision, TONES.get(decision, "plain")),
        " ",
        layout.code(event.version),
        " against ",
        layout.code(layout.called(against)),
        ", ",
        layout.when(event.time),
    )
    reasons = tag("ul", *(tag("li", str(each)) for each in figures.get("reasons", ())))
    numbers = [(name, rounded(float(each), 4)) for name, each in figures.items() if type(each) in (int, float)]
    caption = f"Figures that verdict {number + 1}, on {event.version} against {layout.called(against)}, rested on"
    made = table(caption, ("figure", "value"), numbers)
    where = asked.link(f"{DASHBOARD}/evaluation", version=event.version, against=against)
    again = tag("p", layout.link("Compare them again, on what is in the log now", where))
    return tag("details", head, reasons, made, again, id=f"verdict-{number}")


class Known(NamedTuple):
    """What is known of the versions beside where they stand."""

    ancestry: Mapping[str, Ancestry]  # what they learned with, where it was read already
    marked: Mapping[str, int]  # how many of the people that they learned from were erased since


def versions(asked: Asked, standings: Sequence[Standing], known: Known, *, may: bool) -> Markup:
    """Every version, newest first; `may`: whether the viewer may move them."""
    if not standings:
        why = "There is no version yet: everybody meets the rule."
        train = layout.act_button(asked, "train", "Train now", kind="main")
        return layout.section("versions", "Versions", layout.status("empty", why, train))
    newest = list(reversed(standings))
    rows = [_version(each, known.ancestry.get(each.version), known.marked.get(each.version, 0)) for each in newest]
    if may:
        live = next((each.version for each in standings if each.status == "live"), BASELINE)
        busy = any(each.status in ("shadow", "trial") for each in standings)
        for row, each in zip(rows, newest, strict=True):
            row[0] = joined([row[0], _moves(asked, each, live, busy=busy)])
    made = table("Every version, newest first", VERSIONS, rows, stacked=True)
    return layout.section("versions", "Versions", made)


def _version(of: Standing, known: Ancestry | None, marked: int) -> list[str]:
    status: str = layout.badge(of.status, KINDS.get(of.status, "plain"))
    why = of.why or NOTHING
    if marked:
        people = "one person who was" if marked == 1 else f"{marked} people who were"
        why = f"{why} It learned from {people} erased since; the history says what was learned without them."
    since = tag("div", "since ", layout.when(of.changed), class_="note name")
    stands: list[str] = [layout.code(of.version), joined([status, since]), layout.when(of.added)]
    if known is None:
        return [*stands, "…", "…", why]
    if known.problem:
        return [*stands, NOTHING, known.problem, why]
    changed = [tag("div", each) for each in known.changed] or [Markup("nothing")]
    return [*stands, _learned(known), joined(changed), why]


def _learned(of: Ancestry) -> Markup:
    """By which learner, on how much, and going on from which version."""
    said = [tag("div", of.learner)]
    if of.interactions is not None:
        said.append(tag("div", layout.counted(of.interactions, "decision")))
    if of.parent:
        said.append(tag("div", "on from ", layout.code(layout.called(of.parent))))
    return joined(said)


def _moves(asked: Asked, of: Standing, live: str, *, busy: bool) -> Markup:
    """What can be done with a version; `busy`: one is under release, and there is one at a time."""
    if of.status == "live":
        return Markup("")
    parts = [layout.act_button(asked, "promote", "Promote", version=of.version, over=live)]
    if of.status in ("candidate", "retired") and not busy:
        parts.insert(0, layout.act_button(asked, "release", "Release", version=of.version))
    return tag("div", *parts, class_="moves")


def history(asked: Asked, events: Sequence[Event]) -> Markup:
    """Every transition with who or what made it and why, newest first."""
    found = [each for each in reversed(events) if each.kind != "judged"]
    if not found:
        why = "Nothing has happened yet: a training makes the first version."
        return layout.section("history", "History", layout.status("empty", why))
    number = page_of(asked, len(found))
    rows = [
        (moment(each.time), layout.called(each.version), _what(each), each.by or NOTHING, each.reason or NOTHING)
        for each in found[(number - 1) * PAGE : number * PAGE]
    ]
    made = table("Every transition, newest first", ("at", "version", "what", "by", "why"), rows, stacked=True)
    way = [layout.pages(asked, number, PAGE, len(found))] if len(found) > PAGE else []
    return layout.section("history", "History", made, *way)


def page_of(asked: Asked, rows: int) -> int:
    """The page that the address asks for, from 1; the first where it asks for none that there is."""
    said = asked.query.get("page", "")
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 9 else 1
    return number if 1 <= number <= max(-(-rows // PAGE), 1) else 1


def _what(event: Event) -> str:
    share = "" if event.share is None else f" {percent(event.share)}"
    return f"{event.kind.replace('_', ' ')}{share}"


def audit(asked: Asked, entries: Sequence[Entry] | None) -> Markup:
    """What administrators did, newest first, for those who may see it; None: it is being read."""
    title = "Who did what"
    if ADMINISTER not in asked.viewer.may:
        why = "The audit log is for keys of the role admin."
        return layout.section("audit", title, layout.status("empty", why))
    if entries is None:
        return layout.section("audit", title, layout.status("wait", "The audit log is being read."))
    if not entries:
        return layout.section("audit", title, layout.status("empty", "Nobody has done anything yet."))
    rows = [_act(each.time, each.body) for each in reversed(entries)]
    columns = ("at", "who", "what", "with", "from", "status")
    made = table(f"The last {layout.counted(len(rows), 'act')}, newest first", columns, rows, stacked=True)
    return layout.section("audit", title, made, say("`GET /api/v1/admin/audit` has all of them.", "note"))


def _act(time: float, body: Mapping[str, Any]) -> tuple[str, ...]:
    said = ", ".join(f"{name} = {value}" for name, value in body.get("arguments", {}).items() if value is not None)
    who = f"{body.get('who', NOTHING)} ({body.get('role') or 'no key'})"
    return (
        moment(time),
        who,
        str(body.get("what", NOTHING)),
        said or NOTHING,
        str(body.get("address", "")) or NOTHING,
        str(body.get("status", "")),
    )
