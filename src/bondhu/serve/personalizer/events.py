"""Rank, reward and activate, of single events and of events with several slots."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bondhu.errors import DuplicateId, InvalidInput
from bondhu.log.checks import decode, encode
from bondhu.serve.decide import Decider, Request, Said
from bondhu.serve.ids import Ids
from bondhu.serve.personalizer import pending
from bondhu.serve.personalizer.answers import names_of, rank_response, slots_response
from bondhu.serve.personalizer.errors import NoSuchEvent
from bondhu.serve.personalizer.messages import (
    Action,
    RankRequest,
    RankResponse,
    SlotReward,
    SlotsRequest,
    SlotsResponse,
)
from bondhu.serve.writing import Writer
from bondhu.types import Decision, Feedback

LOWEST, HIGHEST = -1.0, 1.0  # rewards
new_ids = Ids()


@dataclass(frozen=True)
class Fields:
    """Where the domain keeps what a request brings along."""

    actions: str  # field of kind "ranked"
    features: str  # field of kind "features"
    most: int  # actions of one request


@dataclass(frozen=True)
class Events:
    """The events of one deployment."""

    decider: Decider
    writer: Writer
    fields: Fields
    signal: str  # the feedback that a reward is

    @property
    def _domain(self) -> str:
        return self.decider.deployment.domain.name

    # ----------------------------------------------------------------------------------------------------------- rank

    async def rank(self, asked: RankRequest) -> RankResponse:
        """Decide, log, answer; a retry with the same event id gets the answer of the first."""
        event = asked.event_id or new_ids(1, self.decider.now())[0]
        request = self._request(asked.actions, asked.context_features or [], asked.excluded_actions or [])
        decision = self._chosen(request, pending.logged_as(event))
        (logged,) = await self._committed(event, [decision], wait=bool(asked.defer_activation))
        return rank_response(self.decider, self.fields.actions, event, asked, logged)

    async def rank_slots(self, asked: SlotsRequest) -> SlotsResponse:
        """Decide slot by slot, each among the actions that those before have left; log all of it or nothing."""
        event = asked.event_id or new_ids(1, self.decider.now())[0]
        check_slots(asked)
        made: list[Decision] = []
        taken: list[str] = []
        for number, slot in enumerate(asked.slots):
            about = {"slot": {"id": slot.id, "features": slot.features or []}}
            own = [each for each in asked.actions if each.id == slot.baseline_action]
            actions = own + [each for each in asked.actions if each.id != slot.baseline_action]
            request = self._request(
                actions, [*(asked.context_features or []), about], [*(slot.excluded_actions or []), *taken]
            )
            identity = pending.logged_as(event, slot.id) if number else pending.logged_as(event)
            made.append(self._chosen(request, identity, pending.logged_as(event)))
            taken.append(names_of(made[-1], self.fields.actions)[1])
        logged = await self._committed(event, made, wait=bool(asked.defer_activation), slots=True)
        return slots_response(self.fields.actions, event, asked, logged)

    def _request(self, actions: Sequence[Action], about: Sequence[dict[str, Any]], excluded: Sequence[str]) -> Request:
        """The same in this project's words; what the application lists first of what is open, it would do by itself."""
        if len(actions) > self.fields.most:
            what = f"There are {len(actions)} actions."
            fix = f"Send at most {self.fields.most}, or raise context.{self.fields.actions}.most and train anew."
            raise InvalidInput(what, field="actions", value=len(actions), fix=fix)
        without = set(excluded)
        places = [f"{self.fields.actions}-{n}" for n, each in enumerate(actions, 1) if each.id not in without]
        if not places:
            raise InvalidInput("All actions are excluded.", field="excludedActions", fix="Leave at least one.")
        context = {
            self.fields.features: list(about),
            self.fields.actions: [{"id": each.id, "features": each.features or []} for each in actions],
        }
        return Request(context, allowed=places, default=places[0])

    def _chosen(self, request: Request, identity: str, session: str | None = None) -> Decision:
        return self.decider.choose([msgspec.structs.replace(request, id=identity, session=session)])[0]

    async def _committed(self, event: str, made: list[Decision], *, wait: bool, slots: bool = False) -> list[Decision]:
        """The decisions as logged, now or before: on disk in either case."""
        if wait:
            made = [pending.deferred(each, event, number if slots else 0) for number, each in enumerate(made, 1)]
        try:
            logged = await self.writer.submit(made)
        except DuplicateId:  # of several slots: what was chosen before may leave others open than now
            before = await asyncio.to_thread(self._before, made) if slots else None
            if before is None:
                raise
            logged = before
        return logged if wait else self.decider.remember(logged)

    def _before(self, made: list[Decision]) -> list[Decision] | None:
        """The decisions that were logged for the same request; None where there are none."""
        found = [self.decider.deployment.log.find(each.id) for each in made]
        before = [each[0] for each in found if each is not None]
        same = len(before) == len(made) and all(
            old.domain == new.domain and old.context == decode(encode(new.context))
            for old, new in zip(before, made, strict=True)
        )
        return before if same else None

    # --------------------------------------------------------------------------------------------- reward and activate

    async def reward(self, event: str, value: float, retry: str | None = None) -> None:
        """Log what an event was worth; the same `retry` of the same value is logged once."""
        identity = pending.logged_as(event)
        said = self._said(identity, value, retry)
        if not self.decider.remembers(identity):
            await asyncio.to_thread(self._known, event)
        await self._heard([said])

    async def reward_slots(self, event: str, rewards: Sequence[SlotReward], retry: str | None = None) -> None:
        """Log what slots of an event were worth: all of them or none."""
        slots = [each.slot_id for each in rewards]
        names = await asyncio.to_thread(self._names, event, slots)
        said = [self._said(name, each.value, retry) for name, each in zip(names, rewards, strict=True)]
        await self._heard(said)

    async def activate(self, event: str, *, slots: bool = False) -> None:
        """From now on the event counts. Raises NoSuchEvent; InvalidInput where the wait is over."""
        waits = await asyncio.to_thread(self._waiting, event, slots)
        if not waits:
            return
        late = self.decider.now() - waits[0].time - self.decider.deployment.domain.reward.wait
        if late > 0:
            what = f"The event was ranked {late:.0f} s longer ago than the reward wait time, and dropped."
            raise InvalidInput(what, field="eventId", value=event, fix="Activate it earlier, or rank again.")
        session = pending.logged_as(event)
        slot = [slot_of(each, self.fields.features) for each in waits]
        names = [session, *(pending.logged_as(event, each) for each in slot[1:])]  # the first has the event's own id
        made = [pending.activated(each, self._domain, name, session) for each, name in zip(waits, names, strict=True)]
        self.decider.remember(await self.writer.submit(made))

    def _waiting(self, event: str, slots: bool) -> list[Decision]:
        """What is to be activated; nothing where it counts already."""
        log, number = self.decider.deployment.log, 1
        if self._logged(event) is not None:
            return []
        waits = pending.waiting(log, self._domain, event, number if slots else 0)
        if waits is None:
            raise NoSuchEvent(f"No event {event!r:.80} is known here.", field="eventId")
        all_of_them = [waits]
        while slots and (waits := pending.waiting(log, self._domain, event, number := number + 1)):
            all_of_them.append(waits)
        return all_of_them

    def _logged(self, event: str) -> Decision | None:
        """The decision of an event, or of its first slot, that counts."""
        found = self.decider.deployment.log.find(pending.logged_as(event))
        return found[0] if found is not None and found[0].domain == self._domain else None

    def _known(self, event: str, slot: int = 0) -> Decision:
        """The decision of an event, whether it counts already or not; raises NoSuchEvent."""
        found = self._logged(event) or pending.waiting(self.decider.deployment.log, self._domain, event, slot)
        if found is None:
            raise NoSuchEvent(f"No event {event!r:.80} is known here.", field="eventId")
        return found

    def _names(self, event: str, slots: Sequence[str]) -> list[str]:
        """The ids of the decisions of these slots; raises NoSuchEvent, InvalidInput."""
        first = slot_of(self._known(event, 1), self.fields.features)
        names = [pending.logged_as(event) if each == first else pending.logged_as(event, each) for each in slots]
        for name, slot in zip(names, slots, strict=True):
            if slot != first and not self.decider.remembers(name) and not self._has(event, name, slot):
                raise InvalidInput(f"Event {event!r:.80} has no slot {slot!r:.80}.", field="slotId", value=slot)
        return names

    def _has(self, event: str, identity: str, slot: str) -> bool:
        """Whether a slot beyond the first is one of the event's."""
        log, number = self.decider.deployment.log, 1
        found = log.find(identity)
        if found is not None:
            return found[0].domain == self._domain
        while waits := pending.waiting(log, self._domain, event, number := number + 1):
            if slot_of(waits, self.fields.features) == slot:
                return True
        return False

    def _said(self, identity: str, value: float, retry: str | None) -> Feedback:
        if not LOWEST <= value <= HIGHEST:
            fix = f"It must be a number from {LOWEST:g} to {HIGHEST:g}."
            raise InvalidInput(f"The reward is {value!r}.", field="value", value=value, fix=fix)
        own = pending.logged_as(identity, f"{retry}:{value!r}") if retry else None
        return self.decider.checked(Said(identity, self.signal, value, id=own))

    async def _heard(self, said: Sequence[Feedback]) -> None:
        await self.writer.submit([], said)


