"""What every benchmark shares: a run that is stopped keeps what it has measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.report import Row

FIRST, SECOND = Row("first", 1.5, "s"), Row("second", 2.5, "times", ">= 2", True, "peer", 4.5)


def names_in(file: Path) -> list[str]:
    return [row["name"] for row in json.loads(file.read_text(encoding="utf-8"))]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.json"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, file: Path) -> Callable[[Callable[[bool], Iterable[Row]]], None]:
    monkeypatch.setattr("sys.argv", ["some", "--json", str(file)])
    return lambda measure: report.main("some", measure)


def test_rows_may_come_all_at_once(run, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(lambda quick: [FIRST, SECOND])
    assert json.loads(file.read_text(encoding="utf-8")) == [
        {"name": "first", "value": 1.5, "unit": "s", "goal": "", "holds": None, "peer": "", "peer_value": None},
        {"name": "second", "value": 2.5, "unit": "times", "goal": ">= 2", "holds": True, "peer": "peer",
         "peer_value": 4.5},
    ]  # fmt: skip
    printed = capsys.readouterr().out
    assert "benchmarks.some\n" in printed.replace(" ", "")
    assert "second" in printed


def test_what_could_not_be_measured_is_null_and_says_so(run, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(lambda quick: [Row("slow disk", float("nan"), "ms", "< 2", False)])
    assert [row["value"] for row in json.loads(file.read_text(encoding="utf-8"))] == [None]
    assert "not measured" in capsys.readouterr().out


def test_a_run_without_rows_leaves_an_empty_list(run, file: Path) -> None:
    file.write_text('[{"name": "of an earlier run"}]', encoding="utf-8")
    run(lambda quick: [])
    assert names_in(file) == []


def test_the_file_is_whole_after_every_row(run, file: Path) -> None:
    found: list[list[str]] = []

    def measure(quick: bool) -> Iterator[Row]:
        for row in (FIRST, SECOND):
            yield row
            found.append(names_in(file))

    run(measure)
    assert found == [["first"], ["first", "second"]]
    assert [each.name for each in file.parent.iterdir()] == ["rows.json"]


def test_a_run_that_is_interrupted_prints_and_keeps_what_it_measured(
    run, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(quick: bool) -> Iterator[Row]:
        yield FIRST
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stopped:
        run(measure)
    assert stopped.value.code == 130
    assert names_in(file) == ["first"]
    printed = capsys.readouterr().out
    assert "benchmarks.some, stopped before its end" in printed
    assert "first" in printed


def test_a_run_that_fails_prints_and_keeps_what_it_measured_and_says_why(
    run, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(quick: bool) -> Iterator[Row]:
        for row in report.progress([FIRST, SECOND], "rows"):
            if row is SECOND:
                raise ZeroDivisionError("no peer")
            yield row

    with pytest.raises(ZeroDivisionError, match="no peer"):
        run(measure)
    assert names_in(file) == ["first"]
    printed, progressed = capsys.readouterr()
    assert "stopped before its end" in printed
    assert "rows" not in printed  # the bar is elsewhere
    assert "rows" in progressed


def test_a_file_in_no_folder_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = []
    monkeypatch.setattr("sys.argv", ["some", "--json", str(tmp_path / "none" / "rows.json")])
    with pytest.raises(SystemExit) as refused:
        report.main("some", lambda quick: measured.append(quick) or [])
    assert (refused.value.code, measured) == (2, [])
    assert f"there is no folder {tmp_path / 'none'}. Make it first." in capsys.readouterr().err
