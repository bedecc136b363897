"""Hears feedback off the hot path, wherever it comes from: each is stored or refused for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from bondhu.errors import BondhuError, InvalidInput, NotAllowed
from bondhu.serve.decide import Decider
from bondhu.serve.messages import Heard, Said, problem
from bondhu.serve.writing import Writer
from bondhu.types import Feedback


async def hear(decider: Decider, writer: Writer, said: Sequence[Said]) -> list[Heard]:
    """What became of each, once it is committed. Raises StoreError where nothing can be stored now."""
    judged = await asyncio.to_thread(lambda: [_judged(decider, each) for each in said])
    good = [feedback for feedback, _ in judged if feedback is not None]
    failed: dict[int, BondhuError] = {}
    try:
        await writer.submit([], good)
    except InvalidInput:  # one of them is at fault: each for itself
        outcomes = await asyncio.gather(*(writer.submit([], [each]) for each in good), return_exceptions=True)
        failed = {id(row): each for row, each in zip(good, outcomes, strict=True) if isinstance(each, InvalidInput)}
        for each in outcomes:
            if isinstance(each, BaseException) and not isinstance(each, InvalidInput):
                raise each from None
    return [refusal(told, failed[id(row)]) if id(row) in failed else told for row, told in judged]


def _judged(decider: Decider, said: Said) -> tuple[Feedback | None, Heard]:
    """The feedback to log and what to tell of it, or None and why it is refused."""
    try:
        feedback = decider.checked(said)
        status = decider.standing(feedback.decision_id, said.user, said.replaces)
        return feedback, Heard(feedback.id, feedback.decision_id, status)
    except (InvalidInput, NotAllowed) as error:
        return None, refusal(said, error)


def refusal(row: Said | Heard, error: BondhuError) -> Heard:
    return Heard(row.id, row.decision_id, "refused", msgspec.to_builtins(problem(error)))
