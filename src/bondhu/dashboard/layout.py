"""The frame of every page, and the blocks that views are made of. No style and no script stands inside a page."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, isfinite
from typing import Any, NamedTuple

from bondhu import __version__
from bondhu.dashboard import files
from bondhu.dashboard.forms import Range, act_button, answer, asking, button, choice, field, hidden, slider
from bondhu.dashboard.page import DASHBOARD, Asked, Chart, Desk, Page
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import BASELINE
from bondhu.report.layout import facts, say, table
from bondhu.report.markup import Markup, joined, spoken, tag
from bondhu.report.study import Figure
from bondhu.report.words import NOTHING, VERDICTS, digits_of, moment, percent, rounded

__all__ = [
    "Card",
    "Range",
    "act_button",
    "ago",
    "answer",
    "asking",
    "badge",
    "button",
    "called",
    "cards",
    "chart",
    "choice",
    "code",
    "counted",
    "document",
    "facts",
    "field",
    "hidden",
    "link",
    "pages",
    "row",
    "say",
    "section",
    "slider",
    "span",
    "stamp",
    "status",
    "table",
    "verdict_line",
    "when",
    "within",
]

VIEWS: Mapping[str, str] = {
    "/": "Overview",
    f"{DASHBOARD}/learning": "Learning",
    f"{DASHBOARD}/policy": "Policy",
    f"{DASHBOARD}/decisions": "Decisions",
    f"{DASHBOARD}/releases": "Releases",
    f"{DASHBOARD}/evaluation": "Evaluation",
    f"{DASHBOARD}/health": "Health",
}
SIGNS = {"empty": "○", "error": "✕", "wait": "…", "good": "✓"}
SHOWN = 200  # rows of a chart's table that stand in the page; the CSV has them all
UNITS = ((86_400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


# ------------------------------------------------------------------------------------------------------------ the frame


def document(desk: Desk, asked: Asked, page: Page, since: int | None = None) -> str:
    """The whole page. `since`: the last change that it shows, from which on it follows."""
    name = desk.app.domain.name
    head = head_of(asked, f"{page.title} · {name}", tag("script", src=files.address(asked, "dashboard.js")))
    main = tag("main", tag("h1", page.title), *page.parts, id="main", tabindex=-1)
    skip = tag("a", "Skip to the content", href="#main", class_="skip")
    body = tag("body", skip, _header(desk, asked), main, _footer(desk))
    follows = {"data_events": asked.link(f"{DASHBOARD}/events", since=since)} if page.follows else {}
    return f"<!doctype html>\n{tag('html', head, body, lang='en', **follows)}\n"


def head_of(asked: Asked, title: str, *more: Markup) -> Markup:
    """What every document begins with."""
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · Bondhu"),
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href=files.address(asked, "dashboard.css")),
        *more,
    )


def _header(desk: Desk, asked: Asked) -> Markup:
    home = tag("a", desk.app.domain.name, href=asked.link("/"), class_="home")
    demo = [badge("demo: simulated people", "wait")] if desk.demo else []
    top = tag("div", home, *demo, _state(desk), _who(asked), class_="top")
    links = [
        tag("a", words, href=asked.link(path), **({"aria_current": "page"} if _is_at(asked, path) else {}))
        for path, words in VIEWS.items()
    ]
    return tag("header", top, tag("nav", *links, aria_label="Views"), class_="frame")


def _is_at(asked: Asked, path: str) -> bool:
    return asked.path == path or (path != "/" and asked.path.startswith(f"{path}/"))


def _state(desk: Desk) -> Markup:
    """Who decides for whom, in one line."""
    now = lifecycle.traffic(desk.app.events())
    rule = "the rule decides for everybody"
    if now.stopped:
        parts = [badge("stopped", "refuse"), f" {rule}"]
    elif now.live is None:
        parts = [badge("rule", "plain"), f" {rule}"]
    else:
        parts = [badge("live", "promote"), " ", code(now.live)]
    if now.step is not None:
        share = f"trial at {percent(now.step.share)}" if now.step.share else "in shadow"
        parts += [" ", badge(share, "wait"), " ", code(now.step.version)]
    return tag("p", *parts, id="state", class_="state", data_live="")


def _who(asked: Asked) -> Markup:
    """Who looks, the way in or out, and the colours."""
    if asked.viewer.token:
        out = tag(
            "form",
            hidden("token", asked.viewer.token),
            tag("button", "Log out", type="submit", class_="plain"),
            method="post",
            action=asked.link(f"{DASHBOARD}/logout"),
        )
        parts = [tag("span", asked.viewer.name, class_="name"), out]
    else:
        parts = [tag("a", "Log in", href=asked.link(f"{DASHBOARD}/login", back=asked.link()))]
    said = {"": "system colours", "light": "light", "dark": "dark"}
    options = [tag("option", words, value=value) for value, words in said.items()]
    theme = tag("select", *options, id="theme", aria_label="Colours", hidden="")
    lost = tag("span", "Connection lost, trying again …", id="connection", role="status", hidden="")
    return tag("div", lost, *parts, theme, class_="who")


def _footer(desk: Desk) -> Markup:
    found, now = desk.decisions.progress(), desk.app.now()
    read = f"{found.read:,} decisions"
    if found.read < found.of:
        read = f"{found.read:,} of about {found.of:,} decisions read so far, back to {moment(found.since)}"
    parts = [f"Bondhu {__version__}", " · ", read, " · as of ", when(now)]
    return tag("footer", tag("p", *parts, id="as-of", class_="note", data_live=""))


# ----------------------------------------------------------------------------------------------------------- the blocks


class Card(NamedTuple):
    """One figure at a glance."""

    name: str
    figure: str | Markup  # as it is to be read
    says: str | Markup = ""  # its interval, or what it means
    href: str = ""  # where there is more
    tone: str = ""  # "promote", "wait" or "refuse" where it is good, open or bad


def section(name: str, title: str, *parts: Markup, live: bool = True, note: str | Markup = "") -> Markup:
    """A part of a view, known by its name in addresses; `live`: it changes when the figures do."""
    head = tag("h2", title, id=f"{name}-title")
    told = [say(note, "note")] if note else []
    kept = {"data_live": ""} if live else {}
    return tag("section", head, *told, *parts, id=name, aria_labelledby=f"{name}-title", **kept)


def row(*parts: Markup) -> Markup:
    """Sections, or charts, beside each other where there is room."""
    return tag("div", *parts, class_="pair")


def cards(found: Sequence[Card]) -> Markup:
    """Figures at a glance, in the order of their weight."""
    return tag("dl", *map(_card, found), class_="cards")


def _card(of: Card) -> Markup:
    name: str | Markup = tag("a", of.name, href=of.href) if of.href else of.name
    says = [tag("dd", of.says)] if of.says else []
    tone = {"class_": of.tone} if of.tone else {}
    return tag("div", tag("dt", name), tag("dd", of.figure), *says, **tone)


def verdict_line(decision: str, sentence: str | Markup, *parts: Markup, word: str = "", name: str = "answer") -> Markup:
    """The answer of a view, with its sign: "promote", "wait" or "refuse"; other words than the gate's may be said."""
    sign, said, _ = VERDICTS[decision]
    told = tag("p", tag("b", f"{sign} {word or said}."), " ", spoken(sentence), class_="answer")
    return tag("div", told, *parts, class_=f"verdict {decision}", id=name, data_live="")


