"""What a view is handed, what it hands back, and the blocks it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode

from bondhu.app import App
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.report.markup import Markup

DASHBOARD = "/dashboard"


class Viewer(NamedTuple):
    """Who looks."""

    name: str  # of the key; "anybody" where none is asked for
    may: frozenset[str]  # permissions, as `bondhu.access` names them
    token: str = ""  # of the session, to be sent with every act; "": nobody is logged in


class Asked(NamedTuple):
    """One request for a view."""

    viewer: Viewer
    root: str = ""  # what stands before every address: "/domains/NAME", or nothing
    path: str = "/"  # of the view, without the root
    query: Mapping[str, str] = {}  # the last value of each name
    parts: Mapping[str, str] = {}  # what the address itself says, such as "id"
    host: str = ""  # name and port by which it was asked; "": nobody knows

    def link(self, path: str | None = None, /, **query: object) -> str:
        """The address of a view; default: this one. Its query is the present one with these changes (None: left out)
        where the path is not given, and only these otherwise."""
        kept = dict(self.query) if path is None else {}
        said = {**kept, **query}
        wanted = {name: str(value) for name, value in said.items() if value is not None}
        return f"{self.root}{quote(path or self.path)}" + (f"?{urlencode(wanted)}" if wanted else "")


class Table(NamedTuple):
    """Columns by name and rows of plain values: numbers as numbers, NaN or None where there is nothing."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Chart(NamedTuple):
    """A picture with what it was drawn from."""

    name: str  # in addresses: letters, digits and dashes; once a page
    title: str
    picture: Markup
    table: Table
    caption: str = ""
    legend: Markup = Markup("")


class Pending(NamedTuple):
    """Work that is under way."""

    since: float  # seconds


class Failed(NamedTuple):
    """Work that came to nothing."""

    why: str


class Errands(Protocol):
    """Longer work, done beside the pages by one thread: one thing at a time, newest results kept."""

    @property
    def generation(self) -> int:
        """Another one whenever a result has come."""

    def ask(self, key: object, work: Callable[[], Any]) -> Any:
        """The result of the work known by `key` (hashable), or Pending until there is one, or Failed. Work that is
        neither done nor under way is begun, unless too much waits already. Never waits."""

    def look(self, key: object) -> Any:
        """The same, but nothing is begun: None where nobody asked."""


class Progress(NamedTuple):
    """How far the log has been read."""

    read: int  # decisions
    of: int  # decisions, about
    since: float  # seconds; time of the earliest decision that is in


class Columns(Protocol):
    """The decisions, kept fresh by somebody else."""

    def sheet(self) -> Sheet:
        """All that is read so far; the same object until something changes."""

    def progress(self) -> Progress: ...


@dataclass(frozen=True)
class Desk:
    """What every view is drawn from."""

    app: App
    decisions: Columns
    errands: Errands
    counters: Callable[[], str] = lambda: ""  # the server's metrics in Prometheus' text format; "": none are counted
    demo: bool = False  # whether simulated people use this deployment


@dataclass(frozen=True)
class Page:
    """One view, drawn."""

    title: str
    parts: Sequence[Markup]
    charts: Mapping[str, Chart] = field(default_factory=dict)  # by name; those whose data can be had as CSV
    status: int = 200
    follows: bool = True  # whether it is drawn again when something changes; not what only answers an act
