"""Quality is measured on text alone, with our rules, whatever a source says about them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from math import log
from pathlib import Path

import pytest

pytest.importorskip("radon", reason="needs the extra `coding`")
pytest.importorskip("ruff", reason="needs the extra `coding`")

from bondhu.domains.coding.quality import Quality, Reviewer, maintainability

GOOD = '''def total(values):
    """Sum of the values that are positive."""
    return sum(value for value in values if value > 0)
'''
UNUSED = "import json\n\n\ndef f(x):\n    return x\n"
UNSAFE = "def f(text):\n    return eval(text)\n"


def review(source: str) -> Quality:
    return Reviewer().review([source])[0]


def rules(source: str) -> list[str]:
    return [finding.rule for finding in review(source).findings]


def branches(count: int) -> str:
    return (
        "def f(x):\n"
        + "".join(f"    if x == {number}:\n        return {-number}\n" for number in range(count))
        + ("    return x\n")
    )


def test_a_clean_function_has_full_marks_and_no_findings() -> None:
    quality = review(GOOD)
    assert (quality.complexity, quality.style, quality.security, quality.findings) == (1.0, 1.0, 1.0, ())
    assert 0.6 < quality.readability <= 1.0


def test_readability_is_the_index_without_comments() -> None:
    expected = (171 - 5.2 * log(100.0) - 0.23 * 7 - 16.2 * log(20)) / 171
    assert maintainability(100.0, 7, 20) == pytest.approx(expected)
    assert maintainability(1e9, 500, 100_000) == 0.0


def test_comments_do_not_make_a_source_readable() -> None:
    tangled = branches(20)
    assert review("# well said\n" * 60 + tangled).readability == review(tangled).readability


def test_complexity_falls_with_the_paths_of_the_worst_function() -> None:
    assert review(branches(9)).complexity == 1.0  # 10 paths
    assert review(branches(19)).complexity == 0.5  # 20
    assert [each.rule for each in review(branches(19)).findings if each.rule == "complexity"] == ["complexity"]


def test_style_loses_one_finding_for_each_statement() -> None:
    assert review(UNUSED).style == pytest.approx(1 - 1 / 3)  # import, def, return
    assert rules(UNUSED) == ["F401"]
    assert review("import os\nimport sys\nimport json\n").style == 0.0


def test_security_is_not_diluted_by_length() -> None:
    assert review(UNSAFE).security == 0.5
    assert review(UNSAFE + "\n\n" + GOOD * 10).security == 0.5
    assert "B307" in rules(UNSAFE)
    assert review("import subprocess\n\n\ndef f(x):\n    subprocess.call(x, shell=True)\n").security == 0.0


@pytest.mark.parametrize(
    "comment",
    ["# noqa", "# noqa: F401", "# ruff: noqa", "# flake8: noqa", "# ruff: ignore[F401]", "# type: ignore", "# nosec"],
)
def test_comments_that_silence_a_rule_are_not_heard(comment: str) -> None:
    plain = "import json\nimport pickle\n\n\ndef f(x):\n    return eval(x)\n"
    silenced = "".join(f"{line}  {comment}\n" if line else "\n" for line in plain.splitlines())
    for source in (silenced, f"{comment}\n{plain}", f"# ruff: disable[F401]\n{plain}"):
        quality, honest = review(source), review(plain)
        assert (quality.style, quality.security) == (honest.style, honest.security) == (0.5, pytest.approx(0.45))


def test_a_declared_encoding_does_not_hide_what_runs() -> None:
    assert review("# coding: utf-7\nimport pickle\n").security == pytest.approx(0.9)
    assert rules("#!/usr/bin/python\n# -*- coding: rot13 -*-\nimport pickle\n") == ["B403", "F401"]


def test_configuration_around_it_does_not_switch_rules_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ruff.toml").write_text('exclude = ["*"]\n[lint]\nignore = ["ALL"]\n')
    (tmp_path / "pyproject.toml").write_text('[tool.bandit]\nskips = ["B307"]\n')
    (tmp_path / ".bandit").write_text("[bandit]\nskips: B307\n")
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("RUFF_OUTPUT_FORMAT", "concise")
    assert rules(UNUSED) == ["F401"]
    assert review(UNSAFE).security == 0.5


@pytest.mark.parametrize(
    "source",
    ["def f(:", "-" * 100_000 + "1", "(" * 500 + ")" * 500, "x = '\ud800'", "a\0b", "#" * 300_000, "f" + "()" * 900],
)
def test_what_cannot_be_read_scores_nothing_and_says_why(source: str) -> None:
    quality = review(source)
    assert set(quality.scores.values()) == {0.0}
    assert [finding.rule for finding in quality.findings] == ["invalid"]


def test_an_escape_that_is_none_is_a_matter_of_style() -> None:
    assert rules("x = '\\d'\n") == ["W605"]
    assert review("x = '\\d'\n").security == 1.0


def test_sources_are_read_and_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    review(f"open({str(mark)!r}, 'w').close()\n")
    assert not mark.exists()


def test_many_sources_go_into_one_call_and_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, run = [], subprocess.run

    def counted(*given, **named):
        calls.append(given)
        return run(*given, **named)

    monkeypatch.setattr(subprocess, "run", counted)
    reviewer = Reviewer(kept=2)
    first = reviewer.review([UNUSED, GOOD, UNUSED])
    assert len(calls) == 1
    assert first[0] == first[2] != first[1]
    assert reviewer.review([GOOD, UNUSED]) == [first[1], first[0]]
    assert len(calls) == 1
    reviewer.review([UNSAFE])
    reviewer.review([GOOD])  # the oldest of three was forgotten
    assert len(calls) == 3


def test_the_process_keeps_its_own_warnings() -> None:
    shown = warnings.formatwarning
    review(GOOD)
    assert warnings.formatwarning is shown


def test_a_missing_library_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['bandit'] = None\n"
        "from bondhu.domains.coding.quality import Reviewer\n"
        "try:\n    Reviewer().review(['x = 1\\n'])\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == (
        "InvalidInput Quality needs bandit, which is not installed. Install it: pip install 'bondhu[coding]'.\n"
    )