def status(kind: str, sentence: str | Markup, *actions: Markup) -> Markup:
    """Why there is nothing to see and what to do next: "empty", "error", "wait" (under way) or "good"."""
    sign = tag("span", SIGNS[kind], aria_hidden="true", class_="sign")
    told = [tag("p", joined([each]), class_="next") for each in actions]
    return tag("div", tag("p", sign, " ", spoken(sentence)), *told, class_=f"status {kind}")


def chart(asked: Asked, found: Chart) -> Markup:
    """A picture with its legend and caption, and the ways to take it along: CSV, PNG, a table."""
    title = tag("figcaption", tag("h3", found.title), *([tag("p", found.caption)] if found.caption else []))
    saved = [
        tag("a", "CSV", href=asked.link(csv=found.name), download=f"{found.name}.csv"),
        tag("button", "PNG", type="button", class_="plain", data_png=found.name, hidden=""),
    ]
    inside = tag("details", tag("summary", "as a table"), _rows(found), id=f"{found.name}-table")
    actions = tag("div", inside, tag("span", *saved, class_="saved"), class_="actions")
    return tag("figure", title, found.legend, found.picture, actions, class_="chart", id=f"chart-{found.name}")


def _rows(of: Chart) -> Markup:
    """The first rows of what it was drawn from."""
    shown = [[_cell(value) for value in each] for each in of.table.rows[:SHOWN]]
    more = len(of.table.rows) - len(shown)
    told = f"{of.title}: the first {SHOWN} of {len(of.table.rows):,} rows; the CSV has them all" if more else of.title
    return table(told, of.table.columns, shown)


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, bool | str):
        return str(value)
    return rounded(float(value), 4) if isfinite(value) else NOTHING


