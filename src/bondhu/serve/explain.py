"""Why a decision was made: decided again, from the version that acted and the number that belongs to its id."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bondhu.errors import BondhuError
from bondhu.policies.floor import WithFloor
from bondhu.policies.following import of_names
from bondhu.registry.lifecycle import APPLICATION, BASELINE, EXPLORED
from bondhu.serve.ids import Draws
from bondhu.serve.live import Live, masks
from bondhu.serve.messages import Audit, Candidate, Moved
from bondhu.types import Acting, Array, Decision, Feedback, Policy

NORMAL_95 = 1.959963984540054  # standard errors on either side of a 95 % interval


def explain(decision: Decision, said: Sequence[Feedback], restore: Callable[[str | None], Acting]) -> Audit:
    """The audit record of one decision. A version that cannot be loaded any more is said so, not raised."""
    feedback = [each._asdict() for each in said]
    if decision.version in (APPLICATION, EXPLORED):
        own = decision.version == APPLICATION
        why = f"The application would have done {decision.action!r} by itself: the apprentice followed."
        tried = f"The apprentice explored {decision.action!r} instead of the application's own choice."
        return Audit(decision._asdict(), [], not own, why if own else tried, followed_again(decision), feedback)
    try:
        acting = restore(None if decision.version == BASELINE else decision.version)
        candidates, replayed = decided_again(decision, acting)
        moved = what_moved(decision, acting) if decision.action in acting.actions else []
    except BondhuError as error:
        why = f"It cannot be decided again with version {decision.version!r}: {error}"
        return Audit(decision._asdict(), [], False, why, False, feedback)
    best = max(each.probability for each in candidates)
    taken = next((each for each in candidates if each.action == decision.action), Candidate(decision.action, 0.0, None))
    explored = taken.probability < best
    why, unit = reason(decision, taken, candidates), "value" if acting.beliefs else "probability"
    return Audit(decision._asdict(), candidates, explored, why, replayed, feedback, moved, unit)


def decided_again(decision: Decision, acting: Acting) -> tuple[list[Candidate], bool]:
    """Every action that was allowed, and whether the draw gives the same action with the same probability, bit for
    bit."""
    observation = acting.encoder.one(decision.context)[None]
    allowed, _ = masks(acting.actions, [decision.allowed])
    policy = Live.explored(acting, exploration(decision)).policy
    same = drawn_again(decision, policy, acting.actions, observation)
    probabilities = policy.distribution(observation, allowed)[0].tolist()
    known = believed(acting, observation)
    candidates = [
        Candidate(name, probability, *of_action)
        for name, probability, of_action in zip(acting.actions, probabilities, known, strict=True)
        if name in decision.allowed
    ]
    return candidates, same


def followed_again(decision: Decision) -> bool:
    """The same of an apprentice's decision. The log does not say what the application would have done where another
    action was explored: then it must have been one of those that make this draw."""
    could = decision.allowed
    defaults = (
        [decision.action] if decision.version == APPLICATION else [each for each in could if each != decision.action]
    )
    rate, nothing = exploration(decision), np.zeros((1, 0))
    policies = [of_names([each], could) for each in defaults]
    return any(drawn_again(decision, WithFloor(each, rate) if rate else each, could, nothing) for each in policies)


def drawn_again(decision: Decision, policy: Policy, actions: tuple[str, ...], observation: Array) -> bool:
    """Whether the number that belongs to the decision's id draws the action with the probability that was logged."""
    allowed, _ = masks(actions, [decision.allowed])
    choice = policy.sample(observation, allowed, Draws(decision.domain, [decision.id]))
    return actions[int(choice.action[0])] == decision.action and float(choice.probability[0]) == decision.probability


def exploration(decision: Decision) -> float:
    """The share of random decisions: the decider logs it behind the policy's own memo."""
    return decision.memo[-1] if decision.memo else 0.0


def believed(acting: Acting, observation: Array) -> list[tuple[float | None, ...]]:
    """Value, 95 % interval and tries of each action, as far as the version knows them."""
    if acting.beliefs is None:
        return [(None, None, None, None)] * len(acting.actions)
    belief = acting.beliefs(observation)
    half = NORMAL_95 * belief.error[0]
    columns = (belief.value[0], belief.value[0] - half, belief.value[0] + half, belief.tries[0])
    return [*zip(*(np.asarray(column, float).tolist() for column in columns), strict=True)]


def what_moved(decision: Decision, acting: Acting) -> list[Moved]:
    """By field: how much better the action looked beside the other allowed ones than it would, on average, with other
    typical values of that field alone (occlusion; Zeiler & Fergus 2014)."""
    allowed, _ = masks(acting.actions, [decision.allowed])
    action = acting.actions.index(decision.action)

    def advantage(observation: Array) -> Array:
        if acting.beliefs is None:
            rows = np.broadcast_to(allowed, (len(observation), allowed.shape[1]))
            return np.asarray(acting.policy.distribution(observation, rows)[:, action])
        value = acting.beliefs(observation).value
        return np.asarray(value[:, action] - value[:, allowed[0]].mean(axis=1))

    here = float(advantage(acting.encoder.one(decision.context)[None])[0])
    elsewhere = acting.encoder.variations(decision.context)
    moved = [Moved(name, here - float(advantage(seen).mean())) for name, seen in elsewhere.items()]
    return sorted(moved, key=lambda each: -abs(each.by))


def reason(decision: Decision, taken: Candidate, candidates: Sequence[Candidate]) -> str:
    """One sentence for people."""
    who = "The baseline rule" if decision.version == BASELINE else f"Version {decision.version!r}"
    of = f"{len(candidates)} allowed action{'s' if len(candidates) > 1 else ''}"
    likely = max(candidates, key=lambda each: each.probability)
    worth = f", with the value {taken.value:.4g}," if taken.value is not None else ""
    if taken.probability < likely.probability:
        return (
            f"{who} explored: {taken.action!r}{worth} had a probability of {taken.probability:.3g} among {of}; "
            f"the likeliest was {likely.action!r} with {likely.probability:.3g}."
        )
    equal = sum(each.probability == likely.probability for each in candidates)
    tie = f", drawn from {equal} that were equally good" if equal > 1 else ""
    return f"{who} takes {taken.action!r}{worth} with a probability of {taken.probability:.3g} among {of}{tie}."
