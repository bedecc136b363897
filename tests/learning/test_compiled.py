"""Where compiled functions are kept: in a folder that is another one as soon as any source that they may call is."""

import os
import subprocess
import sys

import pytest

from bondhu.compiled import digest

PROGRAM = """
import numpy as np
from bondhu.compiled import compiled
from bondhu.equations.gaps import inverse_gap
from numba import config
compiled(inverse_gap)(np.zeros((1, 2)), np.ones((1, 2), bool), 1.0, np.empty((1, 2)))
print(compiled(inverse_gap).stats.cache_path, config.CACHE_DIR)
"""


def test_the_digest_changes_with_any_source_and_with_nothing_else(tmp_path):
    kernel, helper = tmp_path / "kernel.py", tmp_path / "helper.py"
    kernel.write_text("from helper import twice")
    helper.write_text("def twice(x): return 2 * x")
    before = digest([kernel, helper])
    assert digest([helper, kernel]) == before
    helper.touch()
    assert digest([kernel, helper]) == before
    helper.write_text("def twice(x): return 3 * x")
    assert digest([kernel, helper]) != before
    helper.write_text("def twice(x): return 2 * x")
    assert digest([kernel, helper]) == before
    assert digest([kernel, helper.rename(tmp_path / "other.py")]) != before
    assert len(before) == 16


@pytest.mark.parametrize("place", ["", "users"])
def test_a_compiled_function_is_kept_below_the_digest_of_the_sources(tmp_path, place):
    users = str(tmp_path / place) if place else ""
    environment = {**os.environ, "NUMBA_CACHE_DIR": users}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    path, _, setting = run.stdout.rstrip("\n").partition(" ")
    assert setting == users  # the user's own functions stay where they were
    folder, package = path.split(os.sep)[-2:]
    assert folder.startswith("bondhu-")
    assert package.startswith("equations")
    assert path.startswith(users or os.path.dirname(sys.modules["bondhu.compiled"].__file__))
    assert [name for name in os.listdir(path) if name.startswith("gaps.inverse_gap")]


def test_a_place_that_cannot_be_written_is_no_failure(tmp_path):
    (tmp_path / "file").write_text("in the way")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "file")}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert "bondhu-" not in run.stdout
