"""Vowpal Wabbit logs: counts and sums worked out from the files by other means, and rows that are refused."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bondhu.domains.declared import DeclaredDomain, from_table
from bondhu.errors import InvalidInput
from bondhu.log.importers import Source, open_source, suggest_domain
from bondhu.types import Decision, Feedback

DATA = Path(os.environ.get("BONDHU_DATA", Path(__file__).parents[3] / "shared" / "data")) / "vw_test_cb"
real = pytest.mark.skipif(not DATA.is_dir(), reason=f"no Vowpal Wabbit test logs at {DATA}")


def simple(actions: Sequence[str] = ("1", "2", "3", "4")) -> DeclaredDomain:
    return from_table(
        {
            "domain": {"name": "vw", "idle": 0},
            "context": {"text": {"kind": "text"}},
            "actions": {"names": list(actions)},
            "reward": {"wait": 0, "signals": {"reward": {"weight": 1.0, "range": [-10, 10]}}},
        }
    )


def read(source: Source) -> tuple[list[Decision], list[Feedback]]:
    chunks = list(source.chunks())
    return [row for chunk in chunks for row in chunk.decisions], [row for chunk in chunks for row in chunk.feedback]


def log(path: Path, *lines: str | dict[str, Any]) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


# ---------------------------------------------------------------------------------------------------------- real files


@real
@pytest.mark.parametrize(
    ("name", "accepted", "skipped", "cost", "probability"),
    [
        ("cb_load.dat", 113, 0, -41.0, 53.7464960972),
        ("explore_eval_egreedy.dat", 50, 0, -29.0, 39.5555554922),
        ("rcv1_raw_cb_small.vw", 1000, 0, 477.0, 500.0),
        ("rcv1_cb_eval", 1000, 0, 477.0, 500.0),
        ("cb_test_non_binary_costs.ldf", 10, 5, 1.0, 5.0),
        ("cb_test_with_empty_shared_feature.ldf", 2, 1, 1.0, 1.0),
        ("cb_test_nonewline.ldf", 2, 1, 1.0, 1.0),
        ("cb_adf_sm.data", 4, 0, -0.5, 1.5),
        ("cb_adf_multipass_crash_1.data", 2, 0, 1.1, 1.25),
        ("cb_multi_cost.dat", 5, 0, 12.0, 4.7),
        ("cb_explore_cover.dat", 8, 0, 5.0, 4.0),
        ("cb_features_w_zero_vals.dat", 2, 1, 1.0, 1.0),
        ("cb_test256.json", 260, 0, 130.0, 130.0),
        ("cb_test.json", 2, 1, 1.0, 1.0),
        ("cb_simple.json", 1, 0, -1.0, 0.5),
        ("cb_as_ccb.json", 1, 0, -1.0, 0.2),
        ("cb_l_namespace.txt", 1, 0, -1.0, 0.5),
        ("dsjson_cb.json", 23, 0, -12.0, 17.150000479),
        ("dsjson_cb_part1.json", 12, 0, -6.0, None),
        ("dsjson_cb_part2.json", 11, 0, -6.0, None),
        ("dsjson_cb_default_ns.json", 4, 0, -2.0, 1.8),
        ("decisionservice.json", 3, 0, -2.0, 2.4500001),
    ],
)
def test_counts_and_sums_of_real_logs(
    name: str, accepted: int, skipped: int, cost: float, probability: float | None
) -> None:
    source = open_source(DATA / name, from_table(suggest_domain(DATA / name)))
    decisions, feedback = read(source)
    assert (source.report.accepted, source.report.refused) == (accepted, 0)
    assert source.report.skipped.total() == skipped
    assert math.isclose(sum(row.value or 0.0 for row in feedback), -cost, abs_tol=1e-9)
    assert {row.decision_id for row in feedback} == {row.id for row in decisions}
    if probability is not None:
        assert math.isclose(sum(row.probability for row in decisions), probability, abs_tol=1e-6)


@real
@pytest.mark.parametrize(
    ("name", "rows", "why"),
    [
        ("ccb_test.dat", 24, "multi-slot logs are not supported yet"),
        ("slates_simple.txt", 3, "multi-slot logs are not supported yet"),
        ("slates_simple_unlabeled.dsjson", 2, "multi-slot logs are not supported yet"),
        ("cats_train.json", 10, "continuous-action logs are not supported yet"),
        ("cats.acpx", 57, "continuous-action logs are not supported yet"),
        ("csoaa_1_ind.dat", 5, "a cost but no probability"),
        ("cs_test.ldf", 3, "a cost but no probability"),
        ("cb_simple_pdrop1.json", 1, "pdrop 1.0 is not in [0, 1)"),
    ],
)
def test_logs_of_other_problems_are_refused_row_by_row(name: str, rows: int, why: str) -> None:
    source = open_source(DATA / name, simple())
    assert read(source) == ([], [])
    assert (source.report.read, source.report.refused) == (rows, rows)
    assert all(why in refusal.reason for refusal in source.report.refusals)
    with pytest.raises(InvalidInput, match="No row of the file is a decision"):
        suggest_domain(DATA / name)


@real
def test_broken_json_lines_are_told_from_those_of_another_domain() -> None:
    source = open_source(DATA / "ccb_data_parse_error.json", simple())
    read(source)
    broken = [refusal.number for refusal in source.report.refusals if refusal.field == "line"]
    assert broken == [57, 69]
    assert source.report.refused == 77


@real
def test_a_decision_service_event_keeps_its_own_facts() -> None:
    domain = from_table(suggest_domain(DATA / "dsjson_cb.json"))
    decisions, feedback = read(open_source(DATA / "dsjson_cb.json", domain))
    assert decisions[1]._replace(context={}) == Decision(
        id="bf50a49c34b74937a81e8d6fc95faa99",
        domain=domain.name,
        session="bf50a49c34b74937a81e8d6fc95faa99",
        user=None,
        time=1_612_456_289.943,
        context={},
        allowed=("Cappucino", "Cold brew", "Iced mocha", "Latte"),
        action="Cappucino",
        probability=0.8500000238418579,
        memo=(),
        version="ff0744c1aa494e1ab39ba0c78d048146/550c12cbd3aa47f09fbed3387fb9c6ec",
        variant="live",
    )
    assert decisions[1].context == {
        "FromUrl_timeofday": "Evening",
        "FromUrl_weather": "Snowy",
        "FromUrl_name": "Alice",
    }
    assert (decisions[0].action, feedback[0].value, feedback[1].value) == ("Latte", 0.0, 1.0)


@real
def test_the_same_event_twice_counts_once() -> None:
    path = DATA / "cb_features_w_zero_vals.dsjson"
    source = open_source(path, from_table(suggest_domain(path)))
    assert len(read(source)[0]) == 1
    assert source.report.repeated == 1


@real
def test_blocks_name_the_action_by_its_place() -> None:
    decisions, _ = read(open_source(DATA / "cb_load.dat", from_table(suggest_domain(DATA / "cb_load.dat"))))
    assert decisions[0].action == "5"
    assert decisions[0].allowed == ("1", "2", "3", "4", "5", "6", "7")
    assert decisions[0].context == {"User_user": "Tom", "User_time_of_day": "morning"}
    assert decisions[1].action == "1"


# ---------------------------------------------------------------------------------------------------------- made files


def test_namespaces_become_categories_numbers_and_text(tmp_path: Path) -> None:
    path = log(
        tmp_path / "log.vw",
        "1:-1:0.5 |User mood=happy age:31 |Words:2 hello world x:1.5 | plain",
        "2:0.5:0.25 'tag |User mood=sad :7",
    )
    decisions, feedback = read(open_source(path, from_table(suggest_domain(path))))
    assert [row.context for row in decisions] == [
        {
            "User_mood": "happy",
            "User_age": 31.0,
            "Words": "hello world",
            "Words_x": 3.0,
            "text": "plain",
            "User_1": 0.0,
        },
        {"User_mood": "sad", "User_age": 0.0, "Words": "none", "Words_x": 0.0, "text": "none", "User_1": 7.0},
    ]
    assert [row.value for row in feedback] == [1.0, -0.5]


def test_bare_actions_list_what_was_allowed(tmp_path: Path) -> None:
    path = log(tmp_path / "log.vw", "1 2:1:0.5 4 | a", "3:1:0.5 | a")
    decisions, _ = read(open_source(path, simple()))
    assert [row.allowed for row in decisions] == [("1", "2", "4"), ("1", "2", "3", "4")]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("1:1:0 | a", "probability"),
        ("1:1:1.5 | a", "probability"),
        ("1:1:nan | a", "probability"),
        ("1:x:0.5 | a", "cost"),
        ("9:1:0.5 | a", "action"),
        ("one:1:0.5 x | a", "label"),
        ("1:1:0.5:2 | a", "label"),
        ("1:1:0.5 2:1:0.5 | a", "label"),
        ("1:99:0.5 | a", "reward"),
        ("1:1:0.5 |User age:old", "User_age"),
        ("1:1:0.5 | a\0", "line"),
    ],
)
def test_a_bad_text_example_is_refused_alone(tmp_path: Path, line: str, field: str) -> None:
    path = log(tmp_path / "log.vw", "1:1:0.5 | a", line, "2:1:0.5 | b")
    source = open_source(path, simple())
    assert [row.action for row in read(source)[0]] == ["1", "2"]
    assert [(refusal.number, refusal.field) for refusal in source.report.refusals] == [(2, field)]


EVENT: dict[str, Any] = {
    "_label_cost": -1.0,
    "_label_probability": 0.5,
    "_label_Action": 2,
    "_labelIndex": 1,
    "EventId": "e1",
    "a": [2, 1],
    "p": [0.5, 0.5],
    "c": {"_multi": [{}, {}]},
}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"_label_probability": 0, "p": None}, "probability"),
        ({"_label_probability": 2, "p": None}, "probability"),
        ({"_label_probability": None, "p": None}, "probability"),
        ({"_label_probability": 0.25}, "p"),
        ({"_labelIndex": 2}, "_labelIndex"),
        ({"_labelIndex": "x"}, "_labelIndex"),
        ({"_label_cost": "dear"}, "cost"),
        ({"c": {}}, "_multi"),
        ({"c": {"_multi": [{}, {}], "_slots": [{}]}}, "_outcomes"),
        ({"Timestamp": "soon"}, "time"),
        ({"pdrop": 1}, "pdrop"),
        ({"o": [{"v": "good"}]}, "o"),
    ],
)
def test_a_bad_event_is_refused_alone(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    path = log(tmp_path / "log.dsjson", EVENT, {**EVENT, "EventId": "e2", **change}, {**EVENT, "EventId": "e3"})
    source = open_source(path, simple())
    assert [row.id for row in read(source)[0]] == ["e1", "e3"]
    assert [(refusal.number, refusal.field) for refusal in source.report.refusals] == [(2, field)]


@pytest.mark.parametrize(
    "change", [{"c": 5}, {"c": {"_multi": 3}}, {"c": {"_multi": ["x"]}}, {"a": 7}, {"o": 4}, {"p": 1}]
)
def test_an_event_of_another_shape_is_refused_not_a_crash(tmp_path: Path, change: dict[str, Any]) -> None:
    path = log(tmp_path / "log.dsjson", {**EVENT, **change, "_labelIndex": None}, EVENT)
    source = open_source(path, simple())
    read(source)
    assert source.report.read == 2
    assert source.report.accepted >= 1


def test_outcomes_pdrop_and_rows_without_decision_are_reported(tmp_path: Path) -> None:
    path = log(
        tmp_path / "log.dsjson",
        {**EVENT, "o": [{"v": 0.25}, {"v": 1.0}, {"ActionTaken": True}], "pdrop": 0.9},
        {**EVENT, "EventId": "e2", "_skipLearn": True},
        {"RewardValue": 1.0, "EventId": "e1"},
        {"EventId": "e4", "a": [1], "p": [1.0], "c": {"_multi": [{}]}},
    )
    source = open_source(path, simple(), "dsjson")
    decisions, feedback = read(source)
    assert [(row.decision_id, row.value) for row in feedback] == [("e1", 0.25), ("e1", 1.0), ("e1", 1.0)]
    assert (len(decisions), source.report.skipped.total(), source.report.refused) == (1, 2, 0)
    assert list(source.report.notes) == ["sampled with pdrop: the weight 1 / (1 - pdrop) is not kept"]


def test_vw_json_takes_labels_as_text_and_as_object(tmp_path: Path) -> None:
    path = log(
        tmp_path / "log.json",
        {"_label": "2:-1:0.25", "_text": "hello"},
        {"_label": {"Action": 1, "Cost": 1, "Probability": 0.5}, "_text": "world"},
    )
    decisions, feedback = read(open_source(path, simple()))
    assert [(row.action, row.probability, row.context) for row in decisions] == [
        ("2", 0.25, {"text": "hello"}),
        ("1", 0.5, {"text": "world"}),
    ]
    assert [row.value for row in feedback] == [1.0, -1.0]


def test_a_line_cut_short_is_refused_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = log(tmp_path / "log.dsjson", EVENT, json.dumps({**EVENT, "EventId": "e2"})[:50])
    source = open_source(path, simple())
    assert len(read(source)[0]) == 1
    assert "cut short" in source.report.refusals[0].reason
