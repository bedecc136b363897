"""Mirrored logs of Azure AI Personalizer: every event comes back as what was decided, and goes out as it came."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bondhu.domains.declared import DeclaredDomain, from_table
from bondhu.errors import InvalidInput
from bondhu.log.export import export
from bondhu.log.importers import Source, open_source, suggest_domain
from bondhu.log.memory import MemoryLog
from bondhu.types import Decision, Feedback
from tests.service.eater import tables
from tests.service.shop import shop

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[3] / "shared" / "data")) / "vw_test_cb"
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no Vowpal Wabbit test logs at {DATA}")
STAMP = "2021-02-04T16:31:29.0000000Z"
COFFEE = [
    {"_tag": "mocha", "i": {"constant": 1, "id": "mocha"}, "j": [{"roast": "light"}]},
    {"_tag": "latte", "i": {"constant": 1, "id": "latte"}, "j": [{"roast": "dark"}, {"milk": True}]},
    {"_tag": "cold", "i": {"constant": 1, "id": "cold"}, "j": []},
]


def ranking() -> DeclaredDomain:
    declared = {
        key: each for key, each in tables().items() if key in ("domain", "context", "actions", "reward", "baseline")
    }
    return from_table(declared)


def event(name: str, **more: Any) -> dict[str, Any]:
    return {
        "_label_cost": -0.5, "_label_probability": 0.8, "_label_Action": 2, "_labelIndex": 1,
        "o": [{"v": 0.5, "EventId": name, "ActionTaken": False}], "Timestamp": STAMP, "Version": "1", "EventId": name,
        "a": [2, 1, 3], "c": {"FromUrl": [{"weather": "sunny"}], "_multi": COFFEE}, "p": [0.8, 0.1, 0.1],
        "VWState": {"m": "model-7"}, **more,
    }  # fmt: skip


def read(path: Path, *lines: dict[str, Any], domain: DeclaredDomain | None = None) -> tuple[Source, Any, Any]:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = open_source(path, domain or ranking(), "dsjson")
    chunks = list(source.chunks())
    decisions: list[Decision] = [row for chunk in chunks for row in chunk.decisions]
    feedback: list[Feedback] = [row for chunk in chunks for row in chunk.feedback]
    return source, decisions, feedback


def test_an_event_keeps_its_actions_with_their_names_and_features(tmp_path: Path) -> None:
    _, (made,), (said,) = read(tmp_path / "a.json", event("e1"))
    assert made.context == {
        "contextFeatures": [{"weather": "sunny"}],
        "actions": [
            {"id": "mocha", "features": [{"roast": "light"}]},
            {"id": "latte", "features": [{"roast": "dark"}, {"milk": True}]},
            {"id": "cold", "features": []},
        ],
    }
    assert (made.id, made.session, made.action, made.probability) == ("e1", "e1", "actions-2", 0.8)
    assert (made.allowed, made.version) == (("actions-1", "actions-2", "actions-3"), "model-7")
    assert (said.decision_id, said.signal, said.value) == ("e1", "reward", 0.5)


def test_actions_that_were_excluded_are_not_open(tmp_path: Path) -> None:
    _, (made,), _ = read(tmp_path / "a.json", event("e1", a=[2, 3], p=[0.8, 0.2]))
    assert made.allowed == ("actions-2", "actions-3")


def test_an_event_nobody_rewarded_gets_the_default_reward_of_the_deployment(tmp_path: Path) -> None:
    _, made, said = read(tmp_path / "a.json", event("e1", o=[], _label_cost=0.0))
    assert (len(made), said) == (1, [])


def test_deferred_events_count_once_something_activates_them(tmp_path: Path) -> None:
    here = [{"EventId": "here", "DeferredAction": False}, {"v": 1.0, "EventId": "here"}]
    source, made, said = read(
        tmp_path / "a.json",
        event("never", DeferredAction=True, o=[], _deferred=True),
        event("here", DeferredAction=True, o=here),
        event("later", DeferredAction=True, o=[], _label_cost=0.0),
        {"RewardValue": 0.25, "EventId": "later", "DeferredAction": False, "EnqueuedTimeUtc": STAMP},
    )
    assert [each.id for each in made] == ["here", "later"]
    assert [(each.decision_id, each.value) for each in said] == [("here", 1.0), ("later", 0.25)]
    assert dict(source.report.skipped) == {"deferred, and never activated": 1}
    assert source.report.read == 4


def test_rewards_on_lines_of_their_own_reach_their_events(tmp_path: Path) -> None:
    outside = {"RewardValue": 0.75, "EnqueuedTimeUtc": "2021-02-04T16:41:29Z", "EventId": "e1"}
    several = {"RewardValue": 9, "EventId": "e1", "Observations": [{"v": 0.5, "EventId": "e1"}, {"v": None}]}
    source, made, said = read(tmp_path / "a.json", event("e1", o=[]), outside, several, {"EventId": "checkpoint"})
    log = MemoryLog()
    for _ in range(2):  # importing again changes nothing
        log.append(made, said)
    found = log.find("e1")
    assert found is not None
    assert [each.value for each in found[1]] == [0.75, 0.5]
    assert found[1][0].time == made[0].time + 600.0
    assert source.report.skipped.total() == 1


def several(**more: Any) -> dict[str, Any]:
    context = {
        "FromUrl": [{"weather": "sunny"}],
        "_multi": COFFEE,
        "_slots": [{"_id": "main", "sj": [{"size": "large"}]}, {"_id": "side"}],
    }
    outcomes = [
        {"_label_cost": -0.6, "_id": "main", "_a": [1, 0, 2], "_p": [0.5, 0.25, 0.25], "_o": [{"v": 0.6}]},
        {"_label_cost": 0.0, "_id": "side", "_a": [2, 0], "_p": [0.75, 0.25], "_o": []},
    ]
    return {"Timestamp": STAMP, "EventId": "m", "c": context, "_outcomes": outcomes, "VWState": {"m": "N"}, **more}


def test_an_event_of_several_slots_is_a_decision_each_in_one_session(tmp_path: Path) -> None:
    _, (main, side), (said,) = read(tmp_path / "a.json", several())
    assert [each.id for each in (main, side)] == ["m", "m/side"]
    assert {main.session, side.session} == {"m"}
    assert (main.action, main.probability, main.allowed) == (
        "actions-2", 0.5, ("actions-1", "actions-2", "actions-3"),
    )  # fmt: skip
    assert (side.action, side.probability, side.allowed) == ("actions-3", 0.75, ("actions-1", "actions-3"))
    assert main.context["contextFeatures"][-1] == {"slot": {"id": "main", "features": [{"size": "large"}]}}
    assert (said.decision_id, said.value) == ("m", 0.6)


def test_slots_that_were_deferred_and_not_activated_are_left_out(tmp_path: Path) -> None:
    activated = several(EventId="n", DeferredAction=True)
    activated["_outcomes"][0]["_o"].append({"EventId": "n", "DeferredAction": False})
    quiet = several(DeferredAction=True)
    source, made, _ = read(tmp_path / "a.json", quiet, activated)
    assert [each.id for each in made] == ["n", "n/side"]
    assert source.report.skipped.total() == 2


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"_outcomes": []}, "2 slots, 0 outcomes"),
        ({"_outcomes": [{"_label_cost": 0, "_a": [7], "_p": [1.0]}] * 2}, "ranks"),
        ({"_outcomes": [{"_label_cost": 0, "_a": [1], "_p": []}] * 2}, "ranks"),
        ({"c": {"_multi": [{"_slot_id": 0}], "_slots": [{}]}}, "multi-slot logs are not supported"),
    ],
)
def test_broken_events_of_several_slots_are_refused(tmp_path: Path, wrong: dict[str, Any], why: str) -> None:
    source, made, _ = read(tmp_path / "a.json", several(**wrong))
    assert made == []
    assert why in source.report.refusals[0].reason


@real
@pytest.mark.parametrize(
    ("name", "decisions", "reward"), [("ccb_simple.json", 2, 2.0), ("ccb_automl.dsjson", 18, None)]
)
def test_real_logs_of_several_slots_are_read(name: str, decisions: int, reward: float | None) -> None:
    source = open_source(DATA / name, from_table(suggest_domain(DATA / name)))
    chunks = list(source.chunks())
    assert (source.report.accepted, source.report.refused) == (decisions, 0)
    if reward is not None:
        assert sum(row.value or 0.0 for chunk in chunks for row in chunk.feedback) == reward


@real
def test_a_real_mirrored_log_becomes_requests_with_their_actions() -> None:
    source = open_source(DATA / "dsjson_cb.json", ranking())
    made = [row for chunk in source.chunks() for row in chunk.decisions]
    assert (len(made), source.report.refused) == (23, 0)
    assert [each["id"] for each in made[0].context["actions"]] == ["Cappucino", "Cold brew", "Iced mocha", "Latte"]
    assert made[0].action == "actions-4"
    assert made[0].context["contextFeatures"] == [{"timeofday": "Afternoon", "weather": "Sunny", "name": "Cathy"}]


# -------------------------------------------------------------------------------------------------------------- export


def test_what_is_exported_comes_back_as_equal_decisions(tmp_path: Path) -> None:
    _, made, said = read(tmp_path / "a.json", event("e1"), event("e2", o=[], a=[2, 3], p=[0.8, 0.2]), several())
    made[0] = made[0]._replace(user="u", time=made[0].time + 0.1234567, memo=(0.2, -1.5))
    made[1] = made[1]._replace(variant="holdout", assigned=0.25, memo=(1 / 3,))
    log = MemoryLog()
    log.append(made, said)
    assert export(log.read("personalizer", 0, 1e12), ranking(), tmp_path / "out.dsjson") == 4
    source = open_source(tmp_path / "out.dsjson", ranking())
    again = [row for chunk in source.chunks() for row in chunk.decisions]
    assert again == made
    assert source.report.notes.total() == 0
    lines = [json.loads(line) for line in (tmp_path / "out.dsjson").read_text().splitlines()]
    assert lines[0]["a"] == [2, 1, 3]
    assert lines[0]["p"] == pytest.approx([0.8, 0.1, 0.1])
    assert lines[0]["_label_cost"] == -0.5
    assert [each["i"]["id"] for each in lines[0]["c"]["_multi"]] == ["mocha", "latte", "cold"]


def test_actions_known_by_their_names_go_out_and_come_back_too(tmp_path: Path) -> None:
    table = {**tables(), "context": {"mood": {"kind": "category", "values": ["happy", "sad"]}},
             "actions": {"names": ["red", "blue"]}, "baseline": {}}  # fmt: skip
    domain = from_table({key: table[key] for key in ("domain", "context", "actions", "reward", "baseline")})
    made = Decision(
        "e", domain.name, "s", "u", 1_795_003_200.5, {"mood": "sad"}, ("red", "blue"), "blue", 0.25, (), "v", "live"
    )
    log = MemoryLog()
    log.append([made], [Feedback("f", "e", "reward", 0.5, made.time + 1)])
    export(log.read(domain.name, 0, 1e12), domain, tmp_path / "out.dsjson")
    (chunk,) = open_source(tmp_path / "out.dsjson", domain).chunks()
    assert chunk.decisions == [made]
    assert [each.value for each in chunk.feedback] == [0.5]


def paid(**reward: Any) -> DeclaredDomain:
    """The Personalizer's domain, whose reward is this."""
    names = ("domain", "context", "actions", "reward", "baseline")
    return from_table({key: each for key, each in tables(reward=reward).items() if key in names})


