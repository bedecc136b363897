"""A log that is being imported: every row compared with the domain, the good ones in chunks, the rest in a report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gymnasium.spaces import MultiDiscrete

from bondhu.errors import DuplicateId, InvalidInput, UnknownName, nearest
from bondhu.log.checks import check_feedback, checked_context
from bondhu.log.importers.lines import ACTION_FEATURES, Line, Row, Spoken, mark
from bondhu.log.importers.report import ImportReport
from bondhu.ports import Domain, Signal
from bondhu.types import SESSION_CUT, SESSION_END, Decision, Feedback

SESSION_SIGNALS = {SESSION_END: Signal(0.0), SESSION_CUT: Signal(0.0)}  # every domain understands them
CHUNK = 10_000  # rows read between two steps of a progress bar
NONE = "none"  # the category of a value that is not there, if it is declared


class Imported(NamedTuple):
    """Rows to append to a log."""

    decisions: list[Decision]
    feedback: list[Feedback]
    done: int  # bytes of the file read so far


@dataclass(frozen=True)
class Format:
    """How one kind of log is read."""

    read: Callable[[], Iterator[Line]]
    sparse: bool = False  # what a row does not mention is 0
    start: float = 0.0  # seconds; a row without a time is this plus its number
    delay: float = 0.0  # seconds from a decision to its feedback


class Source:
    """Iterate over `chunks()` once; `report` fills meanwhile, and `size` is what `done` will reach."""

    def __init__(self, path: Path, domain: Domain, format: Format, *, strict: bool = False) -> None:
        self.size = path.stat().st_size
        self.report = ImportReport()
        self.strict = strict
        self._format = format
        self._check = _Check(domain, mark(path), format)

    def chunks(self) -> Iterator[Imported]:
        """Read the file; where nothing may be refused, read all of it before giving out the first row."""
        if self.strict:
            for _ in self._chunks():
                pass
            if self.report.refused:
                raise self._refusal()
            self.report = ImportReport()
        yield from self._chunks()

    def _chunks(self) -> Iterator[Imported]:
        report, seen = self.report, dict[str, int]()
        chunk = Imported([], [], 0)
        for line in self._lines():
            report.counts["read"] += 1
            try:
                self._take(line, chunk, seen)
            except InvalidInput as error:
                report.refuse(line.number, error)
            if report.read % CHUNK == 0:
                yield chunk._replace(done=line.done)
                chunk = Imported([], [], 0)
        yield chunk._replace(done=self.size)

    def _lines(self) -> Iterator[Line]:
        """A file that breaks off ends in a refused row; one that cannot be read at all is an error."""
        number = 0
        try:
            for line in self._format.read():
                number = line.number
                yield line
        except InvalidInput as error:
            if number == 0:
                raise
            yield Line(number + 1, self.size, problem=error)

    def _take(self, line: Line, chunk: Imported, seen: dict[str, int]) -> None:
        report = self.report
        if line.problem is not None:
            raise line.problem
        if line.said is not None:
            heard = self._check.spoken(line.number, line.said)
            report.counts["accepted"] += 1
            report.counts["feedback"] += len(heard)
            chunk.feedback.extend(heard)
            return
        if line.row is None:
            report.skipped[line.skipped] += 1
            return
        decision, feedback = self._check(line.number, line.row)
        if line.row.id and not _new(decision, feedback, seen):
            report.counts["repeated"] += 1
            return
        if line.note and not (line.note == ACTION_FEATURES and self._check.takes_actions(line.row)):
            report.notes[line.note] += 1
        report.counts["accepted"] += 1
        report.counts["feedback"] += len(feedback)
        chunk.decisions.append(decision)
        chunk.feedback.extend(feedback)

    def _refusal(self) -> InvalidInput:
        first = "; ".join(f"row {each.number}: {each.reason}" for each in self.report.refusals[:3])
        return InvalidInput(
            f"{self.report.refused} of {self.report.read} rows were refused, so none was imported. {first}",
            field="strict",
            value=self.report.refused,
            fix="Mend the rows, or import without strict.",
        )


class _Check:
    """From a row as the log tells it to a decision of the domain, or the reason why not."""

    def __init__(self, domain: Domain, mark: str, format: Format) -> None:
        self.name = domain.name
        self.actions = domain.actions
        self.known = frozenset(domain.actions)
        self.signals = {**domain.reward.signals, **SESSION_SIGNALS}
        self.encode = domain.encoder(MultiDiscrete).one
        self.fields = {each["name"]: _reader(each, format) for each in domain.describe().get("fields", ())}
        self.mark = mark
        self.start = format.start
        self.delay = format.delay

        kinds = {each["kind"]: each["name"] for each in domain.describe().get("fields", ())}
        self.ranked = (kinds["features"], kinds["ranked"]) if {"features", "ranked"} <= set(kinds) else None

    def spoken(self, number: int, said: Spoken) -> list[Feedback]:
        """Feedback that stands on a line of its own."""
        time = self.start + number if said.time is None else said.time
        heard = [
            Feedback(f"{self.mark}-{number}:{place}", said.decision, self._signal(signal, value), value, time)
            for place, (signal, value) in enumerate(said.signals)
        ]
        for each in heard:
            check_feedback(each)
        return heard

    def takes_actions(self, row: Row) -> bool:
        """Whether the domain takes the actions of a row as they are, with what it says of them."""
        return self.ranked is not None and row.brought is not None

    def _as_ranked(self, row: Row) -> Row:
        """The row for a domain whose actions come with each request: they are called by their places."""
        if self.ranked is None or row.brought is None:
            return row
        about, field = self.ranked
        names = [each["id"] for each in row.brought.actions]
        places = [f"{field}-{place + 1}" for place in range(len(names))]
        return row._replace(
            context={about: row.brought.about, field: row.brought.actions},
            action=places[names.index(row.action)],
            allowed=tuple(places[each] for each in row.brought.open if each < len(places)),
            signals=() if row.silent else row.signals,
        )

    def __call__(self, number: int, row: Row) -> tuple[Decision, list[Feedback]]:
        row = self._as_ranked(row)
        context = self._context(row.context)
        self.encode(context)
        allowed = self._allowed(row)
        if not 0.0 < row.probability <= 1.0:
            raise InvalidInput(
                f"probability {row.probability!r} is not in (0, 1].",
                field="probability",
                value=row.probability,
                fix="It is the chance that the logged action had; an action with chance 0 cannot have been taken.",
            )
        event = row.id or f"{self.mark}-{number}"
        id_ = f"{event}/{row.slot}" if row.slot else event
        time = self.start + number if row.time is None else row.time
        decision = Decision(
            id=id_,
            domain=self.name,
            session=row.session or event,
            user=row.user,
            time=time,
            context=context,
            allowed=allowed,
            action=row.action,
            probability=row.probability,
            memo=row.memo,
            version=row.version,
            variant=row.variant,
            assigned=row.assigned,
        )
        heard = [
            Feedback(f"{id_}:{place}", id_, self._signal(signal, value), value, time + self.delay)
            for place, (signal, value) in enumerate(row.signals)
        ]
        checked_context(decision)  # what the log would refuse is refused here, row by row
        for feedback in heard:
            check_feedback(feedback)
        return decision, heard

    def _context(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """The declared fields; a log may hold more."""
        if not self.fields:
            return dict(sent)
        read = {name: reader(sent.get(name)) for name, reader in self.fields.items()}
        return {name: value for name, value in read.items() if value is not None}

    def _allowed(self, row: Row) -> tuple[str, ...]:
        allowed = self.actions if row.allowed is None else row.allowed
        named = {row.action, *(row.allowed or ())}
        if not named <= self.known:
            action = min(named - self.known)
            raise UnknownName(
                f"Action {action!r} is not one of the domain's.",
                field="action",
                value=action,
                fix=nearest(action, self.actions),
            )
        if row.action not in allowed:
            raise InvalidInput(
                f"Action {row.action!r} was taken but is not in allowed.",
                field="allowed",
                value=row.action,
                fix="List every action that could have been taken.",
            )
        return allowed

    def _signal(self, name: str, value: float) -> str:
        signal = self.signals.get(name)
        if signal is None:
            raise UnknownName(
                f"The domain has no signal {name!r}.", field="signal", value=name, fix=nearest(name, self.signals)
            )
        if not signal.low <= value <= signal.high:
            raise InvalidInput(
                f"Signal {name} got {value!r}, which is outside {signal.low:g} to {signal.high:g}.",
                field=name,
                value=value,
                fix="Mend the row, or widen the signal's range.",
            )
        return name


def _new(decision: Decision, feedback: list[Feedback], seen: dict[str, int]) -> bool:
    """Whether this id comes for the first time; DuplicateId where it came with other content."""
    content = hash((repr(decision), repr(feedback)))
    first = seen.setdefault(decision.id, content) is content
    if not first and seen[decision.id] != content:
        raise DuplicateId(
            f"The id {decision.id!r} was already used in this file with other content.",
            field="id",
            value=decision.id,
            fix="Give every decision its own id.",
        )
    return first


def _reader(about: Mapping[str, Any], format: Format) -> Callable[[Any], Any]:
    """What turns a cell into a value of this kind of field; None where it is missing."""
    kind = about["kind"]
    if kind == "number":
        return _number_or_zero if format.sparse else _number
    if kind == "category":
        return _category(NONE if NONE in about["values"] else None)
    return _text if kind in ("text", "person") else _vector


def _category(missing: str | None) -> Callable[[Any], Any]:
    return lambda value: missing if blank(value) else name(value)


def _number(value: Any) -> Any:
    """A cell of text as a number, if it is one; the encoder says what is wrong with it otherwise."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None if blank(value) else value
    return float(value) if isinstance(value, bool) else value


def _number_or_zero(value: Any) -> Any:
    return 0.0 if value is None else _number(value)


def _text(value: Any) -> str:
    return "" if value is None else name(value)


def _vector(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def blank(value: Any) -> bool:
    """Whether a cell says nothing."""
    return value is None or (isinstance(value, str) and not value.strip())


def name(value: Any) -> str:
    """A value as a category's name: 3.0 and 3 are "3"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    return str(value)
