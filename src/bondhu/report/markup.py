"""Markup in which no text can become a tag by mistake: whatever is not markup already is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta", "br", "input", "link"})
COMMAND = re.compile(r"`([^`\n]+)`")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float) -> Markup:
    """`<name attribute="value">children</name>`; `class_` is class, other underscores are hyphens."""
    said = "".join(f' {_hyphened(key)}="{escape(str(value))}"' for key, value in attributes.items())
    opened = f"<{name}{said}>"
    return Markup(opened if name in VOID else f"{opened}{joined(children)}</{name}>")


def joined(parts: Iterable[str]) -> Markup:
    """Parts one after another, each escaped unless it is markup."""
    return Markup("".join(each if isinstance(each, Markup) else escape(each) for each in parts))


def spoken(text: str) -> Markup:
    """A sentence as terminals have it, `commands` between backticks, for a page: escaped first, then set as code."""
    return text if isinstance(text, Markup) else Markup(COMMAND.sub(r"<code>\1</code>", escape(text)))


def _hyphened(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