@pytest.mark.parametrize(
    ("reward", "costs"),
    [
        ({"aggregate": "first", "default": 0.5}, [-0.25, 1.0, -0.5, 0.0]),
        ({"aggregate": "sum", "default": -0.5}, [-1.25, 0.0, 0.5, 0.0]),
        ({"aggregate": "sum", "signals": {"reward": {"weight": 2.0, "range": [0.0, 1.0]}}}, [-2.5, -2.0, 0.0, 0.0]),
    ],
)
def test_the_cost_is_minus_the_reward_that_a_training_counts(
    tmp_path: Path, reward: dict[str, Any], costs: list[float]
) -> None:
    domain = paid(**reward)
    _, (one,), _ = read(tmp_path / "a.json", event("e1", o=[]))
    made = [one._replace(id=name, session=name) for name in ("e1", "e2", "settled")]
    made.append(one._replace(id="young", session="young", time=one.time + 1.0))
    said = [("e1", 0.25, 10.0), ("e1", 1.0, 20.0), ("e2", -1.0, 10.0), ("e2", 1.0, 20.0), ("settled", 1.0, 601.0)]
    log = MemoryLog()
    log.append(made, [Feedback(f"f{n}", of, "reward", value, one.time + at) for n, (of, value, at) in enumerate(said)])
    export(log.read(domain.name, 0, 1e12), domain, tmp_path / "out.dsjson", now=one.time + 600.0)
    lines = [json.loads(line) for line in (tmp_path / "out.dsjson").read_text().splitlines()]
    assert [each["_label_cost"] for each in lines] == costs
    assert [[each["v"] for each in line["o"]] for line in lines] == [[0.25, 1.0], [-1.0, 1.0], [], []]


