"""Forms: what a reader may ask of a view, and what an operator may do. All of them work without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bondhu.access import OPERATE
from bondhu.dashboard.page import DASHBOARD, Asked
from bondhu.report.markup import Markup, joined, tag


class Range(NamedTuple):
    """What a slider may say."""

    low: float
    high: float
    step: float


def asking(asked: Asked, *parts: Markup, keep: Sequence[str] = (), now: bool = True) -> Markup:
    """A form that asks the same view again with other words; `keep`: names of the query that stay as they are.
    `now`: the answer (`answer`) changes as soon as something is chosen, where scripts run."""
    kept = [hidden(name, asked.query[name]) for name in keep if name in asked.query]
    live = {"data_now": ""} if now else {}
    return tag("form", *kept, *parts, method="get", action=f"{asked.root}{asked.path}", class_="asking", **live)


def answer(name: str, *parts: Markup) -> Markup:
    """What a form of the view changes."""
    return tag("div", *parts, id=name, data_answer="", class_="answering")


def hidden(name: str, value: object) -> Markup:
    """Something that is sent and not shown."""
    return tag("input", type="hidden", name=name, value=str(value))


def field(name: str, label: str, value: str = "", *, kind: str = "text", hint: str = "", **more: str | float) -> Markup:
    """A line to write in."""
    told = [tag("small", hint, id=f"{name}-hint")] if hint else []
    about = {"aria_describedby": f"{name}-hint"} if hint else {}
    written = tag("input", type=kind, name=name, id=f"field-{name}", value=value, **about, **more)
    return tag("div", tag("label", label, for_=f"field-{name}"), written, *told, class_="field")


def choice(name: str, label: str, options: Sequence[str] | Mapping[str, str], chosen: str = "") -> Markup:
    """One of several: values, or words by value."""
    words = options if isinstance(options, Mapping) else {each: each for each in options}
    made = [
        tag("option", said, value=value, **({"selected": ""} if value == chosen else {}))
        for value, said in words.items()
    ]
    said = tag("label", label, for_=f"field-{name}")
    return tag("div", said, tag("select", *made, name=name, id=f"field-{name}"), class_="field")


def slider(name: str, label: str, value: float, span: Range) -> Markup:
    """A number between two others, with what it says beside it."""
    said = tag("output", f"{value:g}", for_=f"field-{name}", id=f"said-{name}")
    drawn = tag(
        "input",
        type="range",
        name=name,
        id=f"field-{name}",
        value=f"{value:g}",
        min=f"{span.low:g}",
        max=f"{span.high:g}",
        step=f"{span.step:g}",
    )
    return tag("div", tag("label", label, " ", said, for_=f"field-{name}"), drawn, class_="field slider")


def button(label: str, *, kind: str = "", **more: str | float) -> Markup:
    """What sends a form; `kind`: "main" or "danger"."""
    return tag("button", label, type="submit", class_=f"button {kind}".strip(), **more)


def act_button(asked: Asked, act: str, label: str, *, kind: str = "", **said: object) -> Markup:
    """What does something to the deployment: a form of its own where the viewer may, else why it cannot be done. What
    is `said` goes with it. The server asks once more before anything happens."""
    if OPERATE not in asked.viewer.may or not asked.viewer.token:
        return joined([_barred(asked, label)])
    sent = {"token": asked.viewer.token, "back": asked.link(), **said}
    inputs = [hidden(name, value) for name, value in sent.items()]
    where = asked.link(f"{DASHBOARD}/acts/{act}")
    return tag("form", *inputs, button(label, kind=kind), method="post", action=where, class_="act")


def _barred(asked: Asked, label: str) -> Markup:
    """A button that cannot be pressed, and what would change that."""
    dead = tag("button", label, type="button", class_="button", disabled="")
    if asked.viewer.token:
        why = tag("small", f"{asked.viewer.name} may look only; a key of the role operator may do this.")
    else:
        where = asked.link(f"{DASHBOARD}/login", back=asked.link())
        why = tag("small", tag("a", "Log in", href=where), " with a key of the role operator to do this.")
    return tag("span", dead, " ", why, class_="barred")
