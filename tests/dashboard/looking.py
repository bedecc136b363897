"""How a test looks at a view: a desk whose errands are done at once, and the words of what was drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import numpy as np

from bondhu.access import PERMISSIONS
from bondhu.app import App
from bondhu.dashboard.columns.sheets import Sheet, sheet_of
from bondhu.dashboard.page import Asked, Desk, Failed, Page, Pending, Progress, Viewer
from bondhu.errors import BondhuError

VOID = frozenset({"meta", "br", "input", "link"})
READER, OPERATOR, ADMIN = "reader", "operator", "admin"


@dataclass
class AtOnce:
    """Errands that are done when they are asked for."""

    done: dict[object, Any] = field(default_factory=dict)

    @property
    def generation(self) -> int:
        return len(self.done)

    def ask(self, key: object, work: Callable[[], Any]) -> Any:
        if key not in self.done:
            try:
                self.done[key] = work()
            except BondhuError as error:
                self.done[key] = Failed(str(error))
        return self.done[key]

    def look(self, key: object) -> Any:
        return self.done.get(key)


@dataclass
class Never:
    """Errands that are always under way, but for what is done already."""

    done: dict[object, Any] = field(default_factory=dict)
    generation: int = 0

    def ask(self, key: object, work: Callable[[], Any]) -> Any:
        return self.done.get(key, Pending(since=0.0))

    def look(self, key: object) -> Any:
        return self.done.get(key)


@dataclass
class Read:
    """All decisions of a deployment, read when somebody looks."""

    app: App

    def sheet(self) -> Sheet:
        now = self.app.now()
        records = self.app.deployment.log.read(self.app.domain.name, -np.inf, np.inf)
        return sheet_of(self.app.domain, records, -np.inf, np.inf, now)

    def progress(self) -> Progress:
        read = len(self.sheet())
        return Progress(read, read, -np.inf)


def desk(app: App, counters: str = "", errands: Any = None) -> Desk:
    """What views are drawn from."""
    return Desk(app, Read(app), errands or AtOnce(), lambda: counters)


def asked(path: str, role: str | None = None, query: Mapping[str, str] | None = None, root: str = "") -> Asked:
    """A request of somebody with a key of this role; None: nobody is logged in."""
    may = PERMISSIONS[role] if role else frozenset({"explain", "read"})
    viewer = Viewer(f"a {role}" if role else "anybody", may, "a-token" if role else "")
    return Asked(viewer, root, path, query or {})


class Element:
    """One element with what stands in it."""

    def __init__(self, name: str, attributes: Mapping[str, str]) -> None:
        self.name, self.attributes = name, attributes
        self.inside: list[Element | str] = []

    @property
    def text(self) -> str:
        """Its words, with single spaces."""
        parts = (each if isinstance(each, str) else f" {each.text} " for each in self.inside)
        return re.sub(r"\s+", " ", "".join(parts)).replace(" ,", ",").replace(" .", ".").strip()

    def all(self, name: str, **attributes: str) -> list[Element]:
        """The elements in it, however deep, with this name and these attributes (`class_`: one of its classes)."""
        found = []
        for each in self.inside:
            if isinstance(each, Element):
                found += [each] if each.is_a(name, attributes) else []
                found += each.all(name, **attributes)
        return found

    def is_a(self, name: str, attributes: Mapping[str, str]) -> bool:
        wanted = dict(attributes)
        kind = wanted.pop("class_", None)
        kinds = self.attributes.get("class", "").split()
        return (
            name in ("*", self.name)
            and (kind is None or kind in kinds)
            and all(self.attributes.get(key.replace("_", "-")) == value for key, value in wanted.items())
        )

    def one(self, name: str, **attributes: str) -> Element:
        """The only one of them."""
        (found,) = self.all(name, **attributes)
        return found

    def rows(self, caption: str) -> list[list[str]]:
        """The cells of the table with this caption, without its head."""
        found = next(each for each in self.all("table") if each.one("caption").text.startswith(caption))
        return [[cell.text for cell in row.inside if isinstance(cell, Element)] for row in found.one("tbody").all("tr")]


class Reader(HTMLParser):
    """Markup as a tree; raises where an element is not closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("page", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert self.open == [self.root], [each.name for each in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().name == tag

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)


def read(page: Page) -> Element:
    """What the view drew. Its ids are there once each, and nothing has a style or a script of its own."""
    root = Reader("".join(page.parts)).root
    everything = root.all("*")
    ids = [each.attributes["id"] for each in everything if "id" in each.attributes]
    assert sorted(set(ids)) == sorted(ids), [each for each in ids if ids.count(each) > 1]
    assert not [each.name for each in everything if "style" in each.attributes or each.name in ("script", "style")]
    live = [each for each in everything if "data-live" in each.attributes]
    assert all("id" in each.attributes for each in live)
    return root
