"""What to do first: a deployment that nobody has used yet."""

from __future__ import annotations

import json
from shlex import quote

from bondhu.app import App
from bondhu.dashboard import layout
from bondhu.dashboard.figures.contexts import defaults
from bondhu.dashboard.page import DASHBOARD, Asked, Desk
from bondhu.registry.lifecycle import live
from bondhu.report.layout import say
from bondhu.report.markup import Markup, joined, tag

FIRST = 1000  # decisions before a first training is worth while, as the doctor has it


def first_steps(desk: Desk, asked: Asked) -> list[Markup]:
    """Of a log that holds nothing, or of which nothing is read yet."""
    found = desk.decisions.progress()
    if found.of:
        told = f"About {found.of:,} decisions are being read; the newest come first."
        return [tag("div", layout.status("wait", told), id="reading", data_live="")]
    who = live(desk.app.events()) or "the rule"
    sentence = f"Nobody has asked for a decision. {who[:1].upper()}{who[1:]} would decide."
    steps = [tag("li", tag("p", tag("b", title)), *parts) for title, parts in _steps(desk.app, asked)]
    demo = joined(["Or watch simulated people use it, and see it learn: ", layout.code("bondhu demo --live"), "."])
    return [
        layout.verdict_line("wait", sentence, word="Nothing yet"),
        layout.section("start", "Three steps to a first policy", tag("ol", *steps, class_="steps"), tag("p", demo)),
    ]


def _steps(app: App, asked: Asked) -> list[tuple[str, list[Markup]]]:
    """Title and parts of each."""
    server = app.settings.server
    scheme = "https" if server.certificate else "http"
    host = asked.host or f"{server.host}:{server.port}"
    base = f"{scheme}://{host}{asked.root}/v1"
    body = json.dumps({"context": defaults(app.domain), "user": "ada"}, ensure_ascii=False)
    signal = next(iter(app.domain.reward.signals), "signal")
    said = json.dumps({"decision_id": "ID", "signal": signal})
    train = layout.act_button(asked, "train", "Train now", kind="main")
    return [
        (
            "Ask for a decision, wherever your application chooses.",
            [command(f"curl {base}/decide -d {quote(body)}"), say("The answer has the action and an id.", "note")],
        ),
        (
            "Say what came of it.",
            [
                command(f"curl {base}/feedback -d {quote(said)}"),
                say(f"Signals of this domain: {', '.join(app.domain.reward.signals)}.", "note"),
            ],
        ),
        (
            f"Train, once some {FIRST:,} decisions are settled.",
            [
                command("bondhu train"),
                tag("p", train, " ", layout.link("Releases", asked.link(f"{DASHBOARD}/releases"))),
            ],
        ),
    ]


def command(text: str) -> Markup:
    """Something to be typed."""
    return tag("pre", tag("code", text), tabindex=0)
