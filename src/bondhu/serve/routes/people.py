"""The route that erases a person."""

from __future__ import annotations

import asyncio

from fastapi import Depends, FastAPI, Response
from fastapi.requests import Request

from bondhu.access import ADMINISTER
from bondhu.serve.openapi import REFUSALS, failures, something
from bondhu.serve.parts import Parts
from bondhu.serve.replies import needs, told

MEANING = (
    "From the log, its archives and exports, and from memory; versions that learned from them are marked, and those in"
    " use are trained again without them. Of somebody unknown the certificate says zero."
)


def routes(api: FastAPI, parts: Parts) -> None:
    @api.delete(
        "/v1/users/{user:path}",
        summary="Erase a person",
        description=MEANING,
        dependencies=[Depends(needs(parts.access, ADMINISTER))],
        responses={
            "200": something("The certificate"),
            **failures({**REFUSALS, 409: "Somebody trains: try again", 422: "No name", 503: "Busy: try again"}),
        },
        response_class=Response,
    )
    async def erase_user(user: str, request: Request) -> Response:
        await parts.writer.submit([])  # what was waiting to be written before this is in the log now
        by = request.state.caller.name
        return told(await asyncio.to_thread(parts.operations.erase, user, by, parts.decider.forget))
