"""Every domain keeps the contract of `types.Domain`; declared ones say what is wrong with a declaration."""

from __future__ import annotations

import copy
import json
import tomllib
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete

from bondhu.domains import recommendation
from bondhu.domains.declared import DeclaredDomain, from_description, from_table, template
from bondhu.errors import InvalidInput, SettingsInvalid
from bondhu.policies.uniform import Uniform
from bondhu.ports import Domain, Signal

TABLES: dict[str, Any] = tomllib.loads(template())
DOMAINS: dict[str, DeclaredDomain] = {
    "template": from_table(TABLES),
    "recommendation": recommendation.domain(),
    "recommendation in 3 bins": recommendation.domain(bins=3),
    "flat": from_table(
        {
            "domain": {"name": "flat", "idle": 0},
            "context": {
                "word": {"kind": "text"},
                "place": {"kind": "vector", "size": 2},
                "age": {"kind": "number", "range": [0, 1], "bins": 2},
                "who": {"kind": "person"},
            },
            "actions": {"names": ["a/1", "b"], "features": {"a/1": [0.5, 2], "b": [1.5, -1]}},
            "reward": {"signals": {"click": 1}},
        }
    ),
}


def sample(field: dict[str, Any], rng: np.random.Generator) -> Any:
    """A value that the described field accepts."""
    if field["kind"] == "category":
        return field["values"][rng.integers(len(field["values"]))]
    if field["kind"] == "number":
        return float(rng.uniform(*field["range"]))
    return "some words" if field["kind"] in ("text", "person") else rng.normal(size=field["size"]).tolist()


@pytest.fixture(params=DOMAINS)
def domain(request: pytest.FixtureRequest) -> DeclaredDomain:
    return DOMAINS[request.param]


def test_one_context_and_a_log_of_contexts_are_observed_alike(domain: DeclaredDomain) -> None:
    rng = np.random.default_rng(0)
    contexts = [{each["name"]: sample(each, rng) for each in domain.describe()["fields"]} for _ in range(50)]
    columns = domain.columns([json.dumps(context).encode() for context in contexts])
    for observes in (MultiDiscrete, Box):
        encoder = domain.encoder(observes)
        many = encoder.many(columns)
        assert isinstance(encoder.space, observes)
        assert np.array_equal(many, np.stack([encoder.one(context) for context in contexts]))
        assert all(encoder.space.contains(row) for row in many)


def test_the_description_survives_json_that_reorders_objects(domain: DeclaredDomain) -> None:
    description = domain.describe()
    stored = json.loads(json.dumps(description, sort_keys=True))
    assert stored == description
    assert from_description(stored) == domain
    assert from_description(stored).actions == domain.actions


def test_the_baseline_is_a_policy_over_codes(domain: DeclaredDomain) -> None:
    rng = np.random.default_rng(1)
    space = domain.encoder(MultiDiscrete).space
    space.seed(1)
    observation = np.stack([space.sample() for _ in range(200)])
    allowed = rng.random((200, len(domain.actions))) < 0.5
    allowed[:, 0] = True
    probabilities = domain.baseline().distribution(observation, allowed)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(200))
    assert not probabilities[~allowed].any()


def test_a_declared_domain_is_a_domain(domain: DeclaredDomain) -> None:
    port: Domain = domain
    assert port.idle >= 0
    assert len(set(port.actions)) == len(port.actions)
    with pytest.raises(InvalidInput, match="no encoder for Discrete"):
        port.encoder(Discrete)


