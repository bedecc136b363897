"""The template: `bondhu init --domain assistant` writes it, it opens, and its learner learns from what is observed."""

import tomllib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from bondhu import learners, settings
from bondhu.app import open_app
from bondhu.cli.starting import init
from bondhu.domains import assistant, declared
from bondhu.domains.assistant.observing import observe
from bondhu.types import Batch, Decision, Feedback, Spec
from bondhu.wiring import checked_learner, open_domain

TEMPLATE = tomllib.loads(assistant.template())
PROBLEM = {name: table for name, table in TEMPLATE.items() if name in settings.PROBLEM}
DOMAIN = declared.from_table(PROBLEM)
LATER = 1.8e9  # seconds

ASKED = {  # what people ask, and the parts of an action that answer it well
    "My Python function raises a KeyError, can you help?": ("steps", "large"),
    "Why does this code crash with a null pointer exception?": ("steps", "large"),
    "What is the capital of France?": ("brief", "small"),
    "Who wrote Hamlet, and in which century?": ("brief", "small"),
    "Write a poem about the sea for my mother": ("plain", "large"),
    "hello, how are you?": ("plain", "small"),
}


def context_of(text, number):
    found = observe([{"role": "user", "content": text}], 1.7e9 + 3_600.0 * number)
    return {field.name: found[field.name] for field in DOMAIN.fields}


def test_init_writes_a_declaration_that_opens(tmp_path: Path):
    init(tmp_path, "assistant")
    found = settings.load(tmp_path)
    domain = open_domain(found)
    assert (domain.name, domain.actions[0], len(domain.actions)) == ("assistant", "plain/small", 8)
    assert checked_learner(found.learner, domain).name == "bandit.online_regression"
    assert found.exploration.rate == 0.05


def test_actions_share_their_parts():
    assert DOMAIN.action_features.shape == (8, 4 + 2)
    assert declared.from_description(DOMAIN.describe()).describe() == DOMAIN.describe()


def test_its_learner_comes_to_answer_as_people_like():
    rng, encoder = np.random.default_rng(0), DOMAIN.encoder(Box)
    learner = learners.build(TEMPLATE["learner"]["name"], {})
    state = learner.init(Spec(encoder.space, Discrete(8), DOMAIN.action_features), rng)
    texts = list(ASKED)
    asked = rng.integers(len(texts), size=1_500)
    observation = np.stack([encoder.one(context_of(texts[each], n)) for n, each in enumerate(asked)])
    action = rng.integers(8, size=1_500)
    liked = [
        sum(map(str.__eq__, DOMAIN.actions[a].split("/"), ASKED[texts[q]])) for a, q in zip(action, asked, strict=True)
    ]
    reward = np.array(liked) / 2 + rng.normal(0.0, 0.2, 1_500)
    everything = np.ones((1_500, 8), bool)
    batch = Batch.single(observation, everything, action, np.full(1_500, 1 / 8), reward)
    state, _ = learner.update(state, batch, rng)
    chosen = learner.policy(state).sample(observation[-200:], everything[-200:], rng).action
    right = [DOMAIN.actions[a].split("/") == list(ASKED[texts[q]]) for a, q in zip(chosen, asked[-200:], strict=True)]
    assert np.mean(right) > 0.9


def test_the_best_strategy_is_searched_for_with_rewards_as_declared(tmp_path: Path):
    """`bondhu train` with bandit.best_arm, on rewards below 0, above 1, and said twice."""
    init(tmp_path, "assistant")
    file = tmp_path / "bondhu.toml"
    file.write_text(file.read_text("utf-8").replace("bandit.online_regression", "bandit.best_arm"), "utf-8")
    app = open_app(settings.load(tmp_path), now=lambda: LATER)
    with closing(app.stores):
        given = {"low": pytest.approx(-1.6), "high": pytest.approx(4.3), "clips": True}
        assert app.settings.learner.hyperparameters == given
        decisions, said = [], []
        for number in range(240):
            id_, time, action = f"d{number}", LATER - 2e5 + 60.0 * number, DOMAIN.actions[number % 8]
            context = context_of("hello, how are you?", 0)
            facts = f"s{number}", f"user {number % 60}", time, context, DOMAIN.actions, action, 1 / 8, (1.0,)
            decisions.append(Decision(id_, "assistant", *facts, "baseline", "live"))
            liked = ["accept", "resolved"] if action == "brief/small" else ["retry"]
            said += [Feedback(f"{id_}-{name}", id_, name, 1.0, time + 5.0) for name in liked]
        said += [Feedback(f"once more {n}", "d0", "reject", 1.0, LATER - 1.9e5) for n in range(9)]
        app.log.append(decisions, said)
        run = app.train()
        assert run.trained.version is not None
        acting = app.acting(run.trained.version.id)
        seen, allowed = acting.encoder.one(context)[None], np.ones((1, 8), bool)
        chosen = acting.policy.sample(seen, allowed, np.random.default_rng(0)).action
        assert [acting.actions[each] for each in chosen] == ["brief/small"]
        assert run.trained.version.hyperparameters == {**given, "risk": 0.05, "even": 0.5}
