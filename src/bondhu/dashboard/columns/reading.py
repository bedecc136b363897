"""Keeps the decisions of a log in memory: read newest first, and again as long as something may be said of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nextafter
from threading import Event, Thread
from time import perf_counter

from bondhu.app import App
from bondhu.dashboard.columns.sheets import Sheet, alike, empty, joined, minutes, new_generation, sheet_of
from bondhu.dashboard.page import Progress
from bondhu.errors import BondhuError
from bondhu.log.delays import arrived, learn
from bondhu.ports import ERASURE

MOST = 2_000_000  # decisions that are kept in memory
FIRST = 2_000  # decisions of the first piece, and the most of the newest one, which is read every FRESH seconds
SMALLEST, LARGEST = 1_000, 50_000  # decisions of other pieces
PIECE = 0.075  # seconds that reading a piece should take
AT_ONCE = 3  # pieces read in one step, where one has become too large
COUNTED = 100_000  # decisions counted by one statement
SAMPLE = 50_000  # newest decisions that delays are learned from

FRESH = 2.0  # seconds between two readings of what is newest
AGEING = 10.0  # an age is so many times the interval at which decisions of that age are read again
SETTLED = 3600.0, 21_600.0  # seconds: the least and the longest interval once rewards are settled
EMPTY = 60.0  # seconds between two looks where there was nothing
LEARNED = 600.0  # seconds after which delays are learned again
BEGINNING, LATER = 0.5, 0.1  # share of the time that is spent: until all is read, and from then on
PATIENCE = 5.0  # seconds until a store that failed is asked again

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Piece:
    """The decisions with start <= time < end. Pieces lie next to each other, and between them hold all time."""

    start: float
    end: float
    rows: int = 0  # of the sheet
    newest: float = -inf  # time of its last decision
    read: float = -inf  # when; -inf: never
    feedback: Mapping[int, int] = field(default_factory=dict)
    unfit: int = 0

    def interval(self, wait: float) -> float:
        """Seconds after which it is to be read again; `wait`: until rewards are settled."""
        if self.end == inf:
            return FRESH
        if not self.rows:
            return EMPTY
        if self.read < self.newest + wait:
            return min(max((self.read - self.newest) / AGEING, FRESH), self.newest + wait - self.read)
        return min(max((self.read - self.newest) / AGEING, SETTLED[0]), SETTLED[1])

    def overdue(self, now: float, wait: float) -> float:
        """How long ago it was read, in intervals; infinite where it never was, or where the clock was set back."""
        if now < self.read:
            return inf
        return (now - self.read) / max(self.interval(wait), FRESH)


def rows_of(pieces: Sequence[Piece]) -> int:
    """Rows of the sheet."""
    return sum(each.rows for each in pieces)


class Reading:
    """Reads in a thread of its own between `start` and `close`; without one, `step` by step."""

    def __init__(self, app: App, most: int = MOST) -> None:
        self._app, self._most = app, most
        self._thread: Thread | None = None
        self._closed = Event()
        self._erased: int | None = None  # seq of the last erasure that is known
        self._learned, self._in_time = -inf, dict[str, float]()
        self._size = FIRST
        self._trouble = ""
        self._forget()

    def _forget(self) -> None:
        self._pieces = [Piece(-inf, inf)]
        self._sheet = empty(self._app.domain)
        self._of, self._counted = 0, inf  # how many decisions are counted, and from which time on

    # ------------------------------------------------------------------------------------------------------ what is in

    def sheet(self) -> Sheet:
        """All that is read so far; the same object until something changes."""
        return self._sheet

    def progress(self) -> Progress:
        """How far the log has been read."""
        sheet = self._sheet
        read = len(sheet) + sheet.unfit
        of = read if self.complete else max(self._of, read)
        return Progress(read, of, float(sheet.time[0]) if len(sheet) else self._app.now())

    @property
    def complete(self) -> bool:
        """Whether all is in, or as many decisions as are kept."""
        return self._unread() is None

    # ------------------------------------------------------------------------------------------------------ the thread

    def start(self) -> None:
        """Begin to read."""
        self._thread = Thread(target=self._run, name="reading", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; what is in memory stays there."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            began = perf_counter()
            try:
                did = self.step()
            except Exception as error:  # whatever the store is up to, what is there stays there
                self._failed(error)
                self._closed.wait(PATIENCE)
                continue
            self._trouble = ""
            share = LATER if self.complete else BEGINNING
            self._closed.wait((perf_counter() - began) * (1 / share - 1) if did else FRESH / 4)

    def _failed(self, error: Exception) -> None:
        """Say so once, not every few seconds."""
        if isinstance(error, BondhuError):
            told = f"The decisions cannot be read now, the pages show what was read before: {error}"
        else:
            told = f"The decisions cannot be read now ({type(error).__name__})."
        if told != self._trouble:
            log.error(told, exc_info=None if isinstance(error, BondhuError) else error)
        self._trouble = told

    def step(self) -> bool:
        """Read what is most due, a piece or so; whether there was anything to do. Raises what the store raises."""
        self._look_for_erasures()
        now = self._app.now()
        piece = self._due(now)
        if piece is not None:
            self._read(piece, now)
        elif self._counting:
            self._count()
        else:
            return False
        return True

    def _look_for_erasures(self) -> None:
        """Whether somebody was erased: a certificate does not say who, so nothing stays in memory."""
        new = self._app.ledger.entries(ERASURE, self._app.domain.name, after=self._erased or 0)
        if new and self._erased is not None:
            self._forget()
        self._erased = new[-1].seq if new else self._erased or 0

    # ----------------------------------------------------------------------------------------------- what to read next

    def _due(self, now: float) -> Piece | None:
        """The newest piece, then those never read from new to old, then what is most overdue. None: nothing is."""
        wait, last = self._app.domain.reward.wait, self._pieces[-1]
        if last.read == -inf or last.overdue(now, wait) >= 1:
            return last
        if self._counting:
            return None  # the first piece is in: how many there are is known before the second
        unread = self._unread()
        if unread is not None:
            return unread
        known = [each for each in self._pieces if each.read > -inf]
        piece = max(known, key=lambda each: each.overdue(now, wait))
        return self._together(piece, now) if piece.overdue(now, wait) >= 1 else None

    @property
    def _counting(self) -> bool:
        return self._counted > -inf and self._of < self._most

    def _unread(self) -> Piece | None:
        """The newest piece that was never read, as long as there is room for it."""
        if len(self._sheet) >= self._most and self._pieces[0].read == -inf:
            candidates = self._pieces[1:]
        else:
            candidates = self._pieces
        return next((each for each in reversed(candidates) if each.read == -inf), None)

    def _together(self, piece: Piece, now: float) -> Piece:
        """The piece with those before it that are nearly due as well, as one, where they are small."""
        wait, last = self._app.domain.reward.wait, self._pieces.index(piece)
        first, rows = last, piece.rows
        while first > 0:
            before = self._pieces[first - 1]
            rows += before.rows
            if rows > self._size or before.read == -inf or not before.rows or before.overdue(now, wait) < 0.5:
                break
            first -= 1
        if first < last:
            parts = self._pieces[first : last + 1]
            self._pieces[first : last + 1] = [
                Piece(
                    *(parts[0].start, piece.end, rows_of(parts), piece.newest),
                    read=min(each.read for each in parts),
                    feedback=minutes([each.feedback for each in parts]),
                    unfit=sum(each.unfit for each in parts),
                )
            ]
        return self._pieces[first]

    def _count(self) -> None:
        """Count further back."""
        found = self._app.log.reach(self._app.domain.name, self._counted, COUNTED)
        self._counted, new = found or (-inf, 0)
        self._of = min(self._of + new, self._most)

    # --------------------------------------------------------------------------------------------------------- reading

    def _read(self, piece: Piece, now: float) -> None:
        """Read a piece anew, from its end; what is too much for one step stays behind as one that was never read."""
        found: list[tuple[Piece, Sheet]] = []
        end, most = piece.end, 1 if piece.read == -inf else AT_ONCE
        while piece.start < end and len(found) < most:
            start = self._start_of(piece.start, end)
            found.insert(0, self._read_one(start, end, now))
            end = start
        self._put(piece, [Piece(piece.start, end)] if piece.start < end else [], found)

    def _start_of(self, least: float, end: float) -> float:
        """Where a piece begins that is not too large; not before `least`."""
        most = FIRST if end == inf else 2 * self._size
        found = self._app.log.reach(self._app.domain.name, end, most)
        if found is None or found[1] < most or found[0] <= least:
            return least
        half = self._app.log.reach(self._app.domain.name, end, most // 2)
        return found[0] if half is None else max(half[0], least)

    def _read_one(self, start: float, end: float, now: float) -> tuple[Piece, Sheet]:
        domain, began = self._app.domain, perf_counter()
        records = self._app.log.read(domain.name, start, end)
        sheet = sheet_of(domain, records, start, end, now, self._shares(now))
        if len(records.time) >= SMALLEST:
            fitting = len(records.time) * PIECE / max(perf_counter() - began, 1e-6)
            self._size = int(min(max((self._size + fitting) / 2, SMALLEST), LARGEST))
        newest = float(sheet.time[-1]) if len(sheet) else -inf
        return Piece(start, end, len(sheet), newest, now, sheet.feedback, sheet.unfit), sheet

    def _shares(self, now: float) -> dict[str, float]:
        """The share of each signal's feedback that comes within the wait, where the domain wants delays learned."""
        reward = self._app.domain.reward
        if not reward.delay_horizon:
            return {}
        if now - self._learned >= LEARNED:
            name, newest = self._app.domain.name, nextafter(now, inf)
            start, _ = self._app.log.reach(name, newest, SAMPLE) or (now, 0)
            records = self._app.log.read(name, max(start, now - reward.delay_horizon), newest)
            self._learned, self._in_time = now, arrived(reward, learn(reward, records, now))
        return self._in_time

    # ------------------------------------------------------------------------------------------------------ publishing

    def _put(self, piece: Piece, unread: list[Piece], found: list[tuple[Piece, Sheet]]) -> None:
        """What was found in the place of a piece. Where it is the same as before, the sheet stays as it is."""
        at = self._pieces.index(piece)
        first = rows_of(self._pieces[:at])
        last, old = first + piece.rows, self._sheet
        made = [each for each, _ in found]
        self._pieces[at : at + 1] = [*unread, *made]
        told = [(dict(each.feedback), each.unfit) for each in (piece, *made)]
        if len(made) == 1 and told[0] == told[1] and alike(old.take(slice(first, last)), found[0][1]):
            return
        parts = [old.take(slice(0, first)), *(sheet for _, sheet in found), old.take(slice(last, None))]
        self._publish([each for each in parts if len(each)] or [empty(self._app.domain)])

    def _publish(self, parts: list[Sheet]) -> None:
        """One sheet of these parts, without the oldest pieces where there are too many decisions."""
        rows, gone, kept = sum(map(len, parts)), 0, 0
        while rows - gone - self._pieces[kept].rows >= self._most:
            gone, kept = gone + self._pieces[kept].rows, kept + 1
        if kept:
            self._pieces[:kept] = [Piece(-inf, self._pieces[kept].start)]
        feedback = minutes([each.feedback for each in self._pieces])
        sheet = joined(parts).take(slice(gone, None)) if gone else joined(parts)
        unfit = sum(each.unfit for each in self._pieces)
        self._sheet = replace(sheet, feedback=feedback, unfit=unfit, generation=new_generation())
