"""Feedback that other services push, signed as Standard Webhooks; delivered again, it counts once."""

from __future__ import annotations

import msgspec
from fastapi import FastAPI, Response
from fastapi.requests import Request

from bondhu.access.signatures import verified
from bondhu.serve.hearing import hear
from bondhu.serve.messages import HeardMany, Said, SaidMany
from bondhu.serve.openapi import ID, answered, content, failures
from bondhu.serve.parts import Parts
from bondhu.serve.replies import decoder, told
from bondhu.types import SESSION_END


def routes(api: FastAPI, parts: Parts) -> None:
    """The route, where a key is set."""
    if parts.webhook is None:
        return
    signal = next(iter(parts.decider.deployment.domain.reward.signals), SESSION_END)
    webhook, read = parts.webhook, decoder(SaidMany)
    example = {"feedback": [{"decision_id": ID, "signal": signal, "value": 1.0}]}
    refusals = failures({400: "Not JSON", 401: "Not signed, or too long ago", 413: "Too large", 422: "Not this shape"})
    named = ("webhook-id", "webhook-timestamp", "webhook-signature")
    headers = [{"name": each, "in": "header", "required": True, "schema": {"type": "string"}} for each in named]
    described = {"requestBody": {"required": True, "content": content(SaidMany, example)}, "parameters": headers}

    @api.post(
        "/v1/webhooks/feedback",
        summary="Feedback signed by another service",
        openapi_extra=described,
        responses={"200": answered("What became of each", HeardMany), **refusals},
        response_class=Response,
    )
    async def webhook_feedback(request: Request) -> Response:
        body = await request.body()
        now = parts.decider.now()
        identity = verified(request.headers, body, webhook.key, now=now, tolerance=webhook.tolerance)
        said = [identified(each, f"webhook:{identity}:{place}") for place, each in enumerate(read(body).feedback)]
        return told(HeardMany(await hear(parts.decider, parts.writer, said)))


def identified(said: Said, identity: str) -> Said:
    """With the message's id where it names none, so that the same message counts once."""
    return said if said.id is not None else msgspec.structs.replace(said, id=identity)