def check_slots(asked: SlotsRequest) -> None:
    """What the service asked of slots: names of their own, a baseline for each that is one of the actions and open."""
    actions, seen, baselines = {each.id for each in asked.actions}, set[str](), set[str]()
    for number, slot in enumerate(asked.slots):
        where, own = f"slots[{number}]", slot.baseline_action
        if slot.id in seen:
            raise InvalidInput(f"Two slots have the id {slot.id!r}.", field=f"{where}.id", fix="Give each its own.")
        wrong = "is not one of the actions" if own not in actions else ""
        wrong = wrong or ("is the baseline of another slot, too" if own in baselines else "")
        wrong = wrong or ("is excluded from the slot" if own in (slot.excluded_actions or ()) else "")
        if wrong:
            fix = "Name another of the actions for each slot."
            raise InvalidInput(f"The baseline {own!r} {wrong}.", field=f"{where}.baselineAction", value=own, fix=fix)
        seen.add(slot.id)
        baselines.add(own)


def slot_of(decision: Decision, field: str) -> str:
    """The name of the slot that a decision is for; "" where it is for none."""
    about = decision.context[field]
    slot = about[-1].get("slot") if about else None
    name = slot.get("id") if isinstance(slot, dict) else None
    return name if isinstance(name, str) else ""
