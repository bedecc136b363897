"""What goes over the wire in the calls of Azure AI Personalizer; fields it does not know are left alone, as it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

MOST_ACTIONS = MOST_SLOTS = 50
LONGEST = 256  # characters of an id

Id = Annotated[str, Meta(min_length=1, max_length=LONGEST)]
EventId = Annotated[str, Meta(max_length=LONGEST)]
Objects = list[dict[str, Any]]


class Action(msgspec.Struct, frozen=True):
    """Something that can be done, and what it is like."""

    id: Id
    features: Objects | None = None


class RankRequest(msgspec.Struct, frozen=True, rename="camel"):
    """Ask which of the actions to take."""

    actions: Annotated[list[Action], Meta(min_length=1, max_length=MOST_ACTIONS)]
    context_features: Objects | None = None
    excluded_actions: list[str] | None = None  # they keep their place, with probability 0
    event_id: EventId | None = None  # default: a new one
    defer_activation: bool | None = None  # whether it counts only once it is activated


class RankedAction(msgspec.Struct, frozen=True):
    """How probable it was to take an action."""

    id: str
    probability: float


class RankResponse(msgspec.Struct, frozen=True, rename="camel"):
    """What to do: `rewardActionId`."""

    ranking: Sequence[RankedAction]
    event_id: str
    reward_action_id: str


class RewardRequest(msgspec.Struct, frozen=True):
    """What an event was worth."""

    value: float


class Slot(msgspec.Struct, frozen=True, rename="camel"):
    """A place for one of the actions."""

    id: Id
    baseline_action: Id  # what the application would put there by itself
    features: Objects | None = None
    excluded_actions: list[str] | None = None


class SlotsRequest(msgspec.Struct, frozen=True, rename="camel"):
    """Ask which action to put into each slot."""

    actions: Annotated[list[Action], Meta(min_length=1, max_length=MOST_ACTIONS)]
    slots: Annotated[list[Slot], Meta(min_length=1, max_length=MOST_SLOTS)]
    context_features: Objects | None = None
    event_id: EventId | None = None
    defer_activation: bool | None = None


class SlotResponse(msgspec.Struct, frozen=True, rename="camel"):
    """What to put into one slot."""

    id: str
    reward_action_id: str


class SlotsResponse(msgspec.Struct, frozen=True, rename="camel"):
    """What to put into each slot."""

    slots: Sequence[SlotResponse]
    event_id: str


class SlotReward(msgspec.Struct, frozen=True, rename="camel"):
    """What one slot of an event was worth."""

    slot_id: Id
    value: float


class SlotsRewardRequest(msgspec.Struct, frozen=True):
    """What slots of an event were worth."""

    reward: list[SlotReward]


class Trouble(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong, as the service said it."""

    code: str
    message: str
    target: str | None = None  # the field


class ErrorResponse(msgspec.Struct, frozen=True):
    """The shape of every error on these routes."""

    error: Trouble


def inlined(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a shape, without references: other documents can hold it as it is."""
    (schema,), named = msgspec.json.schema_components([shape], ref_template="{name}")

    def written(part: Any) -> Any:
        if isinstance(part, dict):
            return (
                written(named[part["$ref"]]) if "$ref" in part else {key: written(each) for key, each in part.items()}
            )
        return [written(each) for each in part] if isinstance(part, list) else part

    found: dict[str, Any] = written(schema)
    return found
