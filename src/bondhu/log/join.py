"""Joins decisions with what was said of them: from logged facts to a batch that a learner or an estimator can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan, nextafter
from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import Space

from bondhu.errors import InvalidInput
from bondhu.log.collection import paused_collection
from bondhu.log.delays import arrived, learn, outstanding_reward
from bondhu.log.rewards import hear
from bondhu.log.sessions import Chain, chain, people
from bondhu.ports import Domain, Log
from bondhu.types import Array, Batch, Booleans, Columns, Floats, Integers, Records

Item = TypeVar("Item")


@dataclass(frozen=True)
class JoinReport:
    """What became of the decisions of a window, and of the feedback on the settled ones."""

    decisions: int  # settled in the window, or still outstanding at its end
    settled: int
    outstanding: int
    rows: int  # in the batch: the settled ones but those left out below
    users: int  # in the batch; where no user is known, each session counts as one
    mean_reward: float  # of the batch; NaN without rows
    defaulted: int  # settled decisions that nothing was said of in time
    late: int  # feedback that came after the wait
    late_reward: float  # what it is worth in all; in the reward only under `Reward.count_late`
    clipped: int  # feedback whose value was outside of its signal's range
    unknown_signals: Mapping[str, int]  # feedback ignored, because the domain does not declare its signal
    unknown_actions: int  # decisions left out, because the domain no longer has their action
    cut: int  # decisions left out, because a time limit or a vanished action hides what came next
    too_few: int  # decisions left out, because their user has too few
    unfit: int = 0  # decisions left out, because their context is not what the domain declares now
    unfit_why: str = ""  # what is wrong with the first of them
    outstanding_reward: float = 0.0  # what is still expected to come for all of them, and will count
    arrived: Mapping[str, float] = field(default_factory=dict)  # of each signal, the share that comes in time


@dataclass(frozen=True)
class Joined:
    """A batch and how it came about."""

    batch: Batch
    report: JoinReport
    rows: Integers  # [T] which row of the records each row of the batch is


@dataclass(frozen=True)
class Facts:
    """What is known of every decision that was read [T], whether or not it goes into the batch."""

    reward: Floats
    following: Integers  # row of the next decision of the session; -1: none
    action: Integers  # position among the domain's actions; -1: it is no longer one
    masks: Booleans  # [S, A] each set of allowed actions
    objectives: Columns  # the parts of a vector reward


def settlement(domain: Domain) -> float:
    """Seconds after which neither the reward of a decision nor what came next can change."""
    return max(domain.reward.wait, domain.idle)


def read_window(domain: Domain, log: Log, start: float, end: float) -> Records:
    """What `join` needs for the decisions that settle in (start, end]: those, the ones that followed them, and where
    delays are modelled those of the horizon."""
    # a second of slack: `time + settlement` rounds otherwise than `start - settlement`
    earliest = min(start - settlement(domain) - 1.0, end - (domain.reward.delay_horizon or 0.0))
    return log.read(domain.name, earliest, nextafter(end, inf))


def join(
    domain: Domain,
    records: Records,
    *,
    start: float,
    end: float,
    observes: type[Space[Any]],
    minimum_interactions: int = 0,
) -> Joined:
    """The decisions that settle in (start, end], with rewards and what came next; each session a run of `has_next`.

    Users with fewer than `minimum_interactions` of them are left out, whole sessions at a time. Where `discount` is 0,
    `next_allowed` is all True: there is nothing to choose from, and a maximum over it stays finite. A log may be older
    than the declaration: what no longer fits it is left out and counted.
    """
    window = (start, end, minimum_interactions)
    try:
        with paused_collection():
            return _join(domain, records, window, observes)
    except InvalidInput as error:
        fit = fitting(domain, records.context)
        if fit.all():
            raise
        joined = _join(domain, only(records, fit), window, observes)
        report = replace(joined.report, unfit=int((~fit).sum()), unfit_why=str(error))
        return Joined(joined.batch, report, np.flatnonzero(fit)[joined.rows])


def fitting(domain: Domain, contexts: Sequence[bytes]) -> Booleans:
    """Which contexts are what the domain declares now: `[T]`."""
    try:
        domain.columns(contexts)
    except InvalidInput:
        return np.fromiter((_fits(domain, each) for each in contexts), bool, len(contexts))
    return np.ones(len(contexts), bool)


def _fits(domain: Domain, context: bytes) -> bool:
    try:
        domain.columns([context])
    except InvalidInput:
        return False
    return True


def _join(domain: Domain, records: Records, window: tuple[float, float, int], observes: type[Space[Any]]) -> Joined:
    start, end, minimum_interactions = window
    settles = records.time + settlement(domain)
    inside: Booleans = (settles > start) & (settles <= end)
    young = (settles > end) | (inside if domain.reward.delay_horizon else False)
    delays = learn(domain.reward, records, end) if domain.reward.delay_horizon or young.any() else {}
    in_time = arrived(domain.reward, delays) if domain.reward.delay_horizon else {}
    heard = hear(domain.reward, records, settles, inside, in_time)
    links = chain(records, domain.idle, heard)
    action, masks = _choices(records, domain.actions)

    settled = links.order[inside[links.order]]
    known = settled[action[settled] >= 0]
    # a decision none of whose allowed actions is left offers nothing to bootstrap from
    following = links.following[known]
    choiceless = np.flatnonzero(~masks.any(axis=1))
    hidden = links.cut[known] | (following >= 0) & np.isin(records.allowed[following], choiceless)
    seen = known[~hidden]
    person = people(records, seen, links.session[seen])
    enough = np.bincount(person)[person] >= minimum_interactions
    rows = seen[enough]

    outstanding = int((settles > end).sum())
    report = JoinReport(
        decisions=len(settled) + outstanding,
        settled=len(settled),
        outstanding=outstanding,
        rows=len(rows),
        users=len(np.unique(person[enough])),
        mean_reward=float(heard.reward[rows].mean()) if len(rows) else nan,
        defaulted=int(heard.silent[settled].sum()),
        late=heard.late,
        late_reward=heard.late_reward,
        clipped=heard.clipped,
        unknown_signals=heard.unknown_signals,
        unknown_actions=len(settled) - len(known),
        cut=len(known) - len(seen),
        too_few=len(seen) - len(rows),
        outstanding_reward=outstanding_reward(domain.reward, delays, records, end, young),
        arrived=in_time,
    )
    facts = Facts(heard.reward, links.following, action, masks, _objectives(domain, heard.values, links, action))
    batch = _batch(domain, records, facts, rows, observes)
    return Joined(batch, report, rows)


def only(records: Records, rows: Booleans) -> Records:
    """The decisions marked in `rows` [T], and their feedback."""
    kept = np.flatnonzero(rows)
    said = np.flatnonzero(rows[records.feedback_decision])
    position = np.cumsum(rows) - 1
    return Records(
        id=_pick(records.id, kept),
        session=records.session.take(kept),
        user=records.user.take(kept),
        time=records.time[kept],
        context=_pick(records.context, kept),
        allowed=records.allowed[kept],
        allowed_sets=records.allowed_sets,
        action=records.action.take(kept),
        probability=records.probability[kept],
        memo=records.memo[kept],
        version=records.version.take(kept),
        variant=records.variant.take(kept),
        assigned=records.assigned[kept],
        feedback_decision=position[records.feedback_decision[said]],
        feedback_signal=records.feedback_signal.take(said),
        feedback_value=records.feedback_value[said],
        feedback_time=records.feedback_time[said],
    )


def _pick(values: Sequence[Item], rows: Integers) -> list[Item]:
    return list(map(values.__getitem__, rows.tolist()))


def _choices(records: Records, actions: Sequence[str]) -> tuple[Integers, Booleans]:
    """Position of each row's action, -1 where it is no longer one `[T]`, and each set of allowed ones `[S, A]`."""
    position = {name: number for number, name in enumerate(actions)}
    action = np.array([position.get(name, -1) for name in records.action.values], dtype=np.int64)[records.action.codes]
    masks = np.zeros((len(records.allowed_sets), len(actions)), bool)
    for mask, names in zip(masks, records.allowed_sets, strict=True):
        mask[[position[name] for name in names if name in position]] = True
    return action, masks


