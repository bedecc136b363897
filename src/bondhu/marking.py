"""Which versions learned from a person: whose training, or one before it, read decisions of theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bondhu.app import App
from bondhu.archives import archive
from bondhu.domains import declared
from bondhu.errors import BondhuError
from bondhu.log.join import only, read_window
from bondhu.ports import Event, Version
from bondhu.privacy.persons import Whose, theirs
from bondhu.relearning import MARKED, lineage, noted, past, reach
from bondhu.train.imitate import of_application
from bondhu.train.window import held_out, people
from bondhu.types import Records

NOTED = ("window_start", "window_end", "holdout")  # the notes of a version that was trained on the log


class Touched(NamedTuple):
    """Who learned from a person."""

    decisions: Mapping[str, int]  # by version: how many of the person's its own training read; 0: one before it did
    unknown: Mapping[str, str]  # by version: why it cannot be told


@dataclass
class Marking:
    """Finds the versions that learned from the person with these names; trainings are looked at once."""

    app: App
    names: Collection[str]
    span: tuple[float, float]  # seconds: of the person's first and last decision

    def __post_init__(self) -> None:
        self._read: dict[str, int] = {}

    def touched(self) -> Touched:
        """Every version there is."""
        decisions, unknown = dict[str, int](), dict[str, str]()
        for name in self.app.versions():
            try:
                trainings = lineage(self.app.deployment.registry, name)
                strange = next((each.id for each in trainings if not set(NOTED) <= each.notes.keys()), None)
                if strange is not None:
                    unknown[name] = f"{strange} does not say what it was trained on"
                read = [self._of(each) for each in trainings if set(NOTED) <= each.notes.keys()]
            except BondhuError as error:
                unknown[name] = str(error)
                continue
            if any(read):
                decisions[name] = read[-1] if trainings[-1].id == name else 0
        return Touched(decisions, unknown)

    def _of(self, version: Version) -> int:
        """Decisions of the person, not held out, that the training of a version read."""
        if version.id not in self._read:
            self._read[version.id] = self._count(version)
        return self._read[version.id]

    def _count(self, version: Version) -> int:
        domain, window = declared.from_description(version.description), noted(version)
        if self.span[0] > window.end or self.span[1] < reach(domain, window):
            return 0
        log = past(self.app, domain, window, version.created) if archive(self.app) else self.app.log
        records = read_window(domain, log, window.start, window.end)
        kept = only(records, ~held_out(people(records), share(version)))
        kept = only(kept, of_application(kept)) if version.notes.get("imitates") else kept
        return int(rows_of(records, self.names)[np.isin(records.id, kept.id)].sum())


def share(version: Version) -> float:
    """Of the people, how many the training of a version kept back."""
    return float(version.notes.get("training", {}).get("held_out", version.notes["holdout"]))


def rows_of(records: Records, names: Collection[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows are the person's: `[T]`."""
    rows = [Whose(*pair) for pair in zip(records.user, records.session, strict=True)]
    asked = theirs(names, rows)
    return np.fromiter(map(asked, rows), bool, len(rows))


def mark(app: App, touched: Mapping[str, int], run: str, *, by: str) -> None:
    """Note in the history what these versions learned from, once for each run of an erasure."""
    done = {each.version for each in app.events() if each.kind == MARKED and each.figures.get("erasure") == run}
    for version, decisions in touched.items():
        if version not in done:
            figures = {"erasure": run, "decisions": decisions}
            reason = "it learned from somebody who was erased"
            event = Event(app.now(), MARKED, version, reason, figures, by)
            app.deployment.registry.record(app.domain.name, event)
