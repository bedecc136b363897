"""One typed record for each interaction of a deployment, read from its log and its registry (seed 000)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from bondhu.app import App
from bondhu.domains.assistant.record import InteractionRecord, VersionFacts, facts_of, record
from bondhu.domains.assistant.totals import Totals
from bondhu.doors import masks
from bondhu.errors import BondhuError
from bondhu.log.checks import decode
from bondhu.log.rewards import hear
from bondhu.registry import lifecycle
from bondhu.registry.lifecycle import APPLICATION, BASELINE, EXPLORED
from bondhu.types import Acting, Belief, Decision, Feedback, Floats, Records

PIECE = 1_000  # interactions whose beliefs are asked for at a time
VERSIONS = 8  # kept in memory
UNSTORED = (BASELINE, APPLICATION, EXPLORED)  # what decided without being in the registry


class Wanted(NamedTuple):
    """Which interactions to show; the figures over all of them count all that the log holds."""

    user: str | None = None  # as the application sends it, or as it is stored
    session: str | None = None
    since: float = float("-inf")  # seconds
    limit: int | None = None  # the newest of them


EVERYTHING = Wanted()


class Shown(NamedTuple):
    """The records asked for, oldest first, and how the deployment does on the whole."""

    records: list[InteractionRecord]
    totals: Totals
    found: int  # of those asked for, with those that `limit` leaves out


def interactions(app: App, wanted: Wanted = EVERYTHING) -> Shown:
    """The records of a deployment. All that its log holds is read once; archived decisions are not in it."""
    records = app.log.read(app.domain.name, float("-inf"), float("inf"))
    order, rewards = in_time(app, records)
    chosen = _chosen(app, records, wanted)
    rows = [row for row in order if row in chosen]
    limited = rows if wanted.limit is None else rows[max(len(rows) - wanted.limit, 0) :]
    asked, totals, at = set(limited), Totals(), {}
    for row in order:
        totals = totals.after(rewards[row])
        if row in asked:
            at[row] = totals
    made = Reading(app, records, rewards).records([(row, at[row]) for row in limited])
    return Shown(list(made), totals, len(rows))


def in_time(app: App, records: Records) -> tuple[list[int], list[float]]:
    """The rows in the order in which they were decided, and what each was worth so far."""
    reward = app.domain.reward
    always = np.ones(len(records.time), bool)
    worth: Floats = hear(reward, records, records.time + reward.wait, always).reward
    return np.argsort(records.time, kind="stable").tolist(), worth.tolist()


def _chosen(app: App, records: Records, wanted: Wanted) -> Collection[int]:
    """The rows that are asked for."""
    chosen = records.time >= wanted.since
    door = masks(app.settings, app.domain)
    if wanted.user is not None:
        names = {wanted.user, door.name(wanted.user) if door else None} - {None}
        chosen &= records.user.among(*names)
    if wanted.session is not None:
        names = {wanted.session, door.of_session(wanted.session, wanted.user) if door else None} - {None}
        chosen &= records.session.among(*names)
    return set(np.flatnonzero(chosen).tolist())


@dataclass
class Reading:
    """Rows of a log, as records."""

    app: App
    rows: Records
    rewards: Sequence[float]
    _said: dict[int, list[Feedback]] = field(init=False)

    def __post_init__(self) -> None:
        rows, said = self.rows, dict[int, list[Feedback]]()
        places = zip(
            rows.feedback_decision.tolist(), rows.feedback_value.tolist(), rows.feedback_time.tolist(), strict=True
        )
        for number, (row, value, time) in enumerate(places):
            heard = Feedback(str(number), rows.id[row], rows.feedback_signal[number], value, time)
            said.setdefault(row, []).append(heard)
        self._said = said
        stopped = lifecycle.traffic(self.app.events()).stopped
        self._learning = self.app.settings.schedule.enabled and not stopped
        self._acting = lru_cache(VERSIONS)(self._loaded)
        self._facts = lru_cache(256)(self._facts_of)

    def records(self, wanted: Sequence[tuple[int, Totals]]) -> Iterator[InteractionRecord]:
        """The records of these rows, each with the totals after it."""
        rest = iter(wanted)
        while some := list(islice(rest, PIECE)):
            decisions = [self.decision(row) for row, _ in some]
            known = self._beliefs(decisions)
            for (row, totals), decision, belief in zip(some, decisions, known, strict=True):
                floor = decision.memo[-1] if decision.memo else 0.0  # as the decider logs it
                facts = self._facts(decision.version, floor)
                said = self._said.get(row, [])
                yield record(decision, said, self.rewards[row], belief, totals, facts)

    def decision(self, row: int) -> Decision:
        """One row as it was logged."""
        rows = self.rows
        return Decision(
            id=rows.id[row],
            domain=self.app.domain.name,
            session=rows.session[row],
            user=rows.user[row],
            time=float(rows.time[row]),
            context=decode(rows.context[row]),
            allowed=rows.allowed_sets[int(rows.allowed[row])],
            action=rows.action[row],
            probability=float(rows.probability[row]),
            memo=tuple(each for each in rows.memo[row].tolist() if not np.isnan(each)),
            version=rows.version[row],
            variant=rows.variant[row],
            assigned=float(rows.assigned[row]),
        )

    def _beliefs(self, decisions: Sequence[Decision]) -> list[Belief | None]:
        """What the version that decided knew of each; those of one version are asked for together."""
        found: list[Belief | None] = [None] * len(decisions)
        for version in dict.fromkeys(each.version for each in decisions):
            acting = self._acting(version)
            if acting is None or acting.beliefs is None:
                continue
            places = [place for place, each in enumerate(decisions) if each.version == version]
            try:
                seen = np.stack([acting.encoder.one(decisions[place].context) for place in places])
            except BondhuError:  # a context that its version would not take: it was imported
                continue
            belief = acting.beliefs(seen)
            for number, place in enumerate(places):
                one = slice(number, number + 1)
                found[place] = Belief(belief.value[one], belief.error[one], belief.tries[one], belief.rounds)
        return found

    def _loaded(self, version: str) -> Acting | None:
        """The version as it was trained; None where it cannot be had any more."""
        if version in (APPLICATION, EXPLORED):
            return None
        try:
            return self.app.as_trained(version)
        except BondhuError:
            return None

    def _facts_of(self, version: str, floor: float) -> VersionFacts:
        acting = self._acting(version)
        actions = acting.actions if acting else tuple(self.app.domain.actions)
        if version in UNSTORED or acting is None:
            method = version if version in UNSTORED else "unknown"
            return VersionFacts(version, actions, method, floor, learning_enabled=self._learning)
        return facts_of(self.app.deployment.registry.load(version), actions, floor, learning=self._learning)


def plain(shown: InteractionRecord) -> dict[str, Any]:
    """A record as plain data, with what it is the record of."""
    low, high = shown.interval
    known = {"decision_id": shown.decision_id, "time": shown.time, "action": shown.action}
    trend = {"change": shown.trend.change, "direction": shown.trend.direction}
    return {
        **known,
        **shown.as_dict(),
        "signals": dict(shown.signals),
        "trend": trend,
        "avg_reward_interval": [low if np.isfinite(low) else None, high if np.isfinite(high) else None],
    }
