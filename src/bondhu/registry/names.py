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
    """The name, if it can be a folder. `kind` says what is named: "domain", "version" or "array"."""
    if not isinstance(name, str) or not PLAIN.fullmatch(name):
        raise InvalidInput(
            f"The {kind} name {str(name)[:120]!r} cannot be a folder or file.",
            field=kind,
            value=name,
            fix="Use up to 100 letters, digits, '.', '_' and '-', starting with a letter or digit.",
        )
    return name
