"""The HTTP interface as an ASGI application: hot routes in front, a FastAPI application for the rest behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Protocol

import msgspec
from fastapi import Depends, FastAPI, Response
from fastapi.requests import Request
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException

from bondhu import __version__
from bondhu.errors import BondhuError, NotAllowed
from bondhu.serve.auth import same_key
from bondhu.serve.decide import Decider
from bondhu.serve.hot import Application, Hot, encode, refused
from bondhu.serve.messages import Audit, Malformed, Order, Problem, Refusal, mistake
from bondhu.serve.openapi import answered, content, document, failures
from bondhu.serve.writer import Writer

HEADER = APIKeyHeader(name="X-Admin-Key", auto_error=False)
log = logging.getLogger(__name__)


class Operations(Protocol):
    """What an administrator can ask for; the app provides it."""

    def train(self) -> Mapping[str, Any]:
        """Run or queue a training and say what came of it; may raise TrainingInProgress."""

    def releases(self) -> Mapping[str, Any]:
        """Who decides for whom, every version, and the history."""

    def verdicts(self, version: str | None) -> Mapping[str, Any]:
        """What the gate said of a version, or of all of them."""

    def act(self, action: str, order: Order) -> Mapping[str, Any]:
        """Release, promote, roll back, withdraw or stop; may raise Conflict. Returns `releases`."""

    def health(self) -> Mapping[str, Any]:
        """`scheduled_jobs`, the state of the stores, and whatever else an operator wants to see."""


def create_app(decider: Decider, *, operations: Operations, admin_key: str) -> Application:
    """The whole interface of one deployment."""
    writer = Writer(decider.commit)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        writer.start()
        yield
        await asyncio.to_thread(writer.close)  # the loop must run on: it hands out what is being written

    api = FastAPI(title="Bondhu", version=__version__, lifespan=lifespan, openapi_url=None, docs_url=None)
    for kind in (BondhuError, HTTPException, Exception):
        api.add_exception_handler(kind, failed)
    public(api, decider)
    admin(api, decider, writer, operations, admin_key)
    described = encode(document(api.openapi(), decider.deployment.domain))

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(described, media_type="application/json")

    return Hot(api, decider, writer)


def public(api: FastAPI, decider: Decider) -> None:
    """Routes without a key."""

    @api.get("/", summary="What this is", response_class=Response)
    async def root() -> Response:
        links = {"openapi": "/openapi.json", "health": "/health", "decide": "/v1/decide", "feedback": "/v1/feedback"}
        return told(
            {"name": "bondhu", "version": __version__, "domain": decider.deployment.domain.name, "links": links}
        )

    @api.get("/health", summary="Whether the server decides with the version in force", response_class=Response)
    async def health() -> Response:
        return told(standing(decider))

    missing = failures({404: "No such decision", 503: "Busy: try again"})
    found = {"200": answered("The audit record", Audit), **missing}

    @api.get(
        "/v1/decisions/{decision_id:path}", summary="Why a decision was made", responses=found, response_class=Response
    )
    def decision(decision_id: str) -> Response:
        return told(decider.explain(decision_id))


def admin(api: FastAPI, decider: Decider, writer: Writer, operations: Operations, key: str) -> None:
    """Routes for administrators. They run in threads: a training must not stop decisions."""

    def allowed(request: Request, given: Annotated[str | None, Depends(HEADER)]) -> None:
        if not same_key(given, key):
            address = request.client.host if request.client else "an unknown address"
            log.warning("%s asked for %s without the right X-Admin-Key.", address, request.url.path)
            raise NotAllowed("This needs an administrator's key.", fix="Send it as the header X-Admin-Key.")

    guarded = [Depends(allowed)]
    refusals = {403: "Wrong or no key"}

    @api.post(
        "/api/v1/admin/tasks/rl-training/trigger",
        summary="Train now",
        dependencies=guarded,
        responses=failures({**refusals, 409: "Training already"}),
        response_class=Response,
    )
    def trigger() -> Response:
        return told(operations.train())

    @api.get(
        "/api/v1/admin/system/health",
        summary="Scheduled jobs, stores, and the version in force",
        dependencies=guarded,
        responses=failures(refusals),
        response_class=Response,
    )
    def health() -> Response:
        return told({**standing(decider), "waiting_to_be_written": writer.waiting, **operations.health()})

    releases(api, operations, guarded)


def releases(api: FastAPI, operations: Operations, guarded: Sequence[Any]) -> None:
    """Routes that show and move versions."""
    refusals = failures({403: "Wrong or no key", 404: "No such version", 409: "The versions stand otherwise"})
    shown: dict[str, Any] = {"dependencies": guarded, "responses": refusals, "response_class": Response}

    @api.get("/api/v1/admin/releases", summary="Who decides for whom, and how it came so", **shown)
    def history() -> Response:
        return told(operations.releases())

    @api.get("/api/v1/admin/verdicts", summary="What the gate said, with every figure", **shown)
    def verdicts(version: str | None = None) -> Response:
        return told(operations.verdicts(version))

    taken = {"requestBody": {"required": True, "content": content(Order, {"reason": "the weekly release"})}}

    @api.post(
        "/api/v1/admin/releases/{action}",
        summary="Release, promote, rollback, withdraw or stop",
        openapi_extra=taken,
        **shown,
    )
    async def act(action: str, request: Request) -> Response:
        order = ordered(await request.body())
        return told(await asyncio.to_thread(operations.act, action, order))


def ordered(body: bytes) -> Order:
    """The order that a body holds; raises InvalidInput."""
    try:
        return msgspec.json.decode(body, type=Order)
    except msgspec.ValidationError as error:
        raise mistake(error, Order) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not JSON that can be read: {error}.", fix="Send one JSON object.") from None


def standing(decider: Decider) -> dict[str, Any]:
    """Which version acts, and what is wrong with it."""
    version = decider.live.acting(decider.now()).version
    return {
        "status": "degraded" if decider.live.problem else "ok",
        "live_version": version,
        "problem": decider.live.problem,
    }


def told(answer: msgspec.Struct | Mapping[str, Any], status: int = 200) -> Response:
    return Response(encode(answer), status, media_type="application/json")


async def failed(request: Request, error: Exception) -> Response:
    """Every error in the one shape."""
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        what = f"{request.method} {request.url.path} is not a route of this server."
        body = Refusal(Problem(code, what, fix="The routes are listed in /openapi.json."))
        return Response(encode(body), error.status_code, error.headers, "application/json")
    status, refusal, headers = refused(error)
    named = {name.decode(): value.decode() for name, value in headers}
    return Response(encode(refusal), status, named, "application/json")
