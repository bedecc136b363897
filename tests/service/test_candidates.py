"""Requests that bring their own candidates: decided, logged, learned from and judged, with what each one is like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete

from bondhu import settings
from bondhu.app import App, open_app
from bondhu.domains.declared import DeclaredDomain, from_description, from_table
from bondhu.errors import InvalidInput, SettingsInvalid, UnknownName
from bondhu.serve.decide import Request, Said
from tests.service.stand import HOUR, Clock

NEWS: dict[str, Any] = {
    "domain": {"name": "news", "idle": 0},
    "context": {
        "mood": {"kind": "category", "values": ["light", "serious"]},
        "articles": {"kind": "candidates", "most": 4, "size": 2},
    },
    "actions": {"candidates": "articles"},
    "reward": {"wait": HOUR, "signals": {"read": 1.0}},
    "baseline": {"default": "articles-1"},  # the order that the application itself would show
}
ARTICLES = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]


def news(**changes: Any) -> DeclaredDomain:
    return from_table({**NEWS, **changes})


def app(path: Path, clock: Clock, **more: Any) -> App:
    extra = {"training": {"holdout": 0.5, "min_interactions_per_user": 1}, "exploration": {"rate": 1.0},
             "gate": {"maximum_exploration": 1.0, "minimum_interactions": 100},
             "learner": {"name": "bandit.online_regression"}}  # fmt: skip
    return open_app(settings.from_tables({**NEWS, **extra, **more}, path), now=clock)


def test_actions_are_the_candidates_of_the_request_by_number() -> None:
    domain = news()
    assert domain.actions == ("articles-1", "articles-2", "articles-3", "articles-4")
    assert domain.choices({"mood": "light", "articles": ARTICLES}) == ("articles-1", "articles-2", "articles-3")
    assert from_description(domain.describe()) == domain


def test_a_candidate_is_seen_as_its_numbers_times_the_context() -> None:
    encoder = news().encoder(Box)
    row = encoder.one({"mood": "serious", "articles": ARTICLES})
    assert row.shape == encoder.space.shape == (4, 3 * 2 + 1)
    assert row[0].tolist() == [0, 0, 1, 0, 1, 0, 1]  # light, serious and the bias, each times [1, 0]; then 1
    assert row[2].tolist() == [0, 0, 0.5, 0.5, 0.5, 0.5, 1]
    assert row[3].tolist() == [0] * 7  # there is no fourth one
    lines = [b'{"mood":"light","articles":[[1,2]]}', b'{"mood":"serious","articles":[[1,0],[0,1],[0.5,0.5]]}']
    many = encoder.many(news().columns(lines))
    np.testing.assert_array_equal(many[1], row)
    codes = news().encoder(MultiDiscrete).one({"mood": "serious", "articles": ARTICLES})
    assert codes.tolist() == [1, 2]  # a table sees how many there are


def test_decisions_are_among_the_candidates_and_the_rule_takes_the_first(tmp_path: Path) -> None:
    uniform = app(tmp_path, Clock()).decider()
    made = uniform.decide_many([Request({"mood": "light", "articles": ARTICLES[: 1 + n % 3]}) for n in range(60)])
    assert all(each.allowed == news().actions[: 1 + n % 3] for n, each in enumerate(made))
    assert {each.action for each in made} == {"articles-1", "articles-2", "articles-3"}
    quiet = app(tmp_path, Clock(), exploration={"rate": 0.0}).decider()
    assert quiet.decide(Request({"mood": "light", "articles": ARTICLES})).action == "articles-1"
    some = quiet.decide(Request({"mood": "light", "articles": ARTICLES}, allowed=["articles-2"]))
    assert (some.action, some.allowed) == ("articles-2", ("articles-2",))
    with pytest.raises(UnknownName, match="no candidate 'articles-4' in this request"):
        quiet.decide(Request({"mood": "light", "articles": ARTICLES}, allowed=["articles-4"]))


@pytest.mark.parametrize("articles", [[], [[1.0]], [[1.0, 2.0]] * 5, [[1.0, float("nan")]], "x", [[1.0, 2.0], [1.0]]])
def test_candidates_that_do_not_fit_are_refused(tmp_path: Path, articles: Any) -> None:
    with pytest.raises(InvalidInput, match="1 to 4 lists of 2 numbers") as raised:
        app(tmp_path, Clock()).decider().decide(Request({"mood": "light", "articles": articles}))
    assert raised.value.field == "articles"


def test_what_is_learned_of_candidates_holds_for_ones_never_seen(tmp_path: Path) -> None:
    """Light readers like the first number of an article, serious ones the second; articles are new in each request."""
    clock, rng = Clock(), np.random.default_rng(0)
    one = app(tmp_path, clock)
    decider = one.decider()
    for start in range(0, 3_000, 500):
        moods = rng.integers(0, 2, 500)
        shown = [rng.random((int(count), 2)).round(3).tolist() for count in rng.integers(2, 5, 500)]
        asked = [
            Request({"mood": ("light", "serious")[mood], "articles": articles}, user=f"u{start + n}")
            for n, (mood, articles) in enumerate(zip(moods, shown, strict=True))
        ]
        said = []
        for mood, articles, made in zip(moods, shown, decider.decide_many(asked), strict=True):
            liked = articles[one.domain.actions.index(made.action)][mood]
            if rng.random() < liked:
                said.append(Said(made.id, "read"))
        decider.hear(said)
    clock.now += 2 * HOUR
    run = one.train()
    assert run.judgement is not None
    assert run.judgement.verdict.decision == "promote"
    assert run.judgement.candidate["dr"].value > run.judgement.live["dr"].value + 0.15
    one.promote(reason="test")
    quiet = app(tmp_path, clock, exploration={"rate": 0.0}).decider()
    for mood, best in (("light", "articles-2"), ("serious", "articles-1")):
        assert quiet.decide(Request({"mood": mood, "articles": [[0.1, 0.9], [0.9, 0.1]]})).action == best


def test_a_field_of_candidates_has_to_be_one() -> None:
    with pytest.raises(SettingsInvalid, match="Did you mean 'articles'"):
        news(actions={"candidates": "article"})
    wide = {**NEWS["context"], "text": {"kind": "text", "buckets": 8192}}
    with pytest.raises(InvalidInput, match="features"):
        news(context=wide).encoder(Box)
