"""What was erased by another process is forgotten here too."""

from __future__ import annotations

import asyncio
import logging

from bondhu.errors import BondhuError
from bondhu.ports import ERASURE
from bondhu.serve.parts import Parts

LOOK = 3.0  # seconds between two looks at the ledger
log = logging.getLogger(__name__)


async def erasures(parts: Parts, look: float = LOOK) -> None:
    """Every few seconds: whether somebody was erased. A certificate does not say who, so nothing stays in memory."""
    domain, seen = parts.decider.deployment.domain.name, 0
    while True:
        try:
            new = await asyncio.to_thread(parts.ledger.entries, ERASURE, domain, after=seen)
            if new:
                seen = new[-1].seq
                parts.decider.forget_all()
        except BondhuError as error:
            log.error("The ledger could not be asked who was erased: %s", error)
        await asyncio.sleep(look)
