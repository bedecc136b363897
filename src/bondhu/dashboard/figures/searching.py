"""Search for decisions: the columns in memory say which and when, small reads of the log bring their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf, isfinite, nan, nextafter
from typing import NamedTuple

import numpy as np

from bondhu.app import App
from bondhu.dashboard.columns.sheets import Sheet
from bondhu.dashboard.figures.acting import as_it_acted, explored
from bondhu.dashboard.figures.contexts import PREFIX
from bondhu.doors import masks
from bondhu.errors import BondhuError, nearest
from bondhu.log.rewards import hear
from bondhu.registry.lifecycle import APPLICATION, EXPLORED
from bondhu.serve.decide import answered_by
from bondhu.types import Booleans, Decision, Feedback, Floats, Integers, Records
from bondhu.watch.observed import number_of

SHOWN = 50  # rows of a page
TRIED = 1_000  # rows of the log that are read for one page
TOGETHER = 1_000  # decisions that are read at once rather than one moment after the other
REWARDS = ("known", "waiting", "above", "below")
YES_NO = ("yes", "no")
LONGEST = 128  # characters of an id, a user or a session
FARTHEST = 62_135_596_800.0  # seconds from 1970 that a calendar has to both sides

Key = tuple[float, int, str, float]  # time, number of the person, action, probability


class Search(NamedTuple):
    """What is looked for; what is "" or None is not asked for."""

    identity: str = ""  # of a decision, or of feedback
    user: str = ""  # as stored
    session: str = ""  # as stored
    action: str = ""
    version: str = ""
    variant: str = ""
    explored: str = ""  # one of YES_NO
    reward: str = ""  # one of REWARDS
    amount: float = 0.0  # for "above" and "below"
    start: float = -inf  # seconds
    end: float = inf
    context: Mapping[str, str] = {}  # by field, as the sheet has it
    before: tuple[float, int] | None = None  # a time, and how many of its decisions were shown already


class Found(NamedTuple):
    """One decision with what came of it."""

    decision: Decision
    said: list[Feedback]
    reward: float  # so far
    settled: bool  # nothing that is said from now on changes it
    explored: bool | None  # whether another action was likelier; None where nobody can tell any more


class Met(NamedTuple):
    """When sessions were met, N times: of each its number only, so that nobody's name is kept."""

    number: Integers  # [N] ascending
    time: Floats  # [N] seconds

    def of(self, session: str) -> list[float]:
        """When this one was: perhaps others as well, whose numbers happen to be the same."""
        number = number_of(f"session:{session}")
        first, last = (int(np.searchsorted(self.number, number, side)) for side in ("left", "right"))
        found: list[float] = self.time[first:last].tolist()
        return found


class Hits(NamedTuple):
    """A page of what was found."""

    rows: list[Found]
    before: tuple[float, int] | None  # where the next page goes on; None: this is the last one
    of: int  # decisions that the columns say may be meant


# ------------------------------------------------------------------------------------------------------------- asking


def asked_for(app: App, sheet: Sheet, query: Mapping[str, str]) -> tuple[Search, dict[str, str]]:
    """What an address looks for, and by name of its query what is wrong with it. Names of people and sessions are
    hidden as the deployment hides them before it stores them."""
    wrong: dict[str, str] = {}
    said = {name: value.strip() for name, value in query.items() if value.strip()}
    mask = masks(app.settings, app.domain)
    user, session = (said.get(name, "")[:LONGEST] for name in ("user", "session"))
    if mask is not None:
        user, session = mask.name(user) or "", mask.of_session(session, user) or ""
    one_of = {"explored": YES_NO, "reward": REWARDS}
    chosen = {name: _one_of(said, name, values, wrong) for name, values in one_of.items()}
    search = Search(
        identity=said.get("id", "")[:LONGEST],
        user=user,
        session=session,
        **{name: said.get(name, "") for name in ("action", "version", "variant")},
        **chosen,
        amount=_number(said, "amount", wrong) if chosen["reward"] in ("above", "below") else 0.0,
        start=_time(said, "from", -inf, wrong),
        end=_time(said, "to", inf, wrong),
        context=_situation(sheet, said, wrong),
        before=_cursor(said.get("before", "")),
    )
    return search, wrong


def _one_of(said: Mapping[str, str], name: str, values: Sequence[str], wrong: dict[str, str]) -> str:
    value = said.get(name, "")
    if value and value not in values:
        wrong[name] = f"There is no {name} {value[:80]!r}. {nearest(value, values)}"
        return ""
    return value


def _number(said: Mapping[str, str], name: str, wrong: dict[str, str]) -> float:
    try:
        value = float(said.get(name, "0"))
        if isfinite(value):
            return value
    except ValueError:
        pass
    wrong[name] = f"{said[name][:80]!r} is no number. Type one, such as 0.5."
    return 0.0


