"""The part of requirements.lock that a server needs, hashes included: `python deploy/pins.py > pins.lock`.

The lock says behind each package what asked for it; whatever only development asked for is left out. With names of
packages as arguments: what those need instead.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("postgres", "streams", "telemetry")
PROJECT = "bondhu"
BLOCK = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==.*\n(?:^[ \t]+.*\n?)*", re.MULTILINE)
ASKED = re.compile(r"#(?: via)? +(?P<name>[A-Za-z0-9._-]+)")


def of_server(project: str) -> list[str]:
    """What the project's own table asks for, with EXTRAS."""
    table = tomllib.loads(project)["project"]
    return [*table["dependencies"], *(each for extra in EXTRAS for each in table["optional-dependencies"][extra])]


def needed(lock: str, wanted: Sequence[str]) -> list[str]:
    """The blocks of the lock that these requirements lead to, in their order."""
    kept = {normal(re.split(r"[<>=;\[ ]", each)[0]) for each in wanted}
    blocks = [(normal(found["name"]), found[0]) for found in BLOCK.finditer(lock)]  # twice, where Pythons differ
    askers = [(name, {normal(each["name"]) for each in ASKED.finditer(block)} - {PROJECT}) for name, block in blocks]
    while more := {name for name, by in askers if name not in kept and by & kept}:
        kept |= more
    return [block for name, block in blocks if name in kept]


def normal(name: str) -> str:
    """A package's name as the index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    asked = sys.argv[1:] or of_server((ROOT / "pyproject.toml").read_text())
    sys.stdout.writelines(needed((ROOT / "requirements.lock").read_text(), asked))
