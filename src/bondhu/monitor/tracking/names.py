"""What the figures of a run are called, and what each means: the words of documents, displays and learners alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a figure says, and in which unit."""

    what: str
    unit: str


NAMES: Mapping[str, Meaning] = {
    # How the run goes.
    "episode": Meaning("episodes finished", "episodes"),
    "total_reward": Meaning("mean return of the episodes finished lately, without discount", "reward"),
    "avg_reward": Meaning("mean reward of a step lately", "reward a step"),
    "reward_signal": Meaning("mean reward of a step in what was learned from", "reward a step"),
    "reward_density": Meaning("share of steps whose reward is not 0", "share"),
    "evaluation_return": Meaning("mean return of an evaluation by the policy as it would serve", "reward"),
    "evaluation_return_exploring": Meaning("mean return of an evaluation by the policy as it explores", "reward"),
    "success_rate": Meaning("share of the episodes finished lately that reached their goal", "share"),
    "intrinsic_reward": Meaning("mean reward of a step that curiosity added", "reward a step"),
    "steps_per_second": Meaning("steps in the environment, over the time since the last record", "steps a second"),
    # What the learner believes.
    "value_estimation": Meaning("mean value of the states, or of the actions taken, as estimated", "return"),
    "explained_variance": Meaning("share of the variance of returns that the values explain; 1 all, 0 none", "share"),
    "td_error": Meaning("mean size of the difference between a value and its target", "return"),
    "confidence": Meaning("mean probability of the action taken", "probability"),
    # How it explores.
    "exploration_rate": Meaning("probability of acting at random", "probability"),
    "entropy": Meaning("mean entropy of the policy; of a density it may be negative", "nats"),
    "temperature": Meaning("how much an increase of entropy is worth", "reward a nat"),
    # How it learns.
    "loss": Meaning("what the last updates minimised, all terms together", "as the learner defines it"),
    "policy_loss": Meaning("the part of the loss that changes the policy", "as the learner defines it"),
    "value_loss": Meaning("the part of the loss that changes the values", "return squared"),
    "gradient_norm": Meaning("Euclidean norm of all gradients together, before it is limited", "loss"),
    "learning_rate": Meaning("step size of the optimiser now", "a gradient"),
    "kl": Meaning("Kullback-Leibler divergence from the policy before an update to the one after", "nats"),
    "clip_fraction": Meaning("share of actions whose probability moved farther than the clip", "share"),
    "staleness": Meaning("updates by others between what a worker acted with and what it changed", "updates"),
}
