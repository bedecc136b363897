"""Names that become folders and files: readable, sortable by time, and unable to leave the registry's directory."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np

from bondhu.errors import InvalidInput

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def new_version_id(now: float, rng: np.random.Generator) -> str:
    """Such as "20261121-130501-3f2a": the second in UTC, and four digits against two trainings in one second."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}-{int(rng.integers(0x10000)):04x}"


def plain(kind: str, name: str) -> str:
    """The name, if it can be a folder. `kind` says what is named: "domain" or "version"."""
    if not isinstance(name, str) or not PLAIN.fullmatch(name):
        raise InvalidInput(
            f"The {kind} name {str(name)[:120]!r} cannot be a folder or file.",
            field=kind,
            value=name,
            fix="Use up to 100 letters, digits, '.', '_' and '-', starting with a letter or digit.",
        )
    return name


def of_array(name: str) -> str:
    """The name, if an array may have it: parts between "/", such as "inner/long watch/values". Only a plain one
    becomes the name of a file."""
    parts = name.split("/") if isinstance(name, str) and name.isprintable() else [""]
    if any(part in ("", ".", "..") for part in parts):
        fix = "Use printable characters; between '/' there must be more than '', '.' or '..'."
        what = f"The array name {str(name)[:120]!r} cannot be stored."
        raise InvalidInput(what, field="array", value=name, fix=fix)
    return name


def array_file(name: str, number: int) -> str:
    """The file of an array: its name where that is plain, else its number, behind a "_" that no plain name starts
    with."""
    return f"{name if PLAIN.fullmatch(name) else f'_{number}'}.npy"
