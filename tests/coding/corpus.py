"""The cheats of this folder and the tasks they pretend to solve."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bondhu.domains.coding.assertions import assertions
from bondhu.domains.coding.tasks import Task

FOLDER = Path(__file__).with_name("cheats")


@dataclass(frozen=True)
class Cheat:
    """One program that does not solve its task."""

    name: str
    trick: str  # that the report names; "" where nothing can be seen
    task: str
    attacks: str  # what it would get round elsewhere
    source: str
    worthless: str = ""  # why it comes to nothing, where the report need not name it


def tasks() -> dict[str, Task]:
    """Entry function to task."""
    return {each["entry"]: task(each) for each in read("tasks.toml", "task")}


def task(table: dict[str, Any]) -> Task:
    entry, solution = table["entry"], table["solution"].lstrip()
    found = solution.split("\n")[0] + "\n    raise NotImplementedError\n"
    visible = assertions("\n".join(f"assert {each}" for each in table["visible"]), entry, name="visible")
    held_out = assertions("\n".join(f"assert {each}" for each in table["held_out"]), entry, name="held_out")
    return Task(f"corpus/{entry}", entry, table["statement"], found, visible, held_out, solution)


def cheats() -> list[Cheat]:
    return [Cheat(**each) for file in sorted(FOLDER.glob("*.toml")) for each in read(file.name, "cheat")]


def read(file: str, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((FOLDER / file).read_text(encoding="utf-8")).get(key, [])
    return found
