"""Folders of sockets that a killed supervisor has left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bondhu.server.sockets import own_folder, remove_leftovers

HOLDER = "from bondhu.server.sockets import own_folder; print(own_folder().path, flush=True); input()"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_the_folder_of_a_killed_supervisor_is_removed_and_that_of_a_living_one_is_not(temporary: Path) -> None:
    mine = own_folder()
    other = temporary / "bondhu-of-another-program"
    other.mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=-1, stdout=-1, text=True) as holder:
        assert holder.stdout is not None
        theirs = Path(holder.stdout.readline().strip())
        assert (theirs.parent, theirs.stat().st_mode & 0o777) == (temporary, 0o700)
        assert remove_leftovers() == []
        os.kill(holder.pid, signal.SIGKILL)
    assert remove_leftovers() == [theirs]
    assert sorted(temporary.iterdir()) == sorted([mine.path, other])
    mine.close()
    assert list(temporary.iterdir()) == [other]


def test_what_belongs_to_somebody_else_is_left_alone(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = own_folder()
    os.close(mine.lock)
    monkeypatch.setattr(os, "getuid", lambda: mine.path.stat().st_uid + 1)
    assert remove_leftovers() == []
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert remove_leftovers() == [mine.path]