def _time(said: Mapping[str, str], name: str, nothing: float, wrong: dict[str, str]) -> float:
    """A moment as a form, or a person, writes it; UTC where it does not say."""
    if name not in said:
        return nothing
    try:
        at = datetime.fromisoformat(said[name])
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        wrong[name] = f"{said[name][:80]!r} is no time. Type one in UTC, such as 2026-11-22T14:30."
        return nothing


def _situation(sheet: Sheet, said: Mapping[str, str], wrong: dict[str, str]) -> dict[str, str]:
    """The values of fields that are asked for."""
    asked = {name.removeprefix(PREFIX): value for name, value in said.items() if name.startswith(PREFIX)}
    for name in [each for each in asked if each not in sheet.context]:
        wrong[PREFIX + name] = f"There is no field {name[:80]!r}. {nearest(name, sheet.context)}"
        del asked[name]
    for name, value in [*asked.items()]:
        if value not in sheet.context[name].values:
            fix = nearest(value, map(str, sheet.context[name].values))
            wrong[PREFIX + name] = f"No decision has the {name} {value[:80]!r}. {fix}"
    return asked


def _cursor(text: str) -> tuple[float, int] | None:
    time, _, skipped = text.partition("~")
    try:
        found = float(time), int(skipped or 0)
    except ValueError:
        return None
    return found if abs(found[0]) < FARTHEST and found[1] >= 0 else None


def cursor(before: tuple[float, int]) -> str:
    """A cursor as it stands in an address."""
    return f"{before[0]!r}~{before[1]}"


# ------------------------------------------------------------------------------------------------------------ finding


def candidates(sheet: Sheet, search: Search, moments: Sequence[float] = ()) -> Integers:
    """Numbers of the sheet's rows that may be meant, newest first. `moments`: times at which the session was met, for
    sessions of people who are known by name."""
    some: Booleans = np.isfinite(sheet.time)
    if search.user:
        some &= sheet.user == number_of(f"user:{search.user}")
    if search.session:
        some &= _of_session(sheet, search.session, moments, known=bool(search.user))
    for name in ("action", "version", "variant"):
        if wanted := getattr(search, name):
            some &= getattr(sheet, name).among(wanted)
    for name, value in search.context.items():
        some &= sheet.context[name].among(value)
    if search.explored == "yes":  # nothing is likelier than what has more than half
        some &= sheet.probability <= 0.5
    some &= (sheet.time >= search.start) & (sheet.time < search.end) & _rewarded(sheet, search)
    if search.before is not None:
        some &= sheet.time <= search.before[0]
    rows = np.flatnonzero(some)[::-1]
    if search.before is None:
        return rows
    later = sheet.time[rows] == search.before[0]
    return np.concatenate([rows[later][search.before[1] :], rows[~later]])


def _of_session(sheet: Sheet, session: str, moments: Sequence[float], *, known: bool) -> Booleans:
    """Rows that may be of a session: by the number of who had it, or by the times it was met at."""
    if known:  # all of that person's: which session it was stands in the log
        return np.ones(len(sheet), bool)
    numbers = [number_of(f"{kind}:{session}") for kind in ("session", "user")]
    return np.asarray(np.isin(sheet.user, numbers) | np.isin(sheet.time, np.array(moments, np.float64)))


def _rewarded(sheet: Sheet, search: Search) -> Booleans:
    known = np.isfinite(sheet.reward)
    with np.errstate(invalid="ignore", over="ignore"):  # an amount beyond all rewards is infinite beside them
        said = {
            "": np.ones(len(sheet), bool),
            "known": known,
            "waiting": ~known,
            "above": sheet.reward > search.amount,
            "below": sheet.reward < search.amount,
        }
    return np.asarray(said[search.reward])


def sessions(app: App, most: int) -> Met:
    """When each session was met among the newest `most` decisions: they are all read."""
    numbers: list[Integers] = [np.zeros(0, np.int64)]
    times: list[Floats] = [np.zeros(0)]
    name, before, left = app.domain.name, nextafter(app.now(), inf), most
    while left > 0:
        reached = app.log.reach(name, before, min(left, 20_000))
        if reached is None:
            break
        records = app.log.read(name, reached[0], before)
        known = np.array([number_of(f"session:{each}") for each in records.session.values], np.int64)
        numbers.append(known[records.session.codes])
        times.append(records.time)
        before, left = reached[0], left - reached[1]
    number, time = np.concatenate(numbers), np.concatenate(times)
    order = np.argsort(number, kind="stable")
    return Met(number[order], time[order])


# ------------------------------------------------------------------------------------------------------------- reading


def hits(app: App, sheet: Sheet, search: Search, moments: Sequence[float] = ()) -> Hits:
    """One page of what is looked for, newest first. What the columns do not say (whether another action was likelier,
    which session it was of somebody known) is asked of the rows, of at most TRIED at a time."""
    rows = candidates(sheet, search, moments)
    found: list[Found] = []
    looked = 0
    step = SHOWN if not (search.session or search.explored) else 4 * SHOWN
    while looked < min(len(rows), TRIED) and len(found) < SHOWN:
        some = rows[looked : looked + step]
        for each in fetched(app, sheet, some):
            looked += 1
            if each is not None and _meant(each, search):
                found.append(each)
            if len(found) == SHOWN:
                break
    more = looked < len(rows)
    return Hits(found, _after(sheet, rows[:looked], search) if more else None, len(rows))


