"""The pages of one deployment as an ASGI application: who may look, what is drawn, and what goes with every answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from re import fullmatch
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from bondhu.access import READ, Access
from bondhu.access.acts import Where
from bondhu.dashboard import files
from bondhu.dashboard.layout import status
from bondhu.dashboard.page import DASHBOARD, Asked, Desk, Page
from bondhu.dashboard.web import bare
from bondhu.dashboard.web.acts import Doing, Posted
from bondhu.dashboard.web.drawing import DECISION, VIEWS, Drawn, Kept, drawn, viewed
from bondhu.dashboard.web.failing import DONE, NotTaken, lost, page_of, unforeseen
from bondhu.dashboard.web.live import Watch
from bondhu.dashboard.web.sessions import NOBODY, Session, Sessions, cookie, identities, same_origin
from bondhu.dashboard.web.spreadsheets import csv_of
from bondhu.errors import BondhuError, InvalidInput, NotAllowed, TooManyRequests, Unauthorized, UnknownName, nearest
from bondhu.serve.gateway.staying import Gone, Staying
from bondhu.serve.replies import Message, Receive, Send, refused, request_id, whole

log = logging.getLogger(__name__)
LOGIN, LOGOUT, EVENTS = f"{DASHBOARD}/login", f"{DASHBOARD}/logout", f"{DASHBOARD}/events"
FILES, ACTS = f"{DASHBOARD}/files/", f"{DASHBOARD}/acts/"
LOOKING = ("GET", "HEAD")
FIELDS = 100  # of a query or a form
GONE = 499  # a status that nobody is told any more
DIGITS = 20  # of the number of a change: more are no number of ours
HOST = r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?"
FRESH = 10.0  # seconds for which a page is kept though nothing changes: it says how long ago things were
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
WITH_EVERY_ANSWER = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
FOR_EVER, NEVER = "public, max-age=31536000, immutable", "no-store"


class Visit(NamedTuple):
    """One request, and who sends it."""

    request: Request
    asked: Asked  # by nobody where they may not look
    session: Session | None
    where: Where

    @property
    def part(self) -> bool:
        """Whether a page that is open asks by itself."""
        return "x-part" in self.request.headers

    @property
    def looking(self) -> bool:
        return self.request.method in LOOKING


class Site:
    """The pages of one deployment. Its lifespan has to run."""

    def __init__(self, desk: Desk, access: Access) -> None:
        self.desk, self.name = desk, desk.app.domain.name
        self.watch = Watch(desk)
        self.sessions = Sessions(access, development=desk.app.settings.server.environment == "development")
        self._access = access
        self._kept = Kept()
        self._doing = Doing(desk, access)

    def end(self) -> None:
        """Let nobody wait for what may still change."""
        self.watch.end()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        response = await self._answered(Request(scope, receive))
        for name, value in WITH_EVERY_ANSWER.items():
            response.headers[name] = value
        response.headers.setdefault("cache-control", NEVER)
        await response(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._access.follow()
        await self.watch.look()
        watching = asyncio.create_task(self.watch.work())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.end()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        self._kept.close()
        self._access.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answered(self, request: Request) -> Response:
        """The answer, whatever goes wrong."""
        path, root = request.scope["path"], request.scope.get("root_path", "")
        client = request.client.host if request.client else "unknown"
        where = Where(client, request_id())
        visit = Visit(request, Asked(NOBODY, root, path, host=host_of(request)), None, where)
        try:
            if path.startswith(FILES):
                return file_of(visit)
            visit = self._met(visit)
            return await self._routed(visit)
        except BondhuError as error:
            return await self._failed(visit, error)
        except Exception:
            log.exception("Request %s failed in a way nobody foresaw.", request_id())
            return await self._failed(visit, unforeseen(request_id()))

    def _met(self, visit: Visit) -> Visit:
        """The same, once it is known who it is and what is asked."""
        request, asked = visit.request, visit.asked
        idle = visit.part or asked.path == EVENTS
        session = self.sessions.of(identities(request.scope["headers"]), idle=idle)
        viewer = self.sessions.viewer(session) or NOBODY
        found = {"id": asked.path[len(DECISION) :]} if asked.path.startswith(DECISION) else {}
        query = pairs(request.scope.get("query_string", b""))
        asked = asked._replace(viewer=viewer, query=query, parts={name: each for name, each in found.items() if each})
        return visit._replace(asked=asked, session=session)

    async def _routed(self, visit: Visit) -> Response:
        path = visit.asked.path
        if path == LOGIN:
            return self._form(visit) if visit.looking else await self._log_in(visit)
        if path == LOGOUT or path.startswith(ACTS):
            if visit.looking:
                raise NotTaken("This address takes what a form sends.", fix="Open the page, and send its form.")
            return await (self._log_out if path == LOGOUT else self._do)(visit)
        if READ not in visit.asked.viewer.may:
            return self._way_in(visit)
        if not visit.looking:
            raise NotTaken("This address is looked at, and takes nothing.", fix="Ask for it with GET.")
        if path == EVENTS:
            return self._events(visit)
        if path in (DASHBOARD, f"{DASHBOARD}/"):
            return RedirectResponse(visit.asked.link("/"), 308)
        return await self._shown(visit)

    # ----------------------------------------------------------------------------------------------------------- views

    async def _shown(self, visit: Visit) -> Response:
        """The view, as long as somebody waits for it."""
        try:
            async with Staying(visit.request.receive):
                return await self._view(visit)
        except Gone:
            return Response(status_code=GONE)

    async def _view(self, visit: Visit) -> Response:
        asked = visit.asked
        if asked.path not in VIEWS and "id" not in asked.parts:
            raise lost(asked.path)
        query = {name: value for name, value in asked.query.items() if name not in ("csv", "done")}
        plain = asked._replace(query=query)
        if "csv" in asked.query:
            text = await self._kept.done(partial(self._csv, plain, asked.query["csv"]))
            told = f'attachment; filename="{asked.query["csv"]}.csv"'
            return Response(text, media_type="text/csv", headers={"content-disposition": told})
        done = asked.query.get("done", "")
        moment = self.desk.app.now() // FRESH
        key = (asked.host, asked.root, asked.path, tuple(sorted(query.items())), asked.viewer, done, moment)
        since = self.watch.generation
        return sent(visit, await self._kept.drawn(since, key, partial(self._drawn, plain, done, since)))

    def _drawn(self, asked: Asked, done: str, since: int) -> Drawn:
        page = self._viewed(asked)
        if done in DONE:
            page = replace(page, parts=[status("good", DONE[done]), *page.parts])
        return drawn(self.desk, asked, page, since)

    def _viewed(self, asked: Asked) -> Page:
        page = viewed(self.desk, asked)
        if page is None:
            raise lost(asked.path)
        return page

    def _csv(self, asked: Asked, name: str) -> str:
        charts = self._viewed(asked).charts
        if name not in charts:
            fix = nearest(name, charts)
            raise UnknownName(f"There is no chart {name!r} on this page.", field="csv", value=name, fix=fix)
        return csv_of(charts[name].table)

    def _events(self, visit: Visit) -> Response:
        sent_ids = identities(visit.request.scope["headers"])

        def admitted() -> bool:
            with suppress(TooManyRequests):  # somebody known, who is in a hurry
                return self.sessions.viewer(self.sessions.of(sent_ids, idle=True)) is not None
            return True

        last = visit.request.headers.get("last-event-id") or visit.asked.query.get("since", "")
        known = int(last) if last.isascii() and last.isdigit() and len(last) <= DIGITS else None
        told = self.watch.told(admitted, known)
        if visit.request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return StreamingResponse(told, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    # ------------------------------------------------------------------------------------------------------ who may in

    def _way_in(self, visit: Visit) -> Response:
        """To the form, and from there to where they wanted; no page follows that asks by itself."""
        if visit.part or visit.asked.path == EVENTS or not visit.looking:
            raise Unauthorized("Only who has logged in may look.", fix="Log in with a key of the role reader.")
        return RedirectResponse(visit.asked.link(bare.LOGIN, back=visit.asked.link()), 303)

    def _form(self, visit: Visit, wrong: str = "", status_code: int = 200, back: str | None = None) -> Response:
        back = visit.asked.query.get("back", "") if back is None else back
        return page_sent(bare.login(visit.asked, self.desk, back, wrong), status_code)

    async def _log_in(self, visit: Visit) -> Response:
        request, asked = visit.request, visit.asked
        said = await form(request)
        try:
            if not same_origin(request.headers):
                raise NotAllowed("This was not sent by a page of ours.", fix="Open the form anew, then try again.")
            identity, _ = self.sessions.begin(said.get("key", ""), visit.where.address)
        except (Unauthorized, NotAllowed, TooManyRequests) as error:
            await asyncio.to_thread(self._doing.refused, f"POST {LOGIN}", error, visit.where)
            response = self._form(visit, str(error), error.status, said.get("back", ""))
            return told_when(response, error)
        self.sessions.end(identities(request.scope["headers"]))
        response = RedirectResponse(way_back(asked, said.get("back", "")), 303)
        response.headers["set-cookie"] = cookie(identity, asked.root, secure=secure(request))
        return response

    async def _log_out(self, visit: Visit) -> Response:
        said = await form(visit.request)
        if visit.session is not None:
            if not same_origin(visit.request.headers) or not visit.session.sent(said.get("token", "")):
                raise NotAllowed("This was not sent by a page of yours.", fix="Open the page anew, then try again.")
            self.sessions.end(identities(visit.request.scope["headers"]))
        response = RedirectResponse(visit.asked.link("/"), 303)
        response.headers["set-cookie"] = cookie("", visit.asked.root, secure=secure(visit.request))
        return response

    # ------------------------------------------------------------------------------------------------------------ acts

    async def _do(self, visit: Visit) -> Response:
        act = visit.asked.path[len(ACTS) :]
        said = await form(visit.request)
        done = await self._doing.do(visit.asked, Posted(act, said, visit.request.headers, visit.session, visit.where))
        if isinstance(done, Page):
            return sent(visit, await asyncio.to_thread(drawn, self.desk, visit.asked, done))
        await self.watch.look()
        view = "health" if act == "train" else "releases"
        return RedirectResponse(visit.asked.link(f"{DASHBOARD}/{view}", done=done), 303)

    # ---------------------------------------------------------------------------------------------------------- errors

    async def _failed(self, visit: Visit, error: BondhuError) -> Response:
        """The page of what went wrong: in the frame of the others for whoever may look."""
        page = page_of(visit.asked, error)
        if READ in visit.asked.viewer.may:
            try:
                made = await asyncio.to_thread(drawn, self.desk, visit.asked, page)
                return told_when(sent(visit, made), error)
            except Exception:
                log.exception("Request %s: not even what went wrong could be drawn in full.", request_id())
        return told_when(page_sent(bare.bare(visit.asked, page.title, *page.parts), page.status), error)


def file_of(visit: Visit) -> Response:
    """A style sheet or a script; raises UnknownName."""
    name = visit.asked.path[len(FILES) :]
    if name not in files.NAMES or not visit.looking:
        raise lost(visit.asked.path)
    kept = FOR_EVER if visit.request.query_params.get("v") == files.mark(name) else "no-cache"
    return Response(files.content(name), headers={"content-type": files.kind(name), "cache-control": kept})


def sent(visit: Visit, made: Drawn) -> Response:
    """A page as whoever asks can take it."""
    told = {"content-type": "text/html; charset=utf-8", "vary": "accept-encoding, cookie"}
    if takes_gzip(visit.request.headers.get("accept-encoding", "")):
        return Response(made.small, made.status, {**told, "content-encoding": "gzip"})
    return Response(made.plain, made.status, told)


def page_sent(text: str, status_code: int) -> Response:
    return Response(text.encode("utf-8", "replace"), status_code, media_type="text/html")


def told_when(response: Response, error: BondhuError) -> Response:
    """The same, with when to come again where that is known."""
    for name, value in refused(error)[2]:
        response.headers[name.decode()] = value.decode()
    return response


def takes_gzip(accepted: str) -> bool:
    for each in accepted.split(","):
        name, _, quality = each.partition(";")
        if name.strip().lower() == "gzip":
            return quality.strip().replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def pairs(text: bytes) -> Mapping[str, str]:
    """The last value of each name of a query or a form; raises InvalidInput."""
    try:
        return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True, max_num_fields=FIELDS))
    except ValueError:
        what, fix = f"More than {FIELDS} things are asked at once.", "Ask for fewer."
        raise InvalidInput(what, field="query", fix=fix) from None


async def form(request: Request) -> Mapping[str, str]:
    """What a form says; raises InvalidInput, and TooLarge, TooSlow or Cut."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await whole(request.receive)
    if kind != "application/x-www-form-urlencoded":
        raise InvalidInput("This is not what a form sends.", field="content-type", value=kind, fix="Send a form.")
    return pairs(body)


def secure(request: Request) -> bool:
    """Whether the browser speaks TLS, with this server or with one before it."""
    return request.scope.get("scheme") == "https" or request.headers.get("origin", "").startswith("https://")


def host_of(request: Request) -> str:
    """The name and port by which the server was asked, to be shown in commands; "" where it is no such thing."""
    host: str = request.headers.get("host", "")
    return host if fullmatch(HOST, host) else ""


def way_back(asked: Asked, address: str) -> str:
    """An address to go to after logging in: a view of this dashboard and nothing else; default: the first one."""
    path, _, query = address.partition("?")
    view = unquote(path[len(asked.root) :]) if path.startswith(f"{asked.root}/") else "/"
    climbs = {".", ".."} & set(view.split("/"))  # a browser would leave the view by these
    if climbs or (view not in VIEWS and not view.startswith(DECISION)):
        return asked.link("/")
    return asked.link(view, **dict(pairs(query.encode("utf-8", "replace"))))
