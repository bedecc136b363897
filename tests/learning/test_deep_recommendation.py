"""The deep learners on the recommendation domain: from its log, through `bondhu train`, to decisions; and on-line."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bondhu import cli
from bondhu.app import App, open_app
from bondhu.demo.people import Clock, World, sessions
from bondhu.domains.recommendation import domain
from bondhu.domains.recommendation.env import RecommendationEnv
from bondhu.domains.recommendation.planning import evaluate, model, per_decision, value_of
from bondhu.domains.recommendation.simulator import ACTIONS, SITUATIONS, Population, levels_of
from bondhu.learners import build
from bondhu.policies.uniform import Uniform
from bondhu.serve.decide import Decider, Request
from bondhu.settings import FILE, load
from bondhu.train.simulate import Simulation
from bondhu.train.window import DAY
from bondhu.types import Array, Encoder, Policy

POPULATION = Population()
PEOPLE = POPULATION.users(60, np.random.default_rng(12345))
RULE = value_of(POPULATION, domain().baseline(), PEOPLE)
ENCODER = domain().encoder(Box)
DECLARED = """
[domain]
extends = "recommendation"

[learner]
name = "deep.actor_critic"
discount = 0.3

[training]
min_interactions_per_user = 1
holdout = 0.0
"""


def seen_by(encoder: Encoder) -> Array:
    """Every situation of each of PEOPLE, one after the other, as a deep learner sees them."""
    who, situation = np.repeat(PEOPLE, SITUATIONS, axis=0), np.tile(np.arange(SITUATIONS), len(PEOPLE))
    return np.stack([encoder.one(context) for context in POPULATION.contexts(who, situation)])


SEEN = seen_by(ENCODER)


def value(policy: Policy) -> float:
    """`value_of` for a policy that observes features: exact, for traits as they are and not in bins."""
    acting = policy.distribution(SEEN, np.ones((len(SEEN), ACTIONS), bool)).reshape(-1, SITUATIONS, ACTIONS)
    return per_decision(POPULATION, evaluate(model(POPULATION, levels_of(PEOPLE)), acting))


def logged(path: Path, users: int) -> App:
    """A deployment with one session of each user a few days ago; half of the decisions are the rule's."""
    (path / FILE).write_text(DECLARED, encoding="utf-8")
    clock = Clock(time.time() - 3 * DAY)
    world = World(open_app(load(path), now=clock), clock, np.random.default_rng(0))
    decider = Decider(world.app.deployment, world.app.acting, exploration=0.5, now=clock)
    for _ in sessions(world, decider, POPULATION.users(users, world.rng), "week", 0):
        pass
    world.app.stores.close()
    return open_app(load(path))


def test_the_two_exact_evaluations_agree() -> None:
    assert value(Uniform()) == pytest.approx(value_of(POPULATION, Uniform(), PEOPLE), abs=1e-12)


def test_actor_critic_learns_from_the_log_by_the_command_and_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logged(tmp_path, users=600).stores.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bondhu", "train"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code, capsys.readouterr()
    app = open_app(load(tmp_path))
    try:
        version = app.candidate()
        assert value(app.acting(version).policy) > RULE + 0.05
        app.promote(version, reason="its value is known exactly")
        context = POPULATION.contexts(PEOPLE[:1], np.array([5]))[0]
        decision = app.decider().decide(Request(context, id="one"))
        assert decision.version == version
        chances = app.acting(version).policy.distribution(ENCODER.one(context)[None], np.ones((1, ACTIONS), bool))
        assert decision.probability == pytest.approx(chances[0, app.domain.actions.index(decision.action)])
    finally:
        app.stores.close()


class Featured(RecommendationEnv):
    """The simulator, showing traits as they are in place of codes."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = ENCODER.space

    def _seen(self) -> Array:
        return ENCODER.one(self.population.contexts(self._traits, self._situation)[0])


def test_actor_critic_learns_on_line_in_the_simulator() -> None:
    environment = SyncVectorEnv([partial(Featured)] * 32, autoreset_mode=AutoresetMode.SAME_STEP)
    rng, simulation = np.random.default_rng(0), Simulation(environment)
    learner = build("deep.actor_critic", {"discount": 0.3, "passes": 4})
    assert simulation.spec.action == Discrete(ACTIONS)
    state = learner.init(simulation.spec, rng)
    for _ in range(20):
        batch = simulation.play(learner.policy(state, explore=True), 8, rng)
        state, _ = learner.update(state, batch, rng)
    environment.close()
    assert int(state.known.rows) == 20 * 8 * 32
    assert value(learner.policy(state)) > RULE
