"""Decisions as rows of a table, and what users and applications sent as text that stays text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from bondhu.dashboard.figures.searching import Found
from bondhu.dashboard.layout import badge, called, code, link, when
from bondhu.dashboard.page import DASHBOARD, Asked
from bondhu.log.checks import encode
from bondhu.log.revisions import Said, superseded
from bondhu.report.markup import Markup, joined, tag
from bondhu.report.words import NOTHING, rounded
from bondhu.types import Feedback

LONG = 200  # characters of a text that is shown at once
BEGINNING = 120  # characters of a longer one that stand before the rest
SIGNALS = 3  # kinds of feedback that a row names
COLUMNS = ("time (UTC)", "action", "probability", "explored", "version", "reward", "what was said")
DECISIONS = f"{DASHBOARD}/decisions"


def address(asked: Asked, identity: str) -> str:
    """Where one decision is shown. An id that a browser would take for a step in the path is searched for."""
    if any(part in ("", ".", "..") for part in identity.split("/")):
        return f"{asked.link(DECISIONS)}?{urlencode({'id': identity})}"
    return asked.link(f"{DECISIONS}/{identity}")


def listed(asked: Asked, caption: str, found: Sequence[Found], *, here: str = "") -> Markup:
    """Decisions with what came of them, each with the way to all about it; `here`: the id of the one that is shown."""
    head = [tag("th", each, scope="col") for each in COLUMNS]
    body = [tag("tr", *_row(asked, each, here)) for each in found]
    made = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", made, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _row(asked: Asked, of: Found, here: str) -> list[Markup]:
    made = of.decision
    time = tag("b", when(made.time)) if made.id == here else link(when(made.time), address(asked, made.id))
    variant = [] if made.variant == "live" else [" ", badge(made.variant)]
    cells: list[tuple[Markup, str]] = [
        (code(made.action), "text"),
        (joined([f"{made.probability:.3g}"]), "number"),
        (marked(of), "text"),
        (joined([code(called(made.version)), *variant]), "text"),
        (worth(of), "number"),
        (joined([told(of.said)]), "text"),
    ]
    return [tag("th", time, scope="row", class_="text"), *(tag("td", each, class_=kind) for each, kind in cells)]


def marked(of: Found) -> Markup:
    """Whether it was explored."""
    if of.explored is None:
        return badge("cannot be told")
    return badge("explored", "wait") if of.explored else Markup("")


def worth(of: Found) -> Markup:
    """The reward, and whether it can still change."""
    open_ = [] if of.settled else [" ", badge("so far")]
    return joined([rounded(of.reward), *open_])


def standing(said: Iterable[Feedback]) -> list[Feedback]:
    """What still counts: without what was revised or taken back."""
    rows = [*said]
    keys = [Said(each.decision_id, each.time, at, each.id, each.value, each.replaces) for at, each in enumerate(rows)]
    gone = superseded(keys)
    return [each for at, each in enumerate(rows) if at not in gone]


def told(said: Sequence[Feedback]) -> str:
    """What was said of a decision, in a few words."""
    counted: dict[str, list[float]] = {}
    for each in standing(said):
        counted.setdefault(each.signal, []).append(each.value or 0.0)
    if not counted:
        return "taken back" if said else NOTHING
    words = [f"{name} {rounded(sum(values))}" for name, values in counted.items()]
    more = f", and {len(words) - SIGNALS} more" if len(words) > SIGNALS else ""
    return f"{', '.join(words[:SIGNALS])}{more}"


def sent(value: Any) -> Markup:
    """What somebody sent, as text: in its own direction, folded where it is long."""
    text = value if isinstance(value, str) else encode(value).decode()
    if not text:
        return tag("span", "empty text", class_="note")
    if len(text) <= LONG:
        return tag("bdi", text)
    rest = tag("pre", tag("bdi", text))
    return tag("details", tag("summary", tag("bdi", f"{text[:BEGINNING]}…"), f" ({len(text):,} characters)"), rest)