def test_the_template_declares_what_it_says() -> None:
    domain = DOMAINS["template"]
    assert domain.actions == (
        "brief/article", "brief/agent", "brief/callback", "friendly/article", "friendly/agent", "friendly/callback",
    )  # fmt: skip
    assert domain.reward.signals["rating"] == Signal(0.25, -2.0, 2.0)
    assert domain.reward.signals["solved"] == Signal(1.0, 0.0, 1.0)
    assert (domain.reward.wait, domain.idle, domain.reward.count_late) == (86_400.0, 1_800.0, False)
    codes = [
        domain.encoder(MultiDiscrete).one({"channel": channel, "account_age": age})
        for channel, age in (("chat", 1), ("email", 10), ("email", 400), ("phone", 400))
    ]
    chosen = domain.baseline().distribution(np.stack(codes), np.ones((4, 6), bool)).argmax(axis=1)
    assert [domain.actions[action] for action in chosen] == [
        "friendly/article", "friendly/article", "brief/article", "friendly/agent",
    ]  # fmt: skip


def test_the_fields_that_the_template_comments_out_are_valid() -> None:
    lines = template().splitlines()
    opened = [
        line.removeprefix("# ") if line.startswith(("# [context", "# kind", "# buckets", "# size", "# most")) else line
        for line in lines
    ]
    domain = from_table(tomllib.loads("\n".join(opened)))
    assert [field["kind"] for field in domain.describe()["fields"]] == [
        "category",
        "number",
        "text",
        "vector",
        "person",
        "candidates",
    ]


def test_actions_have_the_features_of_their_parts_and_those_declared() -> None:
    assert DOMAINS["flat"].action_features is not None
    assert DOMAINS["flat"].action_features.tolist() == [[0.5, 2.0], [1.5, -1.0]]
    features = DOMAINS["template"].action_features
    assert features is not None
    assert features.tolist() == [[*tone, *answer] for tone in np.eye(2) for answer in np.eye(3)]
    table = copy.deepcopy(TABLES) | {"actions": {"names": ["a", "b"]}, "baseline": {}}
    assert from_table(table).action_features is None
    for features, says in (({"a": [1.0]}, "leaves out 'b'"), ({"a": [1.0], "b": []}, "as many numbers")):
        with pytest.raises(SettingsInvalid, match=says):
            from_table(table | {"actions": {"names": ["a", "b"], "features": features}})


def test_a_domain_without_a_baseline_acts_uniformly() -> None:
    assert DOMAINS["flat"].baseline() == Uniform()
    assert DOMAINS["flat"].actions == ("a/1", "b")


def test_a_rule_on_a_number_holds_in_the_bins_whose_middle_it_contains() -> None:
    tables = {
        **copy.deepcopy(TABLES),
        "context": {"x": {"kind": "number", "range": [0, 100], "bins": 3}},
        "baseline": {
            "default": "brief/article",
            "rules": [{"when": {"x": [60, 100]}, "set": {"answer": "agent"}}],
        },
    }
    domain = from_table(tables)
    chosen = domain.baseline().distribution(np.array([[0], [1], [2]]), np.ones((3, 6), bool)).argmax(axis=1)
    assert [domain.actions[action] for action in chosen] == ["brief/article", "brief/article", "brief/agent"]


