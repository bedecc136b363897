"""What anybody may see, and the audit record of one decision."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI, Response

from bondhu import __version__
from bondhu.access import EXPLAIN
from bondhu.errors import UnknownName
from bondhu.serve.decide import Decider
from bondhu.serve.messages import LONGEST_ID, Audit
from bondhu.serve.openapi import REFUSALS, answered, failures, something
from bondhu.serve.parts import Parts
from bondhu.serve.replies import needs, told


def routes(api: FastAPI, parts: Parts) -> None:
    decider = parts.decider

    public: dict[str, Any] = {"responses": {"200": something("What it is"), **failures({})}, "response_class": Response}

    @api.get("/", summary="What this is", **public)
    async def root() -> Response:
        links = {"openapi": "/openapi.json", "health": "/health", "decide": "/v1/decide", "feedback": "/v1/feedback"}
        return told(
            {"name": "bondhu", "version": __version__, "domain": decider.deployment.domain.name, "links": links}
        )

    @api.get("/health", summary="Whether the server decides with the version in force", **public)
    def health() -> Response:  # in a thread: it follows the versions, which may load one
        return told(standing(decider))

    missing = failures({**REFUSALS, 404: "No such decision", 503: "Busy: try again"})

    @api.get(
        "/v1/decisions/{decision_id:path}",
        summary="Why a decision was made",
        dependencies=[Depends(needs(parts.access, EXPLAIN))],
        responses={"200": answered("The audit record", Audit), **missing},
        response_class=Response,
    )
    def decision(decision_id: str) -> Response:
        # An id that nothing can be stored under is not looked for: PostgreSQL, for one, has no text with a NUL in it.
        if not decision_id.isprintable() or len(decision_id) > LONGEST_ID:
            what, fix = f"No decision {decision_id[:LONGEST_ID]!r}.", "Ask with the id it came with."
            raise UnknownName(what, field="id", value=decision_id, fix=fix)
        return told(decider.explain(decision_id))


def standing(decider: Decider) -> dict[str, Any]:
    """Which version acts, and what is wrong with it."""
    version = decider.live.acting(decider.now()).version
    return {
        "status": "degraded" if decider.live.problem else "ok",
        "live_version": version,
        "problem": decider.live.problem,
    }
