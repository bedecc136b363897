"""Pages for whoever may not look: they say nothing of the deployment but how to get in."""

from __future__ import annotations

from bondhu.dashboard.layout import head_of
from bondhu.dashboard.page import DASHBOARD, Asked, Desk
from bondhu.ports import PUBLISHED_KEY
from bondhu.report.markup import Markup, tag

LOGIN = f"{DASHBOARD}/login"


def bare(asked: Asked, title: str, *parts: Markup) -> str:
    """A whole document without the frame of the others."""
    head = head_of(asked, title)
    body = tag("body", tag("main", tag("h1", title), *parts, id="main"))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def login(asked: Asked, desk: Desk, back: str, wrong: str = "") -> str:
    """The way in. `back`: where to go from there; `wrong`: what was the matter with the last key."""
    told = {"aria_invalid": "true", "aria_describedby": "wrong"} if wrong else {}
    key = tag(
        "input",
        type="password",
        name="key",
        id="field-key",
        required="",
        autofocus="",
        autocomplete="current-password",
        **told,
    )
    form = tag(
        "form",
        tag("input", type="hidden", name="back", value=back),
        tag("div", tag("label", "Key", for_="field-key"), key, class_="field"),
        tag("button", "Log in", type="submit", class_="button main"),
        method="post",
        action=asked.link(LOGIN),
    )
    said = [tag("p", wrong, id="wrong", role="alert", class_="status error")] if wrong else []
    return bare(asked, "Log in", *said, form, tag("p", *_where_from(desk), class_="note"))


def _where_from(desk: Desk) -> list[str]:
    """Where a key comes from."""
    server = desk.app.settings.server
    made = ["A key is made with ", tag("code", "bondhu key create"), ". Its role says what it is for: a reader looks, "]
    made.append("an operator releases and trains as well.")
    if server.environment == "development" and server.admin_key.get_secret_value() == PUBLISHED_KEY:
        made += [" In development the administrator's key is ", tag("code", PUBLISHED_KEY), "."]
    return made
