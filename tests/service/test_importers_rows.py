"""CSV, JSON lines and Parquet: what is taken, what is refused and why, and what domain is suggested."""

from __future__ import annotations

import csv
import gzip
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bondhu.domains.declared import DeclaredDomain, from_table
from bondhu.errors import InvalidInput, UnknownName
from bondhu.log.importers import ColumnMapping, Source, open_source, suggest_domain, to_toml
from bondhu.types import Decision, Feedback

TABLE: dict[str, Any] = {
    "domain": {"name": "music", "idle": 0},
    "context": {
        "mood": {"kind": "category", "values": ["happy", "sad"]},
        "openness": {"kind": "number", "range": [0, 100], "bins": 5},
    },
    "actions": {"names": ["calm", "loud"]},
    "reward": {"default": 0.0, "wait": 0, "signals": {"reward": {"weight": 1.0, "range": [-1, 1]}}},
    "baseline": {"default": "calm"},
}
HEADER = ["id", "time", "mood", "openness", "action", "probability", "reward"]
GOOD = ["d1", "2026-11-21T13:05:01Z", "happy", "75", "calm", "0.25", "1"]


@pytest.fixture
def domain() -> DeclaredDomain:
    return from_table(TABLE)


def read(source: Source) -> tuple[list[Decision], list[Feedback]]:
    chunks = list(source.chunks())
    assert chunks[-1].done == source.size
    return [row for chunk in chunks for row in chunk.decisions], [row for chunk in chunks for row in chunk.feedback]


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def changed(**values: str) -> list[str]:
    return [values.get(name, cell) for name, cell in zip(HEADER, GOOD, strict=True)]


def test_a_csv_row_becomes_a_decision_and_its_feedback(tmp_path: Path, domain: DeclaredDomain) -> None:
    source = open_source(write(tmp_path / "log.csv", [GOOD]), domain)
    decisions, feedback = read(source)
    assert decisions == [
        Decision(
            id="d1",
            domain="music",
            session="d1",
            user=None,
            time=1_795_266_301.0,
            context={"mood": "happy", "openness": 75.0},
            allowed=("calm", "loud"),
            action="calm",
            probability=0.25,
            memo=(),
            version="imported",
            variant="live",
        )
    ]
    assert feedback == [Feedback("d1:0", "d1", "reward", 1.0, 1_795_266_301.0)]
    assert (source.report.read, source.report.accepted, source.report.feedback, source.report.refused) == (1, 1, 1, 0)


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        (changed(probability="0"), "probability", "not in (0, 1]"),
        (changed(probability="1.5"), "probability", "not in (0, 1]"),
        (changed(probability="nan"), "probability", "not a finite number"),
        (changed(probability="half"), "probability", "not a finite number"),
        (changed(probability=""), "probability", "has no probability"),
        (changed(action="quiet"), "action", "not one of the domain's"),
        (changed(action="cal"), "action", "Did you mean 'calm'?"),
        (changed(mood="hapy"), "mood", "Did you mean 'happy'?"),
        (changed(mood=""), "mood", "missing"),
        (changed(openness="101"), "openness", "outside 0 to 100"),
        (changed(openness="NaN"), "openness", "not a finite number"),
        (changed(openness="tall"), "openness", "not a finite number"),
        (changed(openness=""), "openness", "missing"),
        (changed(reward="2"), "reward", "outside -1 to 1"),
        (changed(reward="good"), "reward", "not a finite number"),
        (changed(time="yesterday"), "time", "neither ISO 8601"),
        (changed(mood="sad\0"), "line", "NUL"),
        (GOOD[:4], "row", "4 columns where the header has 7"),
    ],
)
def test_a_bad_row_is_refused_with_its_field_and_the_others_are_imported(
    tmp_path: Path, domain: DeclaredDomain, row: list[str], field: str, said: str
) -> None:
    rows = [GOOD, ["bad", *row[1:]], changed(id="d3")]
    source = open_source(write(tmp_path / "log.csv", rows), domain)
    decisions, _ = read(source)
    assert [each.id for each in decisions] == ["d1", "d3"]
    assert source.report.refused == 1
    refusal = source.report.refusals[0]
    assert (refusal.number, refusal.field) == (3, field)
    assert said in refusal.reason


