"""An agent as files: the same preferences to the last bit, and one clear error for every folder that is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bondhu.agents import demonstrations, keeping, learning
from bondhu.agents.learning import Agent
from bondhu.domains.coding.features import NAMES
from bondhu.errors import BondhuError, InvalidInput, StateCorrupt
from bondhu.registry import codec
from tests.agents.repairs import context, edit, judge, several


@pytest.fixture(scope="module")
def staged() -> Agent:
    shown = [each for each in (demonstrations.demonstration(task, judge()) for task in several()) if each is not None]
    made = learning.taught(shown, np.random.default_rng(0), stages=True, localised=False)
    return learning.practised(made, several()[:3], judge(), np.random.default_rng(0))


@pytest.fixture
def folder(staged: Agent, tmp_path: Path) -> Path:
    keeping.save(staged, tmp_path / "agent", 5.0)
    return tmp_path / "agent"


def test_what_is_loaded_prefers_the_same_to_the_last_bit(staged: Agent, folder: Path) -> None:
    made = keeping.load(folder)
    assert tuple(made.states) == tuple(staged.states) == ("line", "operator", "filling")
    assert not made.localised
    assert made.outcomes is not None
    assert staged.outcomes is not None
    assert made.outcomes.temperature == staged.outcomes.temperature
    edits = [edit(str(number % 3), number % 5) for number in range(60)]
    seen = context(edits, np.random.default_rng(0).normal(size=(60, len(NAMES))))
    np.testing.assert_array_equal(made.ranker()(seen), staged.ranker()(seen))
    np.testing.assert_array_equal(
        made.outcomes.probabilities(seen.features), staged.outcomes.probabilities(seen.features)
    )


def test_one_policy_without_outcomes_too(staged: Agent, tmp_path: Path) -> None:
    flat = Agent({"edit": staged.states["filling"]})
    keeping.save(flat, tmp_path / "deep" / "flat", 5.0)
    made = keeping.load(tmp_path / "deep" / "flat")
    assert (tuple(made.states), made.outcomes, made.localised) == (("edit",), None, True)
    seen = context([edit("a")] * 7, np.random.default_rng(0).normal(size=(7, len(NAMES))))
    np.testing.assert_array_equal(made.ranker()(seen), flat.ranker()(seen))


def test_nothing_is_written_over(staged: Agent, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not empty"):
        keeping.save(staged, folder, 6.0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInput, match="is a file"):
        keeping.save(staged, tmp_path / "file", 6.0)
    assert codec.read(folder / "line").created == 5.0


def expect_refused(folder: Path, kind: type[BondhuError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        keeping.load(folder)
    assert caught.value.fix


def test_a_damaged_array_is_found(folder: Path) -> None:
    array = max((folder / "operator").glob("*.npy"), key=lambda each: each.stat().st_size)
    content = bytearray(array.read_bytes())
    content[-5] ^= 1
    array.write_bytes(content)
    expect_refused(folder, StateCorrupt, "checksum")


def test_a_damaged_header_is_found(folder: Path) -> None:
    header = folder / "outcomes" / "header.json"
    header.write_text(header.read_text().replace('"temperature"', '"temperatures"'))
    expect_refused(folder, StateCorrupt, "checksum")
    header.write_text("{")
    expect_refused(folder, StateCorrupt, "not a header")


def test_a_lost_array_is_found(folder: Path) -> None:
    next((folder / "line").glob("*.npy")).unlink()
    expect_refused(folder, StateCorrupt, "is missing")


def test_a_lost_policy_is_found(folder: Path) -> None:
    (folder / "operator" / "header.json").unlink()
    expect_refused(folder, InvalidInput, "holds no agent, or not the whole of one")


def test_other_folders_are_no_agents(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign" / "data").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    for name in ("empty", "foreign", "file", "nowhere"):
        expect_refused(tmp_path / name, InvalidInput, "holds no agent")


def rewritten(folder: Path, **changes: object) -> None:
    for each in folder.iterdir():
        version = codec.read(each)
        state = {name: np.array(array) for name, array in version.state.items()}  # a copy: it is mapped from the file
        codec.write(replace(version, state=state, **changes), each)  # type: ignore[arg-type]  # fields of a version


def test_versions_of_other_learners_are_no_agents(folder: Path) -> None:
    rewritten(folder, domain="support")
    expect_refused(folder, InvalidInput, "no agent that repairs")


@pytest.mark.parametrize("names", [NAMES[1:], (*NAMES, "more"), (NAMES[1], NAMES[0], *NAMES[2:])])
def test_an_agent_that_saw_other_features_is_refused(folder: Path, names: tuple[str, ...]) -> None:
    about = {"features": list(names), "localised": True, "temperature": 1.0}
    rewritten(folder, description=about)
    expect_refused(folder, InvalidInput, "other features")


def test_an_agent_with_networks_of_another_kind_is_refused(folder: Path) -> None:
    hyperparameters = codec.read(folder / "line").hyperparameters
    rewritten(folder, hyperparameters={**hyperparameters, "activation": "tanh"})
    expect_refused(folder, InvalidInput, "networks of another kind")
