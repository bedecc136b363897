"""Routes that make, show, replace and revoke API keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import Depends, FastAPI, Response
from fastapi.requests import Request

from bondhu.access import ADMINISTER
from bondhu.access.admission import Keys
from bondhu.access.keys import Made, Ring, Wanted, of
from bondhu.serve.messages import MadeKey, NewKey, Rotation
from bondhu.serve.openapi import REFUSALS, TAKES_JSON, answered, content, failures, listed
from bondhu.serve.parts import Parts
from bondhu.serve.replies import decoder, needs, told

KEYS = "/api/v1/admin/keys"
EXAMPLE = {
    "text": "bd_0123456789ab_THE-SECRET",
    "key": {
        **{"id": "0123456789ab", "name": "shop front", "role": "app", "domain": "shop", "created": 1.8e9},
        **{"by": "administrator", "status": "good"},
    },
}
MISSING = {404: "No such key"}


def routes(api: FastAPI, parts: Parts) -> None:
    shown(api, parts)
    made(api, parts)


def shown(api: FastAPI, parts: Parts) -> None:
    """The routes that show and end keys."""
    now = parts.decider.now

    @api.get(
        KEYS,
        summary="The API keys, without their secrets",
        dependencies=[Depends(needs(parts.access, ADMINISTER, act=False))],
        responses={"200": listed("keys"), **failures(REFUSALS)},
        response_class=Response,
    )
    def keys(request: Request) -> Response:
        found = of(request.state.caller, parts.ledger).keys().values()
        return told({"keys": [each.told(now()) for each in found]})

    @api.delete(
        KEYS + "/{identity}",
        summary="Revoke an API key: it is good for nothing within a second",
        dependencies=[Depends(needs(parts.access, ADMINISTER))],
        responses={"200": listed("key", "object"), **failures({**REFUSALS, **MISSING})},
        response_class=Response,
    )
    def revoke_key(identity: str, request: Request) -> Response:
        caller = request.state.caller
        revoked = of(caller, parts.ledger).revoke(identity, caller.name, now())
        counts_now(parts)
        return told({"key": revoked.told(now())})


def made(api: FastAPI, parts: Parts) -> None:
    """The routes that make keys."""
    domain, now = parts.decider.deployment.domain.name, parts.decider.now
    good: dict[Any, dict[str, Any]] = {"200": answered("The new key, with its text", MadeKey, EXAMPLE)}
    fresh, rotation = decoder(NewKey), decoder(Rotation)

    @api.post(
        KEYS,
        summary="Make an API key",
        dependencies=[Depends(needs(parts.access, ADMINISTER))],
        responses={**good, **failures({**REFUSALS, **TAKES_JSON})},
        response_class=Response,
        openapi_extra=taking(NewKey, {"name": "shop front", "role": "app"}),
    )
    async def create_key(request: Request) -> Response:
        asked, caller = fresh(await request.body()), request.state.caller
        whose = None if asked.everywhere else domain
        wanted = Wanted(asked.name, asked.role, whose, asked.days, asked.rate)
        ring: Ring = of(caller, parts.ledger)
        return await once(parts, lambda: ring.create(wanted, caller.name, now()))

    @api.post(
        KEYS + "/{identity}/rotate",
        summary="Replace an API key; the old one is good for a while longer",
        dependencies=[Depends(needs(parts.access, ADMINISTER))],
        responses={**good, **failures({**REFUSALS, **TAKES_JSON, **MISSING})},
        response_class=Response,
        openapi_extra=taking(Rotation, {"grace": 3600}),
    )
    async def rotate_key(identity: str, request: Request) -> Response:
        grace, caller = rotation(await request.body()).grace, request.state.caller
        ring: Ring = of(caller, parts.ledger)
        return await once(parts, lambda: ring.rotate(identity, caller.name, now(), grace=grace))


async def once(parts: Parts, make: Callable[[], Made]) -> Response:
    """A new key with its text, which is nowhere else; it counts in this process at once, in others within a second."""
    new = await asyncio.to_thread(make)
    await asyncio.to_thread(counts_now, parts)
    return told(MadeKey(new.text, new.key.told(new.key.created)))


def counts_now(parts: Parts) -> None:
    """Take up what was just noted, in this process."""
    if isinstance(parts.access, Keys):
        parts.access.refresh()


def taking(shape: Any, example: Any) -> dict[str, Any]:
    """What the OpenAPI document says of a body."""
    return {"requestBody": {"required": True, "content": content(shape, example)}}