def test_a_strict_import_refuses_everything_and_gives_out_no_row(tmp_path: Path, domain: DeclaredDomain) -> None:
    path = write(tmp_path / "log.csv", [GOOD, changed(id="d2", probability="0")])
    with pytest.raises(InvalidInput, match=r"1 of 2 rows were refused, so none was imported. row 3: probability"):
        next(open_source(path, domain, strict=True).chunks())
    whole = open_source(write(tmp_path / "whole.csv", [GOOD]), domain, strict=True)
    assert len(read(whole)[0]) == 1
    assert whole.report.read == 1


def test_one_reason_counts_all_rows_it_refused(tmp_path: Path, domain: DeclaredDomain) -> None:
    rows = [changed(id=f"d{n}", probability=str(-n)) for n in range(150)]
    source = open_source(write(tmp_path / "log.csv", rows), domain)
    read(source)
    assert dict(source.report.reasons) == {"probability: probability … is not in (0, 1].": 150}
    assert len(source.report.refusals) == 100


def test_a_missing_column_is_one_error_that_names_the_nearest(tmp_path: Path, domain: DeclaredDomain) -> None:
    header = ["id", "time", "moods", "openness", "action", "probability", "reward"]
    with pytest.raises(InvalidInput, match=r"no column 'mood' for mood. Did you mean 'moods'"):
        read(open_source(write(tmp_path / "log.csv", [GOOD], header), domain))
    header = ["id", "time", "mood", "openness", "choice", "probability", "reward"]
    with pytest.raises(InvalidInput, match="No column for the action"):
        read(open_source(write(tmp_path / "log.csv", [GOOD], header), domain))
    with pytest.raises(InvalidInput, match=r"no column 'choise' for action. Did you mean 'choice'"):
        read(open_source(tmp_path / "log.csv", domain, mapping=ColumnMapping(action="choise")))


def test_a_mapping_names_columns_constants_and_signals(tmp_path: Path, domain: DeclaredDomain) -> None:
    mapping = ColumnMapping.from_table(
        {
            "action": "arm_name",
            "probability": 0.5,
            "session": "visit",
            "user": "who",
            "time": "when",
            "allowed": "could",
            "reward": "stars",
            "context": {"mood": "m", "openness": "o"},
            "delay": 60.0,
        }
    )
    header = ["arm_name", "visit", "who", "when", "could", "stars", "m", "o"]
    path = write(tmp_path / "log.csv", [["loud", "s1", "u1", "1700000000500", "loud|calm", "-0.5", "sad", "3"]], header)
    decisions, feedback = read(open_source(path, domain, mapping=mapping))
    decision = decisions[0]
    assert (decision.action, decision.probability, decision.session, decision.user) == ("loud", 0.5, "s1", "u1")
    assert decision.time == 1_700_000_000.5
    assert decision.allowed == ("loud", "calm")
    assert feedback[0][2:5] == ("reward", -0.5, 1_700_000_060.5)


def test_an_unknown_part_of_a_mapping_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"A mapping has no 'propability'. Did you mean 'probability'"):
        ColumnMapping.from_table({"propability": "p"})
    assert ColumnMapping.from_table({"context": ["mood"]}).context == {"mood": "mood"}


def test_rows_without_id_and_time_import_the_same_way_twice(tmp_path: Path, domain: DeclaredDomain) -> None:
    header = ["mood", "openness", "action", "probability"]
    path = write(tmp_path / "log.csv", [["happy", "1", "calm", "0.5"], ["sad", "2", "loud", "0.5"]], header)
    first, _ = read(open_source(path, domain, start=1000.0))
    again, _ = read(open_source(path, domain, start=1000.0))
    assert first == again
    assert [each.time for each in first] == [1002.0, 1003.0]
    assert len({each.id for each in first}) == 2
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other" / "log.csv", [["sad", "1", "calm", "0.5"]], header)
    assert read(open_source(other, domain))[0][0].id not in {each.id for each in first}


