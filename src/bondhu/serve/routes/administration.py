"""Training on request and the health of the system. They run in threads: a training must not stop decisions."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Response

from bondhu.access import OPERATE, READ
from bondhu.serve.openapi import REFUSALS, failures, something
from bondhu.serve.parts import Parts
from bondhu.serve.replies import needs, told
from bondhu.serve.routes.public import standing


def routes(api: FastAPI, parts: Parts) -> None:
    @api.post(
        "/api/v1/admin/tasks/rl-training/trigger",
        summary="Train now",
        dependencies=[Depends(needs(parts.access, OPERATE))],
        responses={"200": something("What came of it"), **failures({**REFUSALS, 409: "Training already"})},
        response_class=Response,
    )
    def train() -> Response:
        return told(parts.operations.train())

    @api.get(
        "/api/v1/admin/system/health",
        summary="Scheduled jobs, stores, and the version in force",
        dependencies=[Depends(needs(parts.access, READ))],
        responses={"200": something("How it stands"), **failures(REFUSALS)},
        response_class=Response,
    )
    def system() -> Response:
        waiting = {"waiting_to_be_written": parts.writer.waiting}
        return told({**standing(parts.decider), **waiting, **parts.operations.health()})