def _meant(found: Found, search: Search) -> bool:
    if search.session and found.decision.session != search.session:
        return False
    return not search.explored or found.explored is (search.explored == "yes")


def _after(sheet: Sheet, looked: Integers, search: Search) -> tuple[float, int]:
    """Where to go on behind these rows."""
    last = float(sheet.time[looked[-1]])
    before = search.before[1] if search.before is not None and search.before[0] == last else 0
    return last, before + int((sheet.time[looked] == last).sum())


def fetched(app: App, sheet: Sheet, rows: Integers) -> list[Found | None]:
    """The decisions of these rows of the sheet, in their order; None for what was erased meanwhile."""
    if not len(rows):
        return []
    low, high = float(sheet.time[rows].min()), float(sheet.time[rows].max())
    between = int(np.searchsorted(sheet.time, high, "right") - np.searchsorted(sheet.time, low))
    times = [(low, high)] if between <= TOGETHER else [(at, at) for at in np.unique(sheet.time[rows]).tolist()]
    there: dict[Key, list[tuple[str, float]]] = {}
    for start, end in times:
        records = app.log.read(app.domain.name, start, nextafter(end, inf))
        for key, identity, reward in zip(_keys(records), records.id, _rewards(app, records), strict=True):
            there.setdefault(key, []).append((identity, reward))
    found: list[Found | None] = []
    for row in rows.tolist():
        key, number = _occurrence(sheet, row)
        alike = there.get(key, [])
        found.append(_found(app, sheet, row, *alike[number]) if number < len(alike) else None)
    return found


def _found(app: App, sheet: Sheet, row: int, identity: str, so_far: float) -> Found | None:
    """With the reward of every other figure of the dashboard where it stands for feedback still to come."""
    both = app.log.find(identity)
    if both is None:
        return None
    reward, settled = float(sheet.reward[row]), bool(sheet.settled[row])
    counted = reward if settled and app.domain.reward.delay_horizon and isfinite(reward) else so_far
    return Found(*both, counted, settled, was_explored(app, both[0]))


def _keys(records: Records) -> list[Key]:
    """What tells each row from others of its moment."""
    people = [
        f"user:{user}" if user else f"session:{session}"
        for user, session in zip(records.user, records.session, strict=True)
    ]
    numbers = map(number_of, people)
    chances = records.probability.astype(np.float32).tolist()  # as the sheet has them
    return [*zip(records.time.tolist(), numbers, records.action, chances, strict=True)]


def _occurrence(sheet: Sheet, row: int) -> tuple[Key, int]:
    """The same of a row of the sheet, and how many rows before it look alike: log and sheet have one order."""
    before = slice(int(np.searchsorted(sheet.time, sheet.time[row])), row)
    alike = (sheet.user[before] == sheet.user[row]) & (sheet.action.codes[before] == sheet.action.codes[row])
    alike &= sheet.probability[before] == sheet.probability[row]
    key = float(sheet.time[row]), int(sheet.user[row]), sheet.action[row], float(np.float32(sheet.probability[row]))
    return key, int(alike.sum())


def _rewards(app: App, records: Records) -> list[float]:
    """What was said of each row so far is worth."""
    settles, every = records.time + app.domain.reward.wait, np.ones(len(records.time), bool)
    found: list[float] = hear(app.domain.reward, records, settles, every).reward.tolist()
    return found


def was_explored(app: App, decision: Decision) -> bool | None:
    """Whether another action was likelier than the one taken, as the audit record has it; None where the version
    cannot be asked any more."""
    if decision.version in (APPLICATION, EXPLORED):
        return decision.version == EXPLORED
    try:
        return explored(decision, as_it_acted(app, decision.allowed)(decision.version))
    except (BondhuError, ValueError):  # ValueError: the action is none of the version's
        return None


def by_id(app: App, identity: str) -> Found | None:
    """The decision with this id, or about which the feedback with this id is; an answer's id is its decision's."""
    if not identity.isprintable():
        return None
    both = app.log.find(identity)
    if both is None and app.settings.gateway is not None:
        both = app.log.find(answered_by(identity))
    if both is None:
        said = app.log.said(identity)
        both = app.log.find(said.decision_id) if said is not None else None
    if both is None or both[0].domain != app.domain.name:
        return None
    decision, feedback = both
    records = app.log.read(app.domain.name, decision.time, nextafter(decision.time, inf))
    worth = dict(zip(records.id, _rewards(app, records), strict=True)).get(decision.id, nan)
    settled = decision.time + app.domain.reward.wait <= app.now()
    return Found(decision, feedback, worth, settled, was_explored(app, decision))
