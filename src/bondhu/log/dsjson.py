"""Writes decision-service JSON (DSJSON): what Azure AI Personalizer mirrored, and Vowpal Wabbit reads.

A line holds one decision. The log keeps the probability of the action taken alone, so the others share what is left.
What the format has no place for stands under `_bondhu`, which other readers leave alone. The cost is minus the reward
as a training counts it; `o` lists what was said in time with the signal `reward`, whether or not it counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bondhu.errors import InvalidInput
from bondhu.log.join import settlement
from bondhu.log.rewards import hear
from bondhu.ports import Domain
from bondhu.types import Records

SIGNAL = "reward"
OTHER = ("id", "session", "user", "time", "action", "probability", "allowed", "version", "variant", "assigned")
OWN = ("time", "user", "session", "variant", "assigned", "memo")  # what stands under `_bondhu`, where it is known
WORTH, MEMO = ".worth", ".memo"  # columns beside those of a table; no signal is called so
Table = Mapping[str, Sequence[Any]]  # one list a column, as `log.export.table` and `beside` give it


def beside(records: Records, domain: Domain, now: float) -> Table:
    """What the format has a place for and a table has not: rewards, and what policies want back. Where nobody said
    anything, the reward is the domain's default from the moment that it is settled, and 0 until then."""
    settles = records.time + settlement(domain)
    heard = hear(domain.reward, records, settles, np.ones(len(records.time), np.bool_))
    worth = np.where(heard.silent & (settles > now), 0.0, heard.reward)
    memo = [[number for number in row if not isnan(number)] for row in records.memo.tolist()]  # shorter ones end in NaN
    return {WORTH: worth.tolist(), MEMO: [each or None for each in memo]}


def write(columns: Table, path: Path) -> None:
    """One event a line. Raises InvalidInput where the log holds another signal: the format has one."""
    other = [name for name in columns if name not in OTHER and "." not in name and name != SIGNAL]
    if other:
        fix = f"Export .jsonl, or declare one signal called {SIGNAL!r}."
        raise InvalidInput(f"DSJSON has one reward, not {other[0]!r}.", field="path", value=other[0], fix=fix)
    with path.open("wb") as file:
        for row in zip(*columns.values(), strict=True):
            file.write(msgspec.json.encode(event(dict(zip(columns, row, strict=True)))) + b"\n")


def event(row: Mapping[str, Any]) -> dict[str, Any]:
    """One decision with its rewards; a row of a table with what stands `beside` it."""
    context = {name.partition(".")[2]: value for name, value in row.items() if name.startswith("context.")}
    allowed = msgspec.json.decode(row["allowed"])
    written, places, taken = _ranked(context, row["action"], allowed) or _named(context, row["action"], allowed)
    others = [place for place in places if place != taken]
    rest = (1.0 - row["probability"]) / max(len(others), 1)
    own = {**row, "memo": row[MEMO]}
    said = row.get(SIGNAL)
    values = [] if said is None else msgspec.json.decode(said) if isinstance(said, str) else [said]
    return {
        "_label_cost": 0.0 - row[WORTH],
        "_label_probability": row["probability"],
        "_label_Action": taken + 1,
        "_labelIndex": taken,
        "o": [{"v": value, "EventId": row["id"], "ActionTaken": False} for value in values],
        "Timestamp": datetime.fromtimestamp(row["time"], UTC).isoformat().replace("+00:00", "Z"),
        "Version": "1",
        "EventId": row["id"],
        "a": [taken + 1, *(place + 1 for place in others)],
        "c": written,
        "p": [row["probability"], *(rest for _ in others)],
        "VWState": {"m": row["version"]},
        "_bondhu": {key: own[key] for key in OWN if own[key] is not None},
    }


def _ranked(context: Mapping[str, Any], action: str, allowed: Sequence[str]) -> tuple[Any, list[int], int] | None:
    """Context, places of the open actions and of the one taken, where a request brought its actions along by name."""
    field = action.rpartition("-")[0]
    actions = _decoded(context.get(field))
    if not isinstance(actions, list) or not all(isinstance(each, dict) and "id" in each for each in actions):
        return None
    about = [each for name, value in context.items() if name != field for each in _decoded(value)]
    multi = [
        {"_tag": each["id"], "i": {"constant": 1, "id": each["id"]}, "j": each.get("features") or []}
        for each in actions
    ]
    places = [int(name.rpartition("-")[2]) - 1 for name in allowed]
    return {"FromUrl": about, "_multi": multi}, places, int(action.rpartition("-")[2]) - 1


def _named(context: Mapping[str, Any], action: str, allowed: Sequence[str]) -> tuple[Any, list[int], int]:
    """The same where actions are known by their names alone."""
    fields = {name: _decoded(value) for name, value in context.items() if value is not None}
    multi = [{"_tag": name, "i": {"constant": 1, "id": name}} for name in allowed]
    return {**fields, "_multi": multi}, list(range(len(allowed))), allowed.index(action)


def _decoded(cell: Any) -> Any:
    """A list or an object, which a table holds as text."""
    if not isinstance(cell, str) or cell[:1] not in ("[", "{"):
        return cell
    try:
        return msgspec.json.decode(cell)
    except msgspec.DecodeError:
        return cell