def badge(words: str, kind: str = "plain") -> Markup:
    """A state in a word: "plain", "promote", "wait" or "refuse"."""
    return tag("span", words, class_=f"badge {kind}")


def called(version: str) -> str:
    """A version as people call it; addresses and commands say "baseline" for the rule."""
    return "the rule" if version == BASELINE else version


def counted(number: float, what: str, many: str = "") -> str:
    """So many of something; `many`: the word for several, where it is not the other with an s."""
    return f"{number:,.0f} {what if number == 1 else many or f'{what}s'}"


def code(text: str) -> Markup:
    """A name as machines write it, or a command."""
    return tag("code", text)


def link(words: str | Markup, href: str) -> Markup:
    return tag("a", words, href=href)


def pages(asked: Asked, number: int, size: int, of: int) -> Markup:
    """The way to the rows before and after: page `number` (from 1) of `of` rows, `size` a page."""
    last = max(ceil(of / size), 1)
    first = min((number - 1) * size + 1, of)
    told = f"{first:,} to {min(number * size, of):,} of {of:,}"
    before = [link("← before", asked.link(page=number - 1))] if number > 1 else []
    after = [link("after →", asked.link(page=number + 1))] if number < last else []
    return tag("nav", *before, tag("span", told), *after, class_="pages", aria_label="Pages")


# -------------------------------------------------------------------------------------------------------------- figures


def when(seconds: float) -> Markup:
    """A time."""
    if not isfinite(seconds):
        return Markup(NOTHING)
    return tag("time", moment(seconds), datetime=stamp(seconds))


def stamp(seconds: float) -> str:
    """A time as machines write it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if isfinite(seconds) else ""


def ago(seconds: float, now: float | None = None) -> Markup:
    """How long ago a time was, or in how long it comes; the time itself stands behind it."""
    if not isfinite(seconds):
        return Markup(NOTHING)
    away = (time.time() if now is None else now) - seconds
    told = f"{span(away)} ago" if away >= 0 else f"in {span(-away)}"
    return tag("time", told, datetime=stamp(seconds), title=moment(seconds))


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    size, name = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    number = int(seconds / size)
    return f"{number} {name}{'' if number == 1 else 's'}"


def within(of: Figure, *, signed: bool = False) -> tuple[str, str]:
    """A figure and its interval, with as many digits as the interval lets stand."""
    if not isfinite(of.value):
        return NOTHING, ""
    write = digits_of([of])
    said = write.signed(of.value) if signed else write.plain(of.value)
    return said, write.between(of, signed=signed) if isfinite(of.low) and isfinite(of.high) else ""