MISTAKES: list[tuple[str, Any, str]] = [
    ("domain.name", "", "in quotes"),
    ("domain.nmae", "x", "Did you mean 'name'?"),
    ("domain.idle", -1, "at least 0"),
    ("domain.idle", "soon", "finite number"),
    ("context", {}, "[context.mood]"),
    ("context.channel", 3, "Make it a table"),
    ("context.channel.kind", "categry", "Did you mean 'category'?"),
    ("context.channel.kind", ["category"], "Did you mean 'category'?"),
    ("context.channel.values", [], "list of names"),
    ("context.channel.values", ["a", "a"], "once"),
    ("context.channel.values", ["a", 1], "in quotes"),
    ("context.channel.valeus", ["a"], "Did you mean 'values'?"),
    ("context.account_age.range", [5, 5], "below the second"),
    ("context.account_age.range", [0, float("inf")], "finite"),
    ("context.account_age.range", 5, "[lowest, highest]"),
    ("context.account_age.edges", [365, 30], "ascend"),
    ("context.account_age.edges", [0, 30], "between 0 and 3650"),
    ("context.account_age.edges", 30, "at which to cut"),
    ("actions.names", ["a"], ""),
    ("actions.tone", ["brief", "a/b"], "Leave out '/'"),
    ("actions", {}, "names ="),
    ("reward.wait", -5, "at least 0"),
    ("reward.count_late", 1, "true or false"),
    ("reward.signals", {}, "like = 1.0"),
    ("reward.signals.solved", "much", "finite number"),
    ("reward.signals.session_end", 1.0, "choose another"),
    ("reward.signals.rating.rnage", [0, 1], "Did you mean 'range'?"),
    ("reward.signals.rating.range", [1, 0], "below the second"),
    ("baseline.default", "friendly/artcle", "Did you mean 'article'?"),
    ("baseline.default", "friendly", "one value for each part"),
    ("baseline.default", "uniform", "where no rule sets a part"),
    ("baseline.rules", {"when": {}}, "[[baseline.rules]]"),
]


@pytest.mark.parametrize(("key", "value", "says"), MISTAKES, ids=[f"{key}={value}" for key, value, _ in MISTAKES])
def test_a_mistake_in_the_tables_is_named_by_its_key(key: str, value: Any, says: str) -> None:
    tables = copy.deepcopy(TABLES)
    *above, last = key.split(".")
    inner = tables
    for name in above:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(SettingsInvalid) as error:
        from_table(tables)
    assert says in str(error.value)
    assert key.rpartition(".")[0] in str(error.value)


@pytest.mark.parametrize(
    ("rule", "key", "says"),
    [
        ({"when": {"chanel": "chat"}, "set": {"tone": "brief"}}, "when.chanel", "Did you mean 'channel'?"),
        ({"when": {"channel": "chatt"}, "set": {"tone": "brief"}}, "when.channel", "Did you mean 'chat'?"),
        ({"when": {"account_age": 5}, "set": {"tone": "brief"}}, "when.account_age", "[lowest, highest]"),
        ({"when": {"channel": "chat"}, "set": {"tone": "breif"}}, "set.tone", "Did you mean 'brief'?"),
        ({"when": {"channel": "chat"}, "set": {"tune": "brief"}}, "set.tune", "Did you mean 'tone'?"),
        ({"when": {"channel": "chat"}}, "set", "Set at least one of tone, answer."),
        ({"if": {}}, "if", "It must be one of"),
    ],
)
def test_a_mistake_in_a_rule_is_named_by_its_number_and_key(rule: Any, key: str, says: str) -> None:
    tables = {**TABLES, "baseline": {"default": "brief/article", "rules": [rule]}}
    with pytest.raises(SettingsInvalid) as error:
        from_table(tables)
    assert error.value.field == f"baseline.rules.0.{key}"
    assert says in str(error.value)


def test_a_rule_cannot_look_at_text() -> None:
    tables = {
        **TABLES,
        "context": {"word": {"kind": "text"}},
        "baseline": {"default": "brief/article", "rules": [{"when": {"word": "a"}, "set": {"tone": "brief"}}]},
    }
    with pytest.raises(SettingsInvalid, match="categories and numbers only"):
        from_table(tables)


def test_bins_and_edges_exclude_each_other() -> None:
    tables = copy.deepcopy(TABLES)
    tables["context"]["account_age"]["bins"] = 4
    with pytest.raises(SettingsInvalid, match="bins or edges, not both"):
        from_table(tables)


def test_a_missing_kind_is_asked_for() -> None:
    tables = copy.deepcopy(TABLES)
    del tables["context"]["channel"]["kind"]
    with pytest.raises(SettingsInvalid, match=r"context.channel.kind is missing. It must be one of 'category'"):
        from_table(tables)


def test_a_description_of_something_else_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="not one of a domain"):
        from_description({"fields": [{}]})
