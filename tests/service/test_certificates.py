"""Certificates of erasures on the screen, whatever somebody has made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bondhu.certificates import certificates
from bondhu.cli import app as commands
from bondhu.erasing import erase
from bondhu.imports import archive_old
from bondhu.log.importers import to_toml
from bondhu.ports import ERASURE
from tests.service.stand import Clock, log, opened, tables

DAY = 86_400.0


def shown(path: Path) -> tuple[int, list[str]]:
    """Exit status and the last line of `bondhu certificates`."""
    (path / "bondhu.toml").write_text(to_toml(tables()), encoding="utf-8")
    done = CliRunner().invoke(
        commands, ["certificates", "-C", str(path)], catch_exceptions=False, env={"COLUMNS": "200"}
    )
    return done.exit_code, done.stdout.strip().splitlines()[-1].split()


@pytest.mark.parametrize(
    "change",
    [
        {"seal": "\u00e9"},
        {"seal": None},
        {"decisions": "x"},
        {"decisions": [1]},
        {"at": "yesterday"},
        {"at": 1e300},
        {"unreached": 3},
        {"files": 3},
        {"files": {"archive": "x"}},
        {"subject": 3},
        {"by": {"a": 1}},
    ],
)
def test_a_certificate_that_was_tampered_with_is_shown_as_changed(tmp_path: Path, change: dict[str, Any]) -> None:
    app = opened(tmp_path, Clock())
    body = erase(app, "ann", by="me")
    app.ledger.note(ERASURE, "shop", {**body, **change}, time=app.now())
    assert [each.problem for each in certificates(app)] == ["", "changed since it was sealed"]
    status, words = shown(tmp_path)
    assert (status, words[-4:]) == (1, ["changed", "since", "it", "was"]) or words[-1] == "sealed"


def test_what_is_no_certificate_is_shown_as_changed_and_stops_no_erasure(tmp_path: Path) -> None:
    app = opened(tmp_path, Clock())
    app.ledger.note(ERASURE, "shop", [1], time=app.now())  # type: ignore[arg-type]  # that is the point
    assert [each.problem for each in certificates(app)] == ["changed: it is no certificate"]
    assert shown(tmp_path)[0] == 1
    erase(app, "ann", by="me")
    assert [each.problem for each in certificates(app)] == ["changed: it is no certificate", ""]


def test_decisions_that_were_erased_from_the_archive_are_counted(tmp_path: Path) -> None:
    app = opened(tmp_path, Clock())
    log(app, ["ann", "bob"], 3, ago=40 * DAY)
    log(app, ["ann"], 2)
    assert archive_old(app, 30.0).decisions == 6
    body = erase(app, "ann", by="me")
    assert (body["decisions"], body["files"]["archive"]) == (2, 3)
    status, words = shown(tmp_path)
    assert (status, words[5:7]) == (0, ["5", "0"])
