"""The HTTP interface as an ASGI application: hot routes in front, a FastAPI application for the rest behind them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.requests import Request
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from bondhu import __version__
from bondhu.errors import BondhuError
from bondhu.serve.beside import running
from bondhu.serve.direct import Direct
from bondhu.serve.forgetting import erasures
from bondhu.serve.forwarding import Before
from bondhu.serve.gateway.application import CHAT, Chats
from bondhu.serve.gateway.description import described as gateway_paths
from bondhu.serve.gateway.responses import RESPONSES
from bondhu.serve.guard import Guard, Slower
from bondhu.serve.hot import Hot
from bondhu.serve.openapi import document
from bondhu.serve.parts import Parts
from bondhu.serve.replies import Application, Needs, encode, failed
from bondhu.serve.routes import administration, audit, health, keys, people, personalizer, public, releases, webhooks
from bondhu.serve.routes.health import gauges

ROUTES = (
    public.routes,
    health.routes,
    webhooks.routes,
    administration.routes,
    releases.routes,
    keys.routes,
    audit.routes,
    people.routes,
    personalizer.routes,
)


def create_app(parts: Parts) -> Application:
    """The whole interface of one deployment."""
    return interface(parts).app


class Interface(NamedTuple):
    """An application, and the shorter way to its hot routes."""

    app: Application
    direct: Direct | None


def interface(parts: Parts) -> Interface:
    """The same for a server that knows the shorter way."""
    api = cold(parts)
    description = described(api, parts)

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return Response(encode({**description, "servers": [{"url": root or "/"}]}), media_type="application/json")

    behind: Application = Slower(api, parts.acts, parts.meter)
    behind = Before(behind, parts.pages, parts.meter) if parts.pages else behind
    hot = Hot(Chats(behind, parts.gateway, parts) if parts.gateway else behind, parts)
    own = frozenset({CHAT, RESPONSES}) if parts.gateway else frozenset[str]()
    return Interface(Guard(hot, parts.limits, parts.meter, own), Direct(hot, parts.limits))


def cold(parts: Parts) -> FastAPI:
    """Every route but the hot ones, and what runs beside them."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        parts.access.follow()
        await parts.writer.start()
        consumers = parts.streams(parts.decider, parts.writer)
        async with running([*consumers, partial(gauges, parts), partial(erasures, parts)]):
            yield
        await parts.writer.close()
        parts.access.close()
        if parts.pages:
            await parts.pages.close()

    api = FastAPI(
        title="Bondhu",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        generate_unique_id_function=operation_id,
        redirect_slashes=False,  # a redirect would name whatever host the request claims
    )
    for kind in (BondhuError, HTTPException, RequestValidationError, Exception):
        api.add_exception_handler(kind, failed)
    for routes in ROUTES:
        routes(api, parts)
    return api


def described(api: FastAPI, parts: Parts) -> dict[str, Any]:
    """The OpenAPI document of all routes."""
    domain, required = parts.decider.deployment.domain, parts.access.required
    more = gateway_paths(parts.gateway is not None)
    return document(api.openapi(), domain, permissions(api), keys=required, more=more)


def operation_id(route: APIRoute) -> str:
    """The function's name, which generated clients call their methods by; the Personalizer's many routes share one."""
    if route.name != "answer":
        return route.name
    words = re.findall("[a-zA-Z0-9]+", route.path_format)
    return "_".join([*(each.lower() for each in sorted(route.methods or ())), *words])


def permissions(api: FastAPI) -> dict[tuple[str, str], str]:
    """What each route needs, by method and path."""
    found = {}
    for route in api.routes:
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                for each in route.dependencies:
                    if isinstance(each.dependency, Needs):
                        found[method, route.path_format] = each.dependency.permission
    return found