def test_an_id_used_twice_is_refused_unless_it_says_the_same(tmp_path: Path, domain: DeclaredDomain) -> None:
    source = open_source(write(tmp_path / "log.csv", [GOOD, GOOD, changed(action="loud")]), domain)
    assert len(read(source)[0]) == 1
    assert (source.report.repeated, source.report.refused) == (1, 1)
    assert "'d1' was already used in this file with other content" in source.report.refusals[0].reason


def test_an_id_the_log_would_refuse_is_refused_alone(tmp_path: Path, domain: DeclaredDomain) -> None:
    source = open_source(write(tmp_path / "log.csv", [changed(id="x" * 128), GOOD, changed(id="y" * 129)]), domain)
    assert [each.id for each in read(source)[0]] == ["d1"]
    assert [(each.number, each.field) for each in source.report.refusals] == [(2, "id"), (4, "id")]


def test_a_gzip_cut_short_imports_what_is_whole_and_says_so(tmp_path: Path, domain: DeclaredDomain) -> None:
    rows = [changed(id=f"d{n}", openness=str(n * 7919 % 100), reward=str((n * 31 % 200) / 200)) for n in range(20_000)]
    packed = gzip.compress(write(tmp_path / "log.csv", rows).read_bytes())
    (tmp_path / "whole.csv.gz").write_bytes(packed)
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    assert len(read(open_source(tmp_path / "whole.csv.gz", domain))[0]) == 20_000
    source = open_source(tmp_path / "cut.csv.gz", domain)
    taken = len(read(source)[0])
    assert 1000 < taken < 20_000
    assert source.report.read == taken + source.report.refused
    assert "breaks off after line" in source.report.refusals[-1].reason


def test_chunks_say_how_far_the_file_was_read(tmp_path: Path, domain: DeclaredDomain) -> None:
    path = write(tmp_path / "log.csv", [changed(id=f"d{n}") for n in range(25_000)])
    source = open_source(path, domain)
    sizes, done = zip(*((len(chunk.decisions), chunk.done) for chunk in source.chunks()), strict=True)
    assert sizes == (10_000, 10_000, 5_000)
    assert 0 < done[0] < done[1] < done[2] == path.stat().st_size


def test_json_lines_may_nest_the_context_and_break(tmp_path: Path, domain: DeclaredDomain) -> None:
    good = {
        "id": "d1",
        "context": {"mood": "sad", "openness": 40},
        "allowed": ["loud"],
        "action": "loud",
        "probability": 1,
        "reward": None,
    }
    lines = [json.dumps(good), json.dumps({**good, "id": "d2", "reward": 0.5}), json.dumps(good)[:60], "[1]"]
    lines.append(json.dumps({**good, "id": "d3", "context": {"mood": "sad"}}))
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines))
    source = open_source(path, domain)
    decisions, feedback = read(source)
    assert [(each.id, each.allowed, each.context) for each in decisions] == [
        ("d1", ("loud",), {"mood": "sad", "openness": 40}),
        ("d2", ("loud",), {"mood": "sad", "openness": 40}),
    ]
    assert [(each.decision_id, each.value) for each in feedback] == [("d2", 0.5)]
    assert [(each.number, each.field) for each in source.report.refusals] == [(3, "line"), (4, "line"), (5, "openness")]
    assert "cut short" in source.report.refusals[0].reason


