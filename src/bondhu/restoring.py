"""A stored version made ready to act, as it was trained and among the actions of today."""

from __future__ import annotations

import numpy as np

from bondhu import learners
from bondhu.domains import declared
from bondhu.errors import StateCorrupt
from bondhu.policies.renamed import Renamed, renamed_beliefs
from bondhu.ports import Version
from bondhu.types import Acting


def restore(version: Version) -> Acting:
    """A stored version made ready to act, with the fields and actions it was trained for."""
    domain = declared.from_description(version.description)
    learner = learners.build(version.learner, version.hyperparameters)
    try:
        state = learners.unpack(learner, version.state)
        policy, beliefs = learner.policy(state, explore=bool(version.notes.get("explore"))), learner.beliefs(state)
    except (KeyError, TypeError, ValueError) as error:
        raise StateCorrupt(f"Version {version.id!r} does not hold a state of {version.learner!r}: {error}.") from error
    return Acting(version.id, policy, domain.encoder(learner.observes), tuple(domain.actions), beliefs)


def declared_now(acting: Acting, actions: tuple[str, ...]) -> Acting:
    """The version acting among the actions that are declared now, if those are others than it was trained for."""
    if acting.actions == actions:
        return acting
    known = {name: place for place, name in enumerate(acting.actions)}
    places = np.array([known.get(name, -1) for name in actions])
    beliefs = renamed_beliefs(acting.beliefs, places) if acting.beliefs else None
    return acting._replace(policy=Renamed(acting.policy, places, len(known)), actions=actions, beliefs=beliefs)