def _objectives(domain: Domain, values: Columns, links: Chain, action: Integers) -> Columns:
    """The declared parts of a vector reward `[T]`, and what was said of each signal of uncertain weight."""
    uncertain = {name: values[name] for name, signal in domain.reward.signals.items() if signal.error > 0}
    found = {}
    for name, objective in domain.reward.objectives.items():
        of_action = np.array([objective.actions.get(each, 0.0) for each in domain.actions] + [0.0])
        said = sum((worth * values[signal] for signal, worth in objective.signals.items()), start=np.zeros(len(action)))
        found[name] = said + of_action[action] + objective.fresh * _fresh(links, action)
    return {**found, **uncertain}


def _fresh(links: Chain, action: Integers) -> Booleans:
    """Whether each action was not taken before in its session: `[T]`."""
    pair = links.session[links.order] * (action.max(initial=0) + 2) + action[links.order]
    fresh = np.zeros(len(action), bool)
    fresh[links.order[np.unique(pair, return_index=True)[1]]] = True
    return fresh


def _batch(domain: Domain, records: Records, facts: Facts, rows: Integers, observes: type[Space[Any]]) -> Batch:
    """These rows, and what the ones that followed them looked like, in the batch or not."""
    count, following = len(rows), facts.following[rows]
    alive = following >= 0
    has_next = np.append(following[:-1] == rows[1:], False)[:count]
    # contexts are decoded in order of arrival, as they lie in memory, and put in order when they are small
    used = np.zeros(len(records.context), bool)
    used[rows] = used[following[alive]] = True
    contexts = records.context if used.all() else _pick(records.context, np.flatnonzero(used))
    columns = domain.columns(contexts)
    seen = domain.encoder(observes).many(columns)
    position = np.cumsum(used) - 1
    place = position[rows]
    return Batch(
        observation=seen.take(place, axis=0),
        allowed=_allowed(facts.masks, records.allowed[rows]),
        action=facts.action[rows],
        probability=records.probability[rows],
        reward=facts.reward[rows],
        discount=alive.astype(np.float64),
        has_next=has_next,
        next_observation=_next_observation(seen, position[following], alive),
        next_allowed=_allowed(
            np.vstack([facts.masks, np.ones(len(domain.actions), bool)]),
            np.where(alive, records.allowed[following], len(facts.masks)),
        ),
        session=np.cumsum(~np.concatenate([[True], has_next])[:count]),
        time=records.time[rows],
        memo=records.memo[rows],
        context={name: column[place] for name, column in columns.items()},
        objectives={name: column[rows] for name, column in facts.objectives.items()},
    )


def _next_observation(seen: Array, position: Integers, alive: Booleans) -> Array:
    """Zeros where nothing follows; a view of one row of them where nothing follows anywhere."""
    if not alive.any():
        return np.broadcast_to(np.zeros_like(seen, shape=seen.shape[1:]), (len(alive), *seen.shape[1:]))
    following = np.zeros((len(alive), *seen.shape[1:]), seen.dtype)
    following[alive] = seen[position[alive]]
    return following


def _allowed(masks: Booleans, which: Integers) -> Booleans:
    """The mask of each row; a view of one row where all are equal, which is usual and saves T x A bytes."""
    used = masks[np.unique(which)]
    if len(used) and (used == used[0]).all():
        return np.broadcast_to(used[0], (len(which), masks.shape[1]))
    return masks[which]