@pytest.mark.parametrize(
    ("own", "field"),
    [
        ({"variant": 5}, "variant"),
        ({"user": ["u"]}, "user"),
        ({"assigned": "often"}, "assigned"),
        ({"assigned": 1.5}, "assigned"),
        ({"memo": 0.5}, "memo"),
        ({"memo": [None]}, "memo"),
        ({"time": {}}, "time"),
    ],
)
def test_what_an_export_added_is_checked_when_it_comes_back(tmp_path: Path, own: dict[str, Any], field: str) -> None:
    source, made, _ = read(tmp_path / "a.json", event("e1", _bondhu=own))
    assert made == []
    assert [each.field for each in source.report.refusals] == [field]


def test_features_of_actions_are_said_to_be_left_out_only_where_they_are(tmp_path: Path) -> None:
    table = {**tables(), "context": {"mood": {"kind": "category", "values": ["happy", "sad"]}},
             "actions": {"names": ["mocha", "latte", "cold"]}, "baseline": {}}  # fmt: skip
    named = from_table({key: table[key] for key in ("domain", "context", "actions", "reward", "baseline")})
    plain = [{**each, "j": []} for each in COFFEE]
    lines = event("e1", c={"mood": "sad", "_multi": COFFEE}), event("e2", c={"mood": "sad", "_multi": plain})
    source, made, _ = read(tmp_path / "a.json", *lines, domain=named)
    assert (len(made), dict(source.report.notes)) == (2, {"features of actions are left out": 1})
    source, made, _ = read(tmp_path / "a.json", event("e1"), several())
    assert (len(made), dict(source.report.notes)) == (3, {})
    source, _, _ = read(tmp_path / "a.json", event("e1", pdrop=0.5))
    assert len(source.report.notes) == 1


def test_a_log_of_other_signals_is_not_dsjson(tmp_path: Path) -> None:
    made = Decision("e", "shop", "s", None, 1.0, {"mood": "sad", "age": 1}, ("red",), "red", 1.0, (), "v", "live")
    log = MemoryLog()
    log.append([made], [Feedback("f", "e", "like", 1.0, 2.0)])
    with pytest.raises(InvalidInput, match="one reward, not 'like'"):
        export(log.read("shop", 0, 1e12), shop(), tmp_path / "out.dsjson")
