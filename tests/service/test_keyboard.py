"""The command line's help, its options, and the acts that it notes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from bondhu.cli import app as commands
from bondhu.cli.guarding import noting
from bondhu.errors import Conflict
from bondhu.log.importers import to_toml
from bondhu.log.sqlite import SqliteLedger
from tests.service.stand import tables


def run(*words: str) -> Any:
    return CliRunner().invoke(commands, list(words), env={"COLUMNS": "200"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bondhu.toml").write_text(to_toml(tables()), encoding="utf-8")
    return tmp_path


def acts(folder: Path) -> list[tuple[str, int]]:
    ledger = SqliteLedger(folder / "data" / "log.sqlite")
    return [(each.body["what"], each.body["status"]) for each in ledger.entries("act")]


def every(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands of the tree, by the words that are typed."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from every(inner, (*words, name))
    else:
        yield words, command


def test_the_help_of_every_command_says_all_that_was_written_for_it() -> None:
    found = list(every(get_command(commands)))
    assert len(found) > 25
    for words, command in found:
        printed = re.sub(r"\s+", " ", run(*words, "--help").stdout)
        texts = [command.help, *(each.help for each in command.params if each.help)]
        for text in texts:
            assert re.sub(r"\s+", " ", text) in printed, words
    assert "Default: [server] host." in run("serve", "--help").stdout


def test_the_grace_of_a_key_is_told_in_the_unit_it_is_given_in(folder: Path) -> None:
    done = run("key", "rotate", "abc", "--grace", "1000", "-C", str(folder))
    assert done.exit_code == 2
    assert "366" in done.output
    assert "seconds" not in done.output


def test_watching_and_reloading_are_acts_and_so_is_what_fails(folder: Path) -> None:
    assert run("watch", "-C", str(folder)).exit_code == 0
    run("reload", "-C", str(folder))
    run("erase", "ann", "-C", str(folder))  # nobody answers the question
    assert acts(folder) == [("bondhu watch", 200), ("bondhu reload", 409), ("bondhu erase", 400)]


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (None, 200),
        (typer.Exit(0), 200),
        (typer.Exit(1), 422),
        (typer.Abort(), 400),
        (Conflict("No.", fix="Wait."), 409),
        (OSError(28, "No space left on device"), 500),
        (KeyboardInterrupt(), 500),
    ],
)
def test_however_an_act_ends_it_is_noted(folder: Path, raised: BaseException | None, status: int) -> None:
    def act(directory: Path) -> None:
        if raised is not None:
            raise raised

    with nullcontext() if raised is None else pytest.raises(type(raised)):
        noting("archive", act)(directory=folder)
    assert acts(folder) == [("bondhu archive", status)]


def test_an_empty_address_is_no_folder_to_be_examined(folder: Path) -> None:
    done = run("doctor", "--server", "", "-C", str(folder))
    assert done.exit_code == 1
    assert "server not reachable" in done.output
