"""Acts: who may, once more than asked, noted in the audit log before anybody is told what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from bondhu.access import OPERATE, Access, Caller
from bondhu.access.acts import Acts, Where
from bondhu.dashboard.page import Asked, Desk, Page
from bondhu.dashboard.web.confirming import checked, confirmation, reason_of
from bondhu.dashboard.web.sessions import Session, same_origin
from bondhu.errors import BondhuError, InvalidInput, NotAllowed, Unauthorized
from bondhu.serve.messages import Order
from bondhu.serve.replies import UNKNOWN
from bondhu.server.administration import Administration

log = logging.getLogger(__name__)
WHAT = "POST /dashboard/acts/{act}"
AT_ONCE = 1.0  # seconds that a training has to come to its end, or fail, before its outcome is told elsewhere
TOLD = ("version", "over", "unproven", "reason")  # of a form, for the audit log


class Posted(NamedTuple):
    """A form that was sent."""

    act: str
    said: Mapping[str, str]
    headers: Mapping[str, str]
    session: Session | None
    where: Where


class Doing:
    """Does what operators ask for."""

    def __init__(self, desk: Desk, access: Access) -> None:
        self._desk, self._access = desk, access
        self._operations = Administration(desk.app)
        self._acts = Acts(desk.app.ledger, desk.app.domain.name, desk.app.now)
        self._under_way: set[asyncio.Task[Mapping[str, Any]]] = set()

    async def do(self, asked: Asked, posted: Posted) -> Page | str:
        """The page that asks once more, or, once it is done, what was done (`failing.DONE`). Raises BondhuError."""
        caller, arguments = UNKNOWN, {"act": posted.act}
        try:
            if posted.session is not None:
                caller = posted.session.caller
            caller = self._admitted(posted)
            said = await asyncio.to_thread(checked, self._desk.app, posted.act, posted.said)
            if posted.said.get("confirmed") != "yes":
                return await asyncio.to_thread(confirmation, self._desk, asked, posted.act, said)
            if posted.act != "train":
                try:
                    said["reason"] = reason_of(posted.said)
                except InvalidInput as error:
                    return await asyncio.to_thread(confirmation, self._desk, asked, posted.act, said, str(error))
            arguments |= {name: said[name] for name in TOLD if name in said}
            status, done = await self._done(posted.act, said, caller)
        except Exception as error:
            status = error.status if isinstance(error, BondhuError) else 500
            await self._noted(caller, arguments, status, posted.where)
            raise
        await self._noted(caller, arguments, status, posted.where)
        return done

    def _admitted(self, posted: Posted) -> Caller:
        """Who asks; raises Unauthorized, NotAllowed, TooManyRequests."""
        if posted.session is None:
            raise Unauthorized("Only who has logged in may do this.", fix="Log in with a key of the role operator.")
        caller = self._access.admit(posted.session.headers, OPERATE)
        if not same_origin(posted.headers) or not posted.session.sent(posted.said.get("token", "")):
            raise NotAllowed("This was not sent by a page of yours.", fix="Open the page anew, then try again.")
        return caller

    async def _noted(self, caller: Caller, arguments: Mapping[str, str], status: int, where: Where) -> None:
        await asyncio.to_thread(self._acts.note, caller, WHAT, arguments, status, where)

    def refused(self, what: str, error: BondhuError, where: Where) -> None:
        """Note that somebody whom nobody knows was refused."""
        self._acts.note(UNKNOWN, what, {}, error.status, where)

    async def _done(self, act: str, said: Mapping[str, str], caller: Caller) -> tuple[int, str]:
        """The status, and what was done."""
        if act == "train":
            return await self._train()
        over = said["over"] if act == "promote" else None
        order = Order(said["reason"], said.get("version"), over, bool(said.get("unproven")))
        await asyncio.to_thread(self._operations.act, act, order, caller.name)
        return 200, act

    async def _train(self) -> tuple[int, str]:
        """Begin; what comes of it later stands among the tasks."""
        work = asyncio.create_task(asyncio.to_thread(self._operations.train))
        self._under_way.add(work)
        work.add_done_callback(self._trained)
        await asyncio.wait({work}, timeout=AT_ONCE)
        return (200, str(work.result()["status"])) if work.done() else (202, "training")

    def _trained(self, work: asyncio.Task[Mapping[str, Any]]) -> None:
        self._under_way.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            foreseen = isinstance(error, BondhuError)
            log.error("A training that was asked for failed: %s", error, exc_info=None if foreseen else error)
