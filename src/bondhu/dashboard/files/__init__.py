"""What the pages load: one style sheet and one script, at addresses that change with their content."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType

from bondhu.dashboard.page import DASHBOARD, Asked
from bondhu.report.style import COLOURS, SHARED

KINDS = MappingProxyType({"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"})
NAMES = ("dashboard.css", "dashboard.js")
BEFORE = MappingProxyType({"dashboard.css": COLOURS + SHARED})  # colours and shapes are those of every page


@cache
def content(name: str) -> bytes:
    """The bytes of one of NAMES. Raises KeyError for any other name."""
    if name not in NAMES:
        raise KeyError(name)
    own = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return (BEFORE.get(name, "") + own).encode()


def kind(name: str) -> str:
    """The content type of a file."""
    return KINDS[name.rpartition(".")[2]]


@cache
def mark(name: str) -> str:
    """What stands for the content in its address: 16 hexadecimal digits."""
    return sha256(content(name)).hexdigest()[:16]


def address(asked: Asked, name: str) -> str:
    """Where a file is, for as long as it stays as it is."""
    return asked.link(f"{DASHBOARD}/files/{name}", v=mark(name))
