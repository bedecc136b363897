"""Routes that show and move versions."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Depends, FastAPI, Response
from fastapi.requests import Request

from bondhu.access import OPERATE, READ
from bondhu.serve.messages import Order
from bondhu.serve.openapi import REFUSALS, TAKES_JSON, content, failures, something
from bondhu.serve.parts import Parts
from bondhu.serve.replies import decoder, needs, told


def routes(api: FastAPI, parts: Parts) -> None:
    operations = parts.operations
    refusals = failures({**REFUSALS, **TAKES_JSON, 404: "No such version", 409: "The versions stand otherwise"})
    shown: dict[str, Any] = {
        "responses": {"200": something("How the versions stand"), **refusals},
        "response_class": Response,
    }
    read = [Depends(needs(parts.access, READ))]

    @api.get("/api/v1/admin/releases", summary="Who decides for whom, and how it came so", dependencies=read, **shown)
    def releases() -> Response:
        return told(operations.releases())

    @api.get("/api/v1/admin/verdicts", summary="What the gate said, with every figure", dependencies=read, **shown)
    def verdicts(version: str | None = None) -> Response:
        return told(operations.verdicts(version))

    taken = {"requestBody": {"required": True, "content": content(Order, {"reason": "the weekly release"})}}
    ordered = decoder(Order)

    @api.post(
        "/api/v1/admin/releases/{action}",
        summary="Release, promote, rollback, withdraw or stop",
        openapi_extra=taken,
        dependencies=[Depends(needs(parts.access, OPERATE))],
        **shown,
    )
    async def move(action: str, request: Request) -> Response:
        order = ordered(await request.body())
        return told(await asyncio.to_thread(operations.act, action, order, request.state.caller.name))
