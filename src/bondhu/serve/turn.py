"""What arrives during one turn of the event loop, done together: no timer, and nobody waits for more to come.

One call for many costs little more than one call for one. Each item still gets its own result, or its own error: where
the call for all fails because of one of them, each is done for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from bondhu.errors import StoreError

Item = TypeVar("Item")
Done = TypeVar("Done")
Result = TypeVar("Result")
Group = Sequence[tuple[Item, "asyncio.Future[Result]"]]  # items, and who waits for each


class Turn(Generic[Item, Done, Result]):
    """Collects items until the event loop comes round, then hands all of them to `work`.

    `work` begins at once and returns a future; it may raise. Of what comes of it `tell` makes a result for each item,
    in their order. Several event loops may call: each has groups of its own.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], asyncio.Future[Done]],
        tell: Callable[[list[Item], Done], Sequence[Result]],
    ) -> None:
        self._work, self._tell = work, tell
        self._gathered: dict[asyncio.AbstractEventLoop, list[tuple[Item, asyncio.Future[Result]]]] = {}

    def __call__(self, item: Item) -> asyncio.Future[Result]:
        """A future of this item's own result."""
        loop = asyncio.get_running_loop()
        own: asyncio.Future[Result] = loop.create_future()
        group = self._gathered.get(loop)
        if group is None:
            self._gathered[loop] = [(item, own)]
            loop.call_soon(self._begin, loop)
        else:
            group.append((item, own))
        return own

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Everything that was ready in this turn has been gathered."""
        self._start(self._gathered.pop(loop))

    def _start(self, group: Group[Item, Result]) -> None:
        items = [item for item, _ in group]
        try:
            done = self._work(items)
        except Exception as error:
            self._failed(group, error)
            return
        if done.done():
            self._finish(group, items, done)
        else:
            done.add_done_callback(partial(self._finish, group, items))

    def _finish(self, group: Group[Item, Result], items: list[Item], done: asyncio.Future[Done]) -> None:
        """Hand out the results."""
        if done.cancelled():
            self._failed(group, StoreError("The work was cut off.", fix="Send it again."))
        elif (error := done.exception()) is not None:
            self._failed(group, error)
        else:
            for (_, own), result in zip(group, self._tell(items, done.result()), strict=True):
                if not own.done():  # who asked may have gone
                    own.set_result(result)

    def _failed(self, group: Group[Item, Result], error: BaseException) -> None:
        """One alone is told what went wrong. Of many, each may be the one at fault, unless it is the store."""
        if len(group) > 1 and not isinstance(error, StoreError):
            for each in group:
                self._start([each])
            return
        for _, own in group:
            if not own.done():
                own.set_exception(error)
