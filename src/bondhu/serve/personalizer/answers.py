"""Decisions in the words of Azure AI Personalizer."""

from __future__ import annotations

from collections.abc import Sequence

from bondhu.errors import BondhuError
from bondhu.registry.lifecycle import APPLICATION, BASELINE, EXPLORED
from bondhu.serve.decide import Decider
from bondhu.serve.explain import decided_again
from bondhu.serve.live import masks
from bondhu.serve.personalizer.messages import (
    RankedAction,
    RankRequest,
    RankResponse,
    SlotResponse,
    SlotsRequest,
    SlotsResponse,
)
from bondhu.types import Decision


def names_of(decision: Decision, field: str) -> tuple[tuple[str, ...], str]:
    """The ids of the actions that were open, and of the one taken."""
    ids = [each["id"] for each in decision.context[field]]
    place = len(field) + 1
    return tuple(ids[int(each[place:]) - 1] for each in decision.allowed), ids[int(decision.action[place:]) - 1]


def rank_response(decider: Decider, field: str, event: str, asked: RankRequest, made: Decision) -> RankResponse:
    """The action taken, then the others from probable to improbable; excluded ones where the request has them."""
    opened, taken = names_of(made, field)
    chances = dict(zip(opened, probabilities(decider, made), strict=True))
    left = iter(sorted(opened, key=lambda name: (name != taken, -chances[name])))
    order = [next(left) if each.id in chances else each.id for each in asked.actions]
    ranking = [RankedAction(name, chances.get(name, 0.0)) for name in order]
    return RankResponse(ranking, event, taken)


def slots_response(field: str, event: str, asked: SlotsRequest, made: Sequence[Decision]) -> SlotsResponse:
    """The action taken in each slot."""
    taken = [names_of(each, field)[1] for each in made]
    return SlotsResponse([SlotResponse(slot.id, name) for slot, name in zip(asked.slots, taken, strict=True)], event)


def probabilities(decider: Decider, made: Decision) -> list[float]:
    """Of each action that was open, when this was decided; that of the action taken is the logged one."""
    found = _distribution(decider, made)
    taken = made.allowed.index(made.action)
    if found is None or len(found) != len(made.allowed):
        rest = (1.0 - made.probability) / max(len(made.allowed) - 1, 1)
        found = [rest] * len(made.allowed)
    return [*found[:taken], made.probability, *found[taken + 1 :]]


def _distribution(decider: Decider, made: Decision) -> list[float] | None:
    if made.version in (APPLICATION, EXPLORED):  # it follows what is listed first, but for the floor of exploration
        floor = made.memo[-1] / len(made.allowed)
        return [floor + (1.0 - made.memo[-1] if not place else 0.0) for place in range(len(made.allowed))]
    arms = decider.live.arms(decider.now())
    acting = next(
        (each for each in (arms.live, arms.trial, arms.holdout) if each and each.version == made.version), None
    )
    if acting is not None:
        allowed, _ = masks(acting.actions, [made.allowed])
        chances = acting.policy.distribution(acting.encoder.one(made.context)[None], allowed)[0].tolist()
        return [chances[acting.actions.index(name)] for name in made.allowed]
    try:
        candidates, _ = decided_again(made, decider.restore(None if made.version == BASELINE else made.version))
    except BondhuError:  # the version cannot be loaded any more
        return None
    return [each.probability for each in candidates]
