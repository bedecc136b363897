"""Actions that come by name with any features: what a learner sees of them, and what is refused."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete

from bondhu.domains.declared import DeclaredDomain, from_description, from_table
from bondhu.domains.hashing import crossed, hash_of, hashed, joined, with_pairs
from bondhu.errors import InvalidInput
from bondhu.log.memory import MemoryLog
from bondhu.log.rewards import firsts
from bondhu.types import Decision, Feedback
from tests.service.eater import MEALS, tables

DECLARED = ("domain", "context", "actions", "reward", "baseline")


def ranking(**actions: int) -> DeclaredDomain:
    return from_table({key: each for key, each in tables(context={"actions": actions}).items() if key in DECLARED})


def values(features: Any) -> dict[str, float]:
    """The features by name, for names that the test knows."""
    names = [
        "age",
        "plan=pro",
        "mobile",
        "tags=a",
        "tags=b",
        "size[0]",
        "size[1]",
        "user.age",
        "words=hello",
        "words=there",
        "big",
    ]
    by_hash = {hash_of(name): name for name in names}
    found = hashed(features)
    return {by_hash[int(name)]: value for name, value in zip(found.names, found.values.tolist(), strict=True)}


def test_names_are_hashed_as_published() -> None:
    assert hash_of("user.age") == int.from_bytes(blake2b(b"user.age", digest_size=8).digest(), "little")
    assert hash_of("id=pasta") == 13_637_966_166_021_108_437
    pair = with_pairs(hashed({"a": 2.0, "b": 3.0}))
    assert pair.values.tolist() == [2.0, 3.0, 6.0]
    assert int(pair.names[2]) == mixed(min(map(hash_of, "ab")), max(map(hash_of, "ab")))


def mixed(one: int, other: int) -> int:
    """SplitMix64's finaliser, in whole numbers."""
    bits = (one + 0x9E3779B97F4A7C15 * other) % 2**64
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
    return bits ^ (bits >> 31)


def test_numbers_are_values_and_all_else_is_an_indicator() -> None:
    assert values({"age": 31, "plan": "pro", "mobile": True, "gone": None, "off": False, "_own": 5}) == {
        "age": 31.0, "plan=pro": 1.0, "mobile": 1.0,
    }  # fmt: skip
    assert values([{"tags": ["a", "b"]}, {"size": [1, 2.5]}, {"user": {"age": 5}}]) == {
        "tags=a": 1.0, "tags=b": 1.0, "size[0]": 1.0, "size[1]": 2.5, "user.age": 5.0,
    }  # fmt: skip
    assert values({"words": {"_text": "Hello there"}, "big": -1e30}) == {
        "words=hello": 1,
        "words=there": 1,
        "big": -1e9,
    }


def test_what_is_nested_too_deeply_or_too_much_is_left_out_and_no_number_refused() -> None:
    deep: Any = 1
    for _ in range(20):
        deep = {"a": deep}
    assert hashed({"deep": deep, "age": 5}).values.tolist() == [5.0]
    many = hashed({str(number): number for number in range(1_000)})
    assert many.values.tolist() == list(range(100))
    assert len(with_pairs(many).values) == 100 + 24 * 23 // 2
    with pytest.raises(InvalidInput, match="not a number"):
        hashed({"a": float("nan")})


def test_each_feature_and_each_product_has_its_place_and_sign() -> None:
    action, about = hashed({"a": 2.0}), hashed({"b": 3.0})
    found = crossed(joined([action]), np.zeros(1, np.int64), about, 64, 1)[0]
    expected = np.zeros(64)
    for name, value in ((hash_of("a"), 2.0), (mixed(hash_of("a"), hash_of("b")), 6.0)):
        expected[name % 64] += -value if name >> 63 else value
    np.testing.assert_array_equal(found, expected)


