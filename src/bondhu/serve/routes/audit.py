"""The audit log over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Response

from bondhu.access import ADMINISTER
from bondhu.serve.openapi import REFUSALS, failures, listed
from bondhu.serve.parts import Parts
from bondhu.serve.replies import needs, told

AUDIT = "/api/v1/admin/audit"
MOST = 1_000  # entries at a time


def routes(api: FastAPI, parts: Parts) -> None:
    @api.get(
        AUDIT,
        summary="Every administrative act, oldest first",
        dependencies=[Depends(needs(parts.access, ADMINISTER, act=False))],
        responses={"200": listed("acts"), **failures({**REFUSALS, 422: "Not a number"})},
        response_class=Response,
    )
    def audit(
        after: Annotated[int, Query(ge=0, le=2**53)] = 0, limit: Annotated[int, Query(ge=1, le=MOST)] = MOST
    ) -> Response:
        return told({"acts": [{"seq": e.seq, "time": e.time, **e.body} for e in parts.acts.after(after, limit)]})
