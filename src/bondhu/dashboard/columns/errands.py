"""Longer work, done beside the pages by one thread: one thing at a time, a few waiting, the newest results kept."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic, time
from typing import Any, NamedTuple

from bondhu.dashboard.page import Failed, Pending
from bondhu.errors import BondhuError

KEPT = 32  # results
AGAIN = 30.0  # seconds after which what failed may be asked for again
MOST = 8  # errands that wait: whoever asks for many keeps the others from theirs no longer than these take
PATIENCE = 30.0  # seconds after which an errand that nobody has asked for again makes room for another
CROWDED = Failed("Too much is asked at once. Come again in a minute.")
UNKNOWN = "The server's log says why."

log = logging.getLogger(__name__)


class _Held(NamedTuple):
    """What is known of one errand."""

    result: Any  # Pending until it is done
    ended: float = 0.0  # by the monotonic clock


class _Waiting(NamedTuple):
    """An errand that is not begun."""

    work: Callable[[], Any]
    asked: float  # last, by the monotonic clock


class Beside:
    """One worker thread, which begins with the first errand."""

    def __init__(self, kept: int = KEPT, again: float = AGAIN, clock: Callable[[], float] = monotonic) -> None:
        self._kept, self._again, self._clock = kept, again, clock
        self._turn = Condition()
        self._known: OrderedDict[object, _Held] = OrderedDict()  # the ones asked for longest ago first
        self._waiting: OrderedDict[object, _Waiting] = OrderedDict()  # the first to be done first
        self._thread: Thread | None = None
        self._closed = False
        self.generation = 0  # another one whenever a result has come

    def ask(self, key: object, work: Callable[[], Any]) -> Any:
        """The result of the work known by `key` (hashable), or Pending until there is one, or Failed. Work that is
        neither done nor under way is begun, unless too much waits already: that is Failed, and not kept. Never
        waits."""
        with self._turn:
            known = self._known.get(key)
            if known is not None and not self._stale(known):
                self._known.move_to_end(key)
                if key in self._waiting:
                    self._waiting[key] = self._waiting[key]._replace(asked=self._clock())
                return known.result
            if not self._room():
                return CROWDED
            pending = Pending(time())
            self._keep(key, _Held(pending))
            self._begin(key, work)
            return pending

    def look(self, key: object) -> Any:
        """The same, but nothing is begun: None where nobody asked."""
        with self._turn:
            known = self._known.get(key)
            return None if known is None else known.result

    def close(self) -> None:
        """Begin nothing more. What is under way is not waited for."""
        with self._turn:
            self._closed = True
            self._turn.notify()

    def _stale(self, known: _Held) -> bool:
        return isinstance(known.result, Failed) and self._clock() - known.ended >= self._again

    def _room(self) -> bool:
        """Whether one more may wait. Where there is none, the one makes room that was not asked for again for longest:
        its page was closed, or asks for it once more when something else is done."""
        if len(self._waiting) < MOST:
            return True
        longest = min(self._waiting, key=lambda each: self._waiting[each].asked)
        if self._clock() - self._waiting[longest].asked < PATIENCE:
            return False
        del self._waiting[longest], self._known[longest]
        return True

    def _keep(self, key: object, held: _Held) -> None:
        """The oldest results go; what is under way stays, since its result will come."""
        self._known[key] = held
        self._known.move_to_end(key)
        done = [each for each, one in self._known.items() if not isinstance(one.result, Pending) and each != key]
        for each in done[: max(len(self._known) - self._kept, 0)]:
            del self._known[each]

    def _begin(self, key: object, work: Callable[[], Any]) -> None:
        if self._closed:
            return
        self._waiting[key] = _Waiting(work, self._clock())
        self._turn.notify()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="errands", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (errand := self._next()) is not None:
            key, work = errand
            result = _done(work)
            with self._turn:
                self._keep(key, _Held(result, self._clock()))
                self.generation += 1

    def _next(self) -> tuple[object, Callable[[], Any]] | None:
        """What is to be done now, as soon as there is something; None at the end."""
        with self._turn:
            self._turn.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            key, waiting = self._waiting.popitem(last=False)
            return key, waiting.work


def _done(work: Callable[[], Any]) -> Any:
    """What came of it."""
    try:
        return work()
    except BondhuError as error:
        return Failed(str(error))
    except Exception:  # of one errand; the thread goes on with the next
        log.exception("Something longer that a page asked for failed.")
        return Failed(UNKNOWN)
