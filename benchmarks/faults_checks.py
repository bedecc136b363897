"""What a store holds after a fault, beside what the clients were promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import apsw

from benchmarks.faults_clients import DECIDE, Promises, Sent
from benchmarks.report import Row
from bondhu.log.stores import Stores, is_postgres, open_stores
from bondhu.settings import load

DOMAIN = "recommendation"
RECOVERY = 20.0  # seconds within which a server must decide again by itself
EVER = float("-inf"), float("inf")


@dataclass
class Found:
    """Sums over the faults of one kind."""

    faults: int = 0
    decisions: int = 0  # acknowledged
    feedback: int = 0  # acknowledged
    missing: int = 0  # acknowledged and not in the store, or with another action or probability
    twice: int = 0  # rows beyond the first under one id
    unacknowledged: int = 0  # committed, though the client never got the answer
    refused: int = 0  # requests in doubt that were refused when sent again
    unsound: int = 0  # checks of the store by its own means that failed
    odd: Counter[str] = field(default_factory=Counter)  # answers that a fault should not bring
    seconds: list[float] = field(default_factory=list)  # to the next acknowledged decision
    leaving: list[float] = field(default_factory=list)  # seconds by which processes outlived their supervisor


def committed(folder: Path, unsure: Iterable[Sent]) -> int:
    """How many requests in doubt are in the store."""
    stores = opened(folder)
    try:
        there = set(stores.log.read(DOMAIN, *EVER).id)
        known = 0
        for sent in unsure:
            name = sent.body["id"]
            known += name in there if sent.path == DECIDE else stores.log.said(name) is not None
        return known
    finally:
        stores.close()


def verify(folder: Path, promises: Promises, found: Found) -> None:
    """Compare everything promised with the store."""
    stores = opened(folder)
    try:
        records = stores.log.read(DOMAIN, *EVER)
        rows = zip(records.id, records.action, records.probability.tolist(), strict=True)
        stored = {name: (action, probability) for name, action, probability in rows}
        wrong = [name for name, told in promises.decisions.items() if stored.get(name) != told]
        unheard = [name for name in promises.feedback if stores.log.said(name) is None]
    finally:
        stores.close()
    found.missing += len(wrong) + len(unheard)
    found.decisions += len(promises.decisions)
    found.feedback += len(promises.feedback)


def doubles(folder: Path, feedback: set[str]) -> int:
    """Rows beyond the first under one id; `feedback`: all ids under which any was ever sent."""
    stores = opened(folder)
    try:
        made = stores.log.read(DOMAIN, *EVER).id
        there = sum(stores.log.said(name) is not None for name in feedback)
        return len(made) - len(set(made)) + stores.log.summary(DOMAIN).feedback - there
    finally:
        stores.close()


def sound(folder: Path) -> bool:
    """Whether SQLite's own check finds the file whole."""
    connection = apsw.Connection(str(folder / load(folder).store.log))
    try:
        return list(connection.execute("PRAGMA integrity_check")) == [("ok",)]
    finally:
        connection.close()


def opened(folder: Path) -> Stores:
    return open_stores(load(folder).store.log, folder)


def on_postgres(folder: Path) -> bool:
    return is_postgres(load(folder).store.log)


def last_line(error: Exception) -> str:
    """The end of what a server said before it went away."""
    return str(error).strip().splitlines()[-1]


def figures(name: str, found: Found) -> list[Row]:
    """What every kind of fault is judged on."""
    many = f"of {found.decisions:,} decisions and {found.feedback:,} feedback acknowledged"
    wrong = {
        "there twice": found.twice,
        "checks of the store that failed": found.unsound,
        "refused when sent again": found.refused,
        **{f"answers {status}": count for status, count in found.odd.items()},
    }
    told = ", ".join(f"{count} {what}" for what, count in wrong.items() if count)
    worst, count = max(found.seconds), sum(wrong.values())
    often = f"median {median(found.seconds):.2f}, longest" if len(found.seconds) > 1 else "once"
    return [
        Row(f"{name}: missing, {many}", found.missing, "rows", "0", not found.missing),
        Row(f"{name}: {told or 'twice, unsound, refused again, or answered oddly'}", count, "", "0", not count),
        Row(f"{name}: committed, never acknowledged", found.unacknowledged, "rows"),
        Row(f"{name}: to the next decision, {often}", worst, "s", f"<= {RECOVERY:g}", worst <= RECOVERY),
    ]