def test_an_action_is_seen_by_what_it_is_like_and_not_by_its_place() -> None:
    domain = ranking(most=6, size=128)
    encoder = domain.encoder(Box)
    context = {"contextFeatures": [{"timeOfDay": "noon"}], "actions": MEALS}
    row = encoder.one(context)
    assert row.shape == encoder.space.shape == (6, 129)
    turned = encoder.one({**context, "actions": MEALS[::-1]})
    np.testing.assert_array_equal(row[:4], turned[:4][::-1])
    assert row[4:].tolist() == [[0.0] * 129] * 2
    assert row[:, -1].tolist() == [1, 1, 1, 1, 0, 0]
    lines = [b'{"contextFeatures":[],"actions":[{"id":"a"}]}', json.dumps(context).encode()]
    many = encoder.many(domain.columns(lines))
    np.testing.assert_array_equal(many[1], row)
    assert domain.encoder(MultiDiscrete).one(context).tolist() == [0, 3]


def test_another_size_can_be_tried_on_the_same_contexts() -> None:
    line = [b'{"contextFeatures":[{"a":1}],"actions":[{"id":"a","features":[{"b":2}]},{"id":"c"}]}']
    shapes = [domain.encoder(Box).many(domain.columns(line)).shape for domain in (ranking(size=16), ranking(size=999))]
    assert shapes == [(1, 6, 17), (1, 6, 1000)]


def test_the_domain_comes_back_from_its_description() -> None:
    domain = ranking(most=6)
    assert from_description(domain.describe()) == domain
    assert domain.choices({"actions": MEALS}) == domain.actions[:4]
    assert domain.reward.aggregate == "first"


def test_the_rule_takes_the_first_action_that_is_open() -> None:
    rule = ranking(most=4).baseline()
    allowed = np.array([[True] * 4, [False, False, True, True]])
    seen = np.zeros((2, 2), np.int64)
    assert rule.distribution(seen, allowed).tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]
    assert rule.probability(seen, allowed, np.array([0, 3])).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"contextFeatures": {}, "actions": MEALS},
        {"contextFeatures": ["x"], "actions": MEALS},
        {"contextFeatures": [], "actions": []},
        {"contextFeatures": [], "actions": [*MEALS, *MEALS]},
        {"contextFeatures": [], "actions": ["pasta"]},
        {"contextFeatures": [], "actions": [{"id": ""}]},
        {"contextFeatures": [], "actions": [{"id": "a", "features": {"b": 1}}]},
        {"contextFeatures": [], "actions": [{"id": "a"}, {"id": "a"}]},
        {"actions": MEALS},
    ],
)
def test_contexts_that_are_none_are_refused_with_the_field(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as raised:
        ranking(most=6).encoder(Box).one(wrong)
    assert raised.value.field in ("actions", "contextFeatures")


def test_other_fields_do_not_stand_beside_ranked_actions() -> None:
    table = tables(context={"mood": {"kind": "category", "values": ["a", "b"]}})
    with pytest.raises(InvalidInput, match="'mood' stands beside"):
        from_table({key: table[key] for key in DECLARED}).encoder(Box)


def test_the_first_of_several_is_the_earliest_of_its_signal() -> None:
    log = MemoryLog()
    log.append([Decision(name, "d", name, None, 0.0, {}, ("a",), "a", 1.0, (), "v", "live") for name in ("x", "y")])
    said = [("x", "r", 5.0), ("y", "r", 3.0), ("x", "r", 2.0), ("x", "s", 9.0), ("y", "r", 3.0)]
    log.append([], [Feedback(f"f{n}", name, signal, 1.0, time) for n, (name, signal, time) in enumerate(said)])
    records = log.read("d", -1.0, 1.0)
    found = {(records.id[row], each, time) for row, each, time, first in zip(
        records.feedback_decision.tolist(), records.feedback_signal, records.feedback_time.tolist(),
        firsts(records).tolist(), strict=True) if first}  # fmt: skip
    assert found == {("x", "r", 2.0), ("x", "s", 9.0), ("y", "r", 3.0)}
    assert firsts(records).sum() == 3
