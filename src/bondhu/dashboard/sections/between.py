"""Where two versions differ, for whom, and how many people that is: a section of the policy explorer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bondhu.dashboard.charts.bars import Groups, Row, bars
from bondhu.dashboard.charts.plot import About
from bondhu.dashboard.figures.contexts import PREFIX
from bondhu.dashboard.figures.differing import Differ, Move, differing
from bondhu.dashboard.layout import called, chart, code, link, section, status, when
from bondhu.dashboard.page import Asked, Chart, Desk, Failed, Pending, Table
from bondhu.errors import BondhuError
from bondhu.report.layout import table
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.words import percent

SHOWN = 12  # rows of a picture; the table has all of them
BUCKET = 600.0  # seconds of decisions after which two versions are compared anew
SMALL = 10  # decisions below which a share says nothing


class Pair(NamedTuple):
    """Two versions, the one that came later second."""

    before: str
    after: str


def pair_of(versions: Sequence[str], history: Sequence[str]) -> Pair | None:
    """The live version and the one it is compared with, in the order in which they came."""
    live, beside = versions[0], versions[-1]
    if live == beside:
        return None
    places = {name: number for number, name in enumerate(history)}
    later = places.get(beside, -1) > places.get(live, -1)
    return Pair(live, beside) if later else Pair(beside, live)


def differ(desk: Desk, asked: Asked, versions: Sequence[str], charts: dict[str, Chart]) -> Markup:
    """The section; `versions`: the live one first, the one that it is compared with last."""
    title, sheet = "Where the two differ, and for whom", desk.decisions.sheet()
    pair = pair_of(versions, desk.app.versions())
    if pair is None:
        said = status("empty", "There is the rule and no version yet.", joined(["Train one: ", code("bondhu train")]))
        return section("differ", title, said)
    if not len(sheet):
        said = status("empty", "There is no decision yet that both could be asked about.")
        return section("differ", title, said)
    found, again = _asked_about(desk, pair, int(sheet.time[-1] // BUCKET))
    if isinstance(found, Pending):
        said = status(
            "wait", f"Both are asked about the newest decisions, since {round(desk.app.now() - found.since)} s."
        )
        return section("differ", title, said)
    if isinstance(found, Failed):
        said = status("error", found.why, link("Compare others", f"{asked.link(older=None)}#context"))
        return section("differ", title, said)
    note = [tag("p", "It is being counted anew.", class_="note")] if again else []
    return section("differ", title, *note, *_counted(asked, found, pair, charts))


def _asked_about(desk: Desk, pair: Pair, bucket: int) -> tuple[Differ | Pending | Failed, bool]:
    """What both say of the newest decisions; of those before, and True, while that is under way."""

    def work() -> Differ | Failed:
        try:
            return differing(desk.app, *pair)
        except BondhuError as error:
            return Failed(str(error))

    found = desk.errands.ask(("differ", *pair, bucket), work)
    last = desk.errands.look(("differ", *pair, bucket - 1)) if isinstance(found, Pending) else None
    return (last, True) if isinstance(last, Differ) else (found, False)


def _counted(asked: Asked, of: Differ, pair: Pair, charts: dict[str, Chart]) -> list[Markup]:
    left = f" {of.left_out:,} were made for other fields or actions and are left out." if of.left_out else ""
    if not of.decisions:
        return [status("empty", f"There is no decision that both can be asked about.{left}")]
    whose = joined([code(called(pair.before)), " and ", code(called(pair.after))])
    head = tag(
        "p",
        whose,
        " disagree about the likeliest action in ",
        tag("b", percent(of.differ / of.decisions)),
        f" of the newest {of.decisions:,} decisions: for ",
        tag("b", f"{of.moved:,} of {of.people:,} people"),
        ". ",
        f"{percent(of.distance)} of decisions would come out otherwise at least (total variation distance).",
    )
    since = tag("p", "These decisions were made since ", when(of.since), f".{left}", class_="note")
    if not of.differ:
        return [head, since]
    return [head, since, *_moves(asked, of, pair, charts), *_segments(asked, of, charts)]


def _moves(asked: Asked, of: Differ, pair: Pair, charts: dict[str, Chart]) -> list[Markup]:
    """From which action to which."""
    rows = [Row(f"{each.before} → {each.after}", [each.decisions]) for each in of.moves[:SHOWN]]
    ours, theirs = map(called, pair)
    columns = [f"most with {ours}", f"most with {theirs}", "decisions", "people", "example"]
    says = f"The {SHOWN} most frequent of {len(of.moves):,}." if len(of.moves) > SHOWN else ""
    drawn = bars(About("moves", "From which action to which", says), rows, Groups(["decisions"], "decisions"))
    charts["moves"] = drawn._replace(table=Table(columns, of.moves))
    shown = [
        [
            each.before,
            each.after,
            f"{each.decisions:,}",
            f"{each.people:,}",
            link("try it", asked.link(**_of(asked, each))),
        ]
        for each in of.moves[:SHOWN]
    ]
    words = [*columns[:4], "the newest of them"]
    return [chart(asked, charts["moves"]), table("The most frequent changes", words, shown, stacked=True)]


def _of(asked: Asked, move: Move) -> dict[str, str | None]:
    """The query with the context of the newest decision of these and nothing edited."""
    return {**{name: None for name in asked.query if name.startswith(PREFIX)}, "decision": move.example}


def _segments(asked: Asked, of: Differ, charts: dict[str, Chart]) -> list[Markup]:
    """For whom."""
    known = [each for each in of.segments if each.decisions >= SMALL]
    if not known:
        return [status("empty", "The context has no categories or numbers by which people could be told apart.")]
    rows = [Row(f"{each.field}: {each.value}", [each.share]) for each in known[:SHOWN]]
    columns = ["field", "value", "decisions", "people", "share that differs", "people it differs for", "distance"]
    cells = [
        [each.field, each.value, each.decisions, each.people, each.share, each.moved, each.distance] for each in known
    ]
    whole = percent(of.differ / of.decisions)
    says = f"Whose likeliest action differs, the largest share first; of all decisions it is {whole}."
    groups = Groups(["share"], "share of decisions", shares=True)
    charts["for-whom"] = bars(About("for-whom", "For whom they differ", says), rows, groups)._replace(
        table=Table(columns, cells)
    )
    shown = [
        [
            f"{each.field}: {each.value}",
            percent(each.share),
            f"{each.moved:,} of {each.people:,}",
            f"{each.decisions:,}",
        ]
        for each in known[:SHOWN]
    ]
    words = ["who", "decisions that differ", "people", "decisions"]
    return [chart(asked, charts["for-whom"]), table("Those for whom they differ most", words, shown)]
