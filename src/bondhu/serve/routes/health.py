"""Whether the process lives, whether it should be sent requests, and what it counts."""

from __future__ import annotations

import asyncio
import logging
import resource
from pathlib import Path

from fastapi import Depends, FastAPI, Response

from bondhu.access import READ
from bondhu.errors import BondhuError
from bondhu.serve.openapi import REFUSALS, failures
from bondhu.serve.parts import Parts
from bondhu.serve.replies import needs, told

log = logging.getLogger(__name__)
PATIENCE = 2.0  # seconds for the store to answer
TICK = 1.0  # seconds between two looks at the gauges
PAGE = resource.getpagesize()  # bytes
CANNOT_STORE = "What was asked and said a moment ago could not be stored."
NOWHERE = "readiness"  # a decision that nobody has made


def routes(api: FastAPI, parts: Parts) -> None:
    @api.head("/healthz", include_in_schema=False)  # as load balancers ask
    @api.get("/healthz", summary="Whether the process lives", response_class=Response)
    async def alive() -> Response:
        return told({"status": "ok"})

    @api.head("/readyz", include_in_schema=False)
    @api.get(
        "/readyz",
        summary="Whether decisions and feedback would be answered now",
        responses={503: {"description": "Send requests elsewhere"}},
        response_class=Response,
    )
    async def ready() -> Response:
        troubles = await wrong(parts)
        status = "ready" if not troubles else "not ready"
        return told({"status": status, "troubles": troubles}, 503 if troubles else 200)

    @api.get(
        "/metrics",
        summary="Counters and gauges of all workers, as Prometheus reads them",
        dependencies=[Depends(needs(parts.access, READ))],
        responses={"200": {"content": {"text/plain": {"schema": {"type": "string"}}}}, **failures(REFUSALS)},
        response_class=Response,
    )
    def metrics() -> Response:
        version = parts.decider.live.acting(parts.decider.now()).version
        return Response(parts.meter.text(version, parts.decider.deployment.domain.name), media_type=parts.meter.kind)


async def wrong(parts: Parts) -> list[str]:
    """Why a decision asked for now would not be answered, or not by the version in force; empty where all is well. For
    strangers: the log, and /api/v1/admin/system/health, say more."""
    known = [("The version in force cannot act.", parts.decider.live.problem), (CANNOT_STORE, parts.writing.trouble)]
    troubles = [what for what, trouble in known if trouble]
    looked = asyncio.to_thread(parts.decider.deployment.log.find, NOWHERE)
    for name, asked in (("The log", looked), ("The writer", written(parts))):
        try:
            await asyncio.wait_for(asked, PATIENCE)
        except TimeoutError:
            troubles.append(f"{name} has not answered for {PATIENCE:g} s.")
        except BondhuError as error:
            log.warning("Not ready: %s", error)
            troubles.append(f"{name} cannot be used.")
    return troubles


async def written(parts: Parts) -> None:
    """Have nothing committed: whoever writes has to answer for that too."""
    await parts.writer.submit([])


async def gauges(parts: Parts) -> None:
    """Every second, how things stand in this process."""
    clock = asyncio.get_running_loop().time
    while True:
        asked = clock()
        await asyncio.sleep(TICK)
        parts.meter.set(
            rows_waiting=parts.writer.waiting,
            loop_lag_seconds=max(0.0, clock() - asked - TICK),
            resident_bytes=resident(),
            degraded=float(parts.decider.live.problem is not None),
        )


def resident() -> float:
    """Bytes of memory in use, shared pages included; 0 where the system does not tell."""
    try:
        return float(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE
    except OSError:
        return 0.0