def test_parquet_keeps_types_and_nested_columns(tmp_path: Path, domain: DeclaredDomain) -> None:
    table = pa.table(
        {
            "time": pa.array([1_700_000_000_000, 1_700_000_001_000], pa.timestamp("ms", "UTC")),
            "context": [{"mood": "happy", "openness": 10.5}, {"mood": "angry", "openness": 1.0}],
            "action": ["calm", "calm"],
            "probability": [0.5, 0.5],
            "allowed": [["calm", "loud"], ["calm"]],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    source = open_source(tmp_path / "log.parquet", domain)
    decisions, _ = read(source)
    assert [(each.time, each.context) for each in decisions] == [(1.7e9, {"mood": "happy", "openness": 10.5})]
    assert source.report.refusals[0][:3] == (2, "mood", "angry")


def test_a_truncated_parquet_file_is_one_error(tmp_path: Path, domain: DeclaredDomain) -> None:
    pq.write_table(pa.table({"action": ["calm"] * 1000}), tmp_path / "log.parquet")
    content = (tmp_path / "log.parquet").read_bytes()
    (tmp_path / "log.parquet").write_bytes(content[:-20])
    with pytest.raises(InvalidInput, match="is not a whole Parquet file"):
        read(open_source(tmp_path / "log.parquet", domain))


def test_unknown_kinds_and_files_name_the_nearest(tmp_path: Path, domain: DeclaredDomain) -> None:
    path = write(tmp_path / "ratings.csv", [GOOD])
    with pytest.raises(UnknownName, match=r"No kind of log 'cvs'. Did you mean 'csv'"):
        open_source(path, domain, "cvs")
    with pytest.raises(InvalidInput, match=r"no file .*rating\.csv.* Did you mean 'ratings\.csv'"):
        open_source(tmp_path / "rating.csv", domain)


def test_other_delimiters_and_a_byte_order_mark_are_understood(tmp_path: Path, domain: DeclaredDomain) -> None:
    text = "\n".join(";".join(row) for row in (HEADER, GOOD))
    (tmp_path / "log.csv").write_text("\ufeff" + text, encoding="utf-8")
    assert [each.id for each in read(open_source(tmp_path / "log.csv", domain))[0]] == ["d1"]


def test_an_unclosed_quote_does_not_hide_rows_silently(tmp_path: Path, domain: DeclaredDomain) -> None:
    path = write(tmp_path / "log.csv", [GOOD])
    path.write_text(path.read_text() + 'd2,1700000000,"happy,1,calm,0.5,1\nd3,1700000000,happy,1,calm,0.5,1\n')
    source = open_source(path, domain)
    assert len(read(source)[0]) == 1
    assert "A quote may be missing" in source.report.refusals[0].reason


def test_a_declaration_is_suggested_from_the_columns(tmp_path: Path) -> None:
    header = ["time", "mood", "openness", "note", "action", "probability", "reward"]
    rows = [
        ["1", ["happy", "sad"][n % 2], str(n), f"text {n}", ["arm10", "arm2"][n % 2], "0.5", str(n % 3 - 1)]
        for n in range(150)
    ]
    path = write(tmp_path / "My Log.csv", rows, header)
    table = suggest_domain(path)
    assert table == {
        "domain": {"name": "my-log", "idle": 0},
        "context": {
            "mood": {"kind": "category", "values": ["happy", "sad"]},
            "openness": {"kind": "number", "range": [0.0, 149.0], "bins": 5},
            "note": {"kind": "text"},
        },
        "actions": {"names": ["arm2", "arm10"]},
        "reward": {"default": 0.0, "wait": 0.0, "signals": {"reward": {"weight": 1.0, "range": [-1.0, 1.0]}}},
        "baseline": {"default": "arm2"},
    }
    source = open_source(path, from_table(tomllib.loads(to_toml(table))))
    assert (len(read(source)[0]), source.report.refused) == (150, 0)


def test_vectors_and_empty_cells_are_suggested_and_imported(tmp_path: Path) -> None:
    rows = [
        {"context": {"embedding": [0.5, n], "mood": ["happy", None][n % 2]}, "action": "a", "probability": 1.0}
        for n in range(4)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    table = suggest_domain(path)
    assert table["context"] == {
        "embedding": {"kind": "vector", "size": 2},
        "mood": {"kind": "category", "values": ["happy", "none"]},
    }
    decisions, _ = read(open_source(path, from_table(table)))
    assert decisions[1].context == {"embedding": [0.5, 1], "mood": "none"}


def test_nothing_is_suggested_for_a_file_without_decisions(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No row of the file is a decision: it is empty"):
        suggest_domain(write(tmp_path / "log.csv", []))


def toml_values() -> st.SearchStrategy[Any]:
    scalars = st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
    inner = st.recursive(
        scalars,
        lambda value: st.one_of(
            st.lists(value, max_size=3),
            st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), value, max_size=3),
        ),
        max_leaves=12,
    )
    return st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(toml_values())
def test_any_table_survives_being_written_as_toml(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(table)) == table
