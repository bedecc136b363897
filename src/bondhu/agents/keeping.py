"""An agent that repairs as files: each of its networks in the format of versions, never pickled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bondhu.agents.learning import FLAT, LEARNER, STAGED, Agent
from bondhu.agents.outcomes import LEARNER as OUTCOME_LEARNER
from bondhu.agents.outcomes import OutcomeModel
from bondhu.domains.coding.features import NAMES
from bondhu.errors import InvalidInput
from bondhu.learners import pack, plain, unpack
from bondhu.learners.imitation.behaviour_cloning import BehaviourCloning, Cloned
from bondhu.ports import Version
from bondhu.registry import codec

DOMAIN, NAME, OUTCOMES = "coding", "imitation.behaviour_cloning", "outcomes"
FIX = "Make one with `bondhu code train`."


def empty(folder: Path) -> Path:
    """The folder, where an agent may be written to it. Raises InvalidInput where there is something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "not empty" if folder.is_dir() else "a file"
        raise InvalidInput(f"{folder} is {what}.", field="out", value=str(folder), fix="Name a new folder.")
    return folder


def save(agent: Agent, folder: Path, created: float) -> None:
    """Write it to a new folder. Raises InvalidInput where there is something already."""
    empty(folder)
    parts = {name: (LEARNER, state, 1.0) for name, state in agent.states.items()}
    if agent.outcomes is not None:
        parts[OUTCOMES] = (OUTCOME_LEARNER, agent.outcomes.state, agent.outcomes.temperature)
    for name, (learner, state, temperature) in parts.items():
        about = {"features": list(NAMES), "localised": agent.localised, "temperature": temperature}
        (folder / name).mkdir(parents=True)
        codec.write(Version(name, DOMAIN, NAME, plain(learner), pack(state), about, created), folder / name)


def load(folder: Path) -> Agent:
    """Raises InvalidInput where there is no agent, or one that saw other features; StateCorrupt where it is damaged."""
    found = {each.parent.name for each in folder.glob("*/header.json")}
    policies = next((each for each in (FLAT, STAGED) if found in ({*each}, {*each, OUTCOMES})), None)
    if policies is None:
        raise InvalidInput(f"{folder} holds no agent, or not the whole of one.", field="agent", value=str(folder),
                           fix=FIX)  # fmt: skip
    versions = {name: _checked(codec.read(folder / name), folder) for name in sorted(found)}
    states: dict[str, Cloned] = {name: unpack(_learner(version), version.state) for name, version in versions.items()}
    localised = bool(versions[policies[0]].description["localised"])
    agent = Agent({name: states[name] for name in policies}, localised=localised)
    if OUTCOMES in states:
        temperature = float(versions[OUTCOMES].description["temperature"])
        agent = replace(agent, outcomes=OutcomeModel(states[OUTCOMES], temperature))
    return agent


def _learner(version: Version) -> BehaviourCloning:
    return OUTCOME_LEARNER if version.id == OUTCOMES else LEARNER


def _checked(version: Version, folder: Path) -> Version:
    """One that this release can use."""
    if (version.domain, version.learner) != (DOMAIN, NAME):
        raise InvalidInput(f"{folder} holds {version.learner!r} of {version.domain!r}, no agent that repairs.",
                           field="agent", value=str(folder), fix=FIX)  # fmt: skip
    same = version.hyperparameters["activation"] == _learner(version).activation
    if tuple(version.description["features"]) != NAMES or not same:
        raise InvalidInput(f"{folder} was trained by a release that saw other features of an edit, or with networks of "
                           "another kind.", field="agent", value=str(folder), fix="Train it again.")  # fmt: skip
    return version
