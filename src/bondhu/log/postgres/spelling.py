"""Names as PostgreSQL can hold them: its text has no character 0, and columns are packed with a separator."""

from __future__ import annotations

import re
from collections.abc import Sequence

SEPARATOR = "\x1e"  # between the values of a packed column
NOBODY = "\x1bn"  # what stands for no user in a packed column
BESIDE = "\x1b|"  # between user and session in a packed column

_TO = {"\x00": "\x1b0", "\x1b": "\x1b[", "\x1e": "\x1bs"}
_FROM = {spelled: plain for plain, spelled in _TO.items()}
_ODD = re.compile("[\x00\x1b\x1e]")
_SPELLED = re.compile("\x1b[0\\[s]")


def spelled(name: str) -> str:
    """The name with the three characters written as two others each; all other names as they are."""
    return _ODD.sub(lambda found: _TO[found[0]], name)


def plain(name: str) -> str:
    """The other way."""
    return _SPELLED.sub(lambda found: _FROM[found[0]], name) if "\x1b" in name else name


def spelled_column(names: Sequence[str | None]) -> Sequence[str | None]:
    """`spelled` of each; a column that is plain, as nearly all are, is looked at as one text."""
    together = "".join(filter(None, names))
    if not any(odd in together for odd in _TO):
        return names
    return [None if name is None else spelled(name) for name in names]


def names(packed: str | None) -> list[str]:
    """The values of a packed column."""
    parts = values(packed)
    return list(map(plain, parts)) if packed and "\x1b" in packed else parts


def values(packed: str | None) -> list[str]:
    """The values of a packed column as they are spelled."""
    return [] if packed is None else packed.split(SEPARATOR)


def person(packed: str) -> tuple[str | None, str]:
    """User and session."""
    user, _, session = packed.partition(BESIDE)
    return None if user == NOBODY else plain(user), plain(session)
