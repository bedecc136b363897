"""What makes a problem hard for the learner as it is set up: its rewards, its observations, how far it looks ahead."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from bondhu.monitor.doctor import Finding
from bondhu.monitor.records import Records
from bondhu.monitor.symptoms import ENOUGH, NORMALISED, course, well
from bondhu.types import Floats

APART = 1e3  # ratio of deviations that one learning rate cannot serve
FAR = 1e2  # mean of a feature, where a network expects 0
NEAR, SEEN = 5, 0.05  # steps, and share of an episode: who looks less far ahead sees hardly any consequence
BEYOND = 5  # times the effective horizon: a reward so far ahead is worth e^-5, less than 1 %, now


def sparse_reward(run: Records) -> Finding | None:
    """Almost every episode returns the same, the least: nothing says which actions were good."""
    trained = run.values("total_reward")
    played = np.concatenate([*(each.returns for each in run.evaluations), np.empty(0)])
    told = [values for values in (trained, played) if len(values) >= ENOUGH]
    if not told or not all(map(_stuck, told)):
        return None
    signal = run.values("reward_signal")
    shown = f"; reward_signal is {signal.mean():.3g}" if len(signal) else ""
    return Finding(
        "reward too sparse",
        f"{_share(told[0]):.0%} of the records show the same return, {told[0].min():.3g}, the least of all{shown}.",
        (
            "Say more often what is good: shape the reward by a potential, which keeps the best policy the best.",
            "Reward what is new: add intrinsic motivation (counts, RND or ICM).",
            "Begin with easier tasks: a curriculum.",
            "Explore longer: a higher entropy_bonus, or an exploration_rate that falls more slowly.",
        ),
    )


def observation_scale(run: Records) -> Finding | None:
    """Features of very different size, or far from 0, given to the network as they are."""
    about = run.about.get("observation") or {}
    mean, deviation = _flat(about.get("mean")), _flat(about.get("deviation"))
    if any(run.hyperparameter(name) or run.about.get(name) for name in NORMALISED) or _pixels(about):
        return None
    moving = deviation[deviation > 1e-6]  # constant features say nothing, and harm nothing
    if len(moving) > 1 and moving.max() > APART * moving.min():
        narrow, wide = np.argmin(np.where(deviation > 1e-6, deviation, np.inf)), np.argmax(deviation)
        evidence = (
            f"Feature {wide} has a deviation of {deviation[wide]:.3g}, feature {narrow} one of {deviation[narrow]:.3g}."
        )
    elif len(mean) and np.abs(mean).max() > FAR:
        evidence = f"Feature {np.argmax(np.abs(mean))} has a mean of {mean[np.argmax(np.abs(mean))]:.3g}."
    else:
        return None
    return Finding(
        "observation scale",
        evidence,
        (
            "Let the learner normalise what it sees: normalise_observations = true.",
            "Or scale the features in the environment to mean 0 and deviation 1.",
        ),
    )


def wrong_discount(run: Records) -> Finding | None:
    """It does not look as far ahead as the reward is, or endlessly where episodes never end."""
    discount = run.hyperparameter("discount", "gamma")
    lengths = np.concatenate([*(each.lengths for each in run.evaluations), np.empty(0)])
    lengths = lengths[np.isfinite(lengths)]
    if discount is None or len(lengths) < ENOUGH:
        return None
    mean, limit = float(lengths.mean()), run.about.get("episode_limit")
    if discount >= 1 and limit and (lengths >= limit).mean() > 0.9:
        evidence = (
            f"discount is {discount:g}, and {(lengths >= limit).mean():.0%} of the episodes ran into the limit of "
        )
        evidence += f"{limit:,} steps: their value has no bound."
        fixes = ("Look less far ahead: discount = 0.99.", "Or show the time left as a feature, and end at the limit.")
        return Finding("wrong discount", evidence, fixes)
    horizon = 1 / (1 - discount) if discount < 1 else np.inf
    blind = horizon < max(NEAR, SEEN * mean) and horizon < mean
    if well(run) or not (blind or (mean > BEYOND * horizon and _rewarded_at_the_end(run, mean))):
        return None
    fit, rewarded = 1 - 1 / mean, "" if blind else ", rewarded at their end"
    return Finding(
        "wrong discount",
        f"discount {discount:g} looks {horizon:,.0f} steps ahead; episodes take {mean:,.0f}{rewarded}.",
        (
            f"Look as far as an episode: discount = {fit:.4g}.",
            "Or act less often: repeat each action, so that an episode has fewer steps.",
            "Or shape the reward by a potential, so that it comes earlier.",
        ),
    )


def too_short(run: Records) -> Finding | None:
    """So little was recorded that silence says nothing."""
    records = max((len(each.value) for each in run.metrics.values()), default=0)
    tests = len(run.evaluations)
    if records >= ENOUGH or tests >= ENOUGH:
        return None
    told = (f"{count} {name}" + "s" * (count != 1) for count, name in ((records, "record"), (tests, "evaluation")))
    evidence = f"It holds {' and '.join(told)}; a curve has {ENOUGH} or more."
    return Finding("too short to judge", evidence, ("Train longer, then ask again.",))


def no_learning(run: Records) -> Finding | None:
    """Half of the run is over, and the return is what it was."""
    way = course(run)
    if way is None or way.rose or well(run) or run.seen < run.planned / 2 or len(run.values("total_reward")) < ENOUGH:
        return None
    return Finding(
        "no learning",
        f"The return was {way.first:.3g} in the beginning and {way.last:.3g} after {run.seen:,.0f} steps.",
        (
            "Learn faster: three times the learning_rate; if that is worse, a third of it.",
            "Explore more: a higher entropy_bonus, or an exploration_rate that falls more slowly.",
            "Try the learner on CartPole-v1: if it learns there, the environment's reward or observation is at fault.",
        ),
    )


def _stuck(values: Floats) -> bool:
    """Nearly all are the least, and that is nothing or a loss; a high return that stays is success."""
    return bool(values.min() <= 1e-9 and _share(values) >= 0.95)


def _share(values: Floats) -> float:
    """The share of the least value."""
    return float((values <= values.min() + 1e-9 * max(1.0, abs(float(values.min())))).mean())


def _rewarded_at_the_end(run: Records, length: float) -> bool:
    """At most about one reward an episode; where that was not recorded, a few outcomes only, after any time."""
    density = run.values("reward_density")
    if len(density):
        return bool(density.mean() * length <= 1.5)
    returns = np.concatenate([each.returns for each in run.evaluations])
    lengths = np.concatenate([each.lengths for each in run.evaluations])
    return len(Counter(returns.tolist())) <= 3 and len(Counter(lengths.tolist())) >= 5


def _pixels(about: dict[str, Any]) -> bool:
    """Pictures are divided by 255 before a network sees them."""
    low, high = _flat(about.get("low")), _flat(about.get("high"))
    return bool(len(high) and (low == 0).all() and (high == 255).all())


def _flat(values: Any) -> Floats:
    """Numbers as a vector, whatever their nesting; nothing where there are none."""
    if values is None:
        return np.empty(0)
    try:
        return np.array(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return np.empty(0)
