"""Settings that are known to work, by environment and learner: one TOML file for a family of environments.

    match = ["CartPole-v*"]            # environments, with * and ? as in file names

    [deep.ppo.run]                     # fields of a plan: environments, phase, steps, workers
    [deep.ppo.learner]                 # hyper-parameters; "steps" stands for the steps of the run
    [deep.ppo.environment]             # options of the environment
    [deep.ppo.curriculum]              # fields of `train.curriculum.Stages`: easier environments to begin with

A file of one's own may leave `match` and the learner's name out: `[run]` and `[learner]`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

from bondhu.errors import InvalidInput, UnknownName, nearest

STEPS = "steps"  # as the value of a hyper-parameter: as many as the run has
COUNTS = ("environments", "phase", "steps", "evaluate_every", "checkpoint_every", "episodes", "patience", "workers")
ALLOWED = {**dict.fromkeys(COUNTS, int), "until": float | int, "kind": str}  # fields of a plan, and their types
WRITE = {"until": "Write a number.", "kind": 'Write a text, such as "processes".'}
PARTS = ("run", "learner", "environment", "curriculum")


@dataclass(frozen=True)
class Preset:
    """What a preset says for one learner."""

    name: str
    run: Mapping[str, Any] = field(default_factory=dict)
    learner: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)  # its options
    curriculum: Mapping[str, Any] = field(default_factory=dict)  # what is practised on the way

    def hyperparameters(self, steps: int) -> dict[str, Any]:
        """Of a run of so many steps."""
        return {name: steps if value == STEPS else value for name, value in self.learner.items()}


def names() -> list[str]:
    """Every preset that comes with the package."""
    return sorted(each.name.removesuffix(".toml") for each in _files())


def fitting(environment: str, learner: str) -> Preset | None:
    """The first preset for this environment that knows this learner; None where there is none."""
    for file in sorted(_files(), key=lambda each: each.name):
        table = _parsed(file.read_text("utf-8"), file.name)
        part = _of(table, learner)
        if part and any(fnmatchcase(environment, pattern) for pattern in table.get("match", ())):
            return _preset(file.name.removesuffix(".toml"), part)
    return None


def named(name: str, learner: str) -> Preset:
    """A preset by its name or the path of a file. Raises UnknownName or InvalidInput where it does not help here."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        if not path.is_file():
            fix = "Name a TOML file, or one of " + ", ".join(names()) + "."
            raise InvalidInput(f"There is no file {name!r}.", field="preset", value=name, fix=fix)
        table = _parsed(path.read_text("utf-8"), name)
    else:
        file = next((each for each in _files() if each.name == f"{name}.toml"), None)
        if file is None:
            raise UnknownName(f"No preset {name!r}.", field="preset", value=name, fix=nearest(name, names()))
        table = _parsed(file.read_text("utf-8"), name)
    part = _of(table, learner) or ({} if "match" in table else table)
    if not part:
        fix = f"It has {', '.join(_learners(table))}. Take one of them, or --no-preset."
        raise InvalidInput(f"Preset {name!r} says nothing of {learner}.", field="preset", value=name, fix=fix)
    return _preset(path.stem, part)


def _files() -> Iterator[Any]:
    return (each for each in resources.files(__name__).iterdir() if each.name.endswith(".toml"))


def _parsed(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fix = "Write tables such as [run] and [learner], and a line for each value: phase = 32."
        raise InvalidInput(f"{name} is not TOML: {error}.", field="preset", value=name, fix=fix) from error


def _of(table: Mapping[str, Any], learner: str) -> Mapping[str, Any]:
    found: Any = table
    for part in learner.split("."):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _learners(table: Mapping[str, Any]) -> list[str]:
    families = {family: part for family, part in table.items() if isinstance(part, Mapping)}
    return [f"{family}.{name}" for family, part in families.items() for name in part]


def _preset(name: str, part: Mapping[str, Any]) -> Preset:
    tables = {key: each for key, each in part.items() if isinstance(each, Mapping)}
    for key in part:
        if key not in tables or key not in PARTS:
            raise InvalidInput(f"Preset {name!r} has {key!r}.", field=key, value=part[key], fix=nearest(key, PARTS))
    for key, value in tables.get("run", {}).items():
        if key not in ALLOWED:
            what = f"Preset {name!r} has {key!r} in [run]."
            raise InvalidInput(what, field=f"run.{key}", value=value, fix=nearest(key, ALLOWED))
        if isinstance(value, bool) or not isinstance(value, ALLOWED[key]):
            fix = WRITE.get(key, "Write a whole number, such as 100_000.")
            raise InvalidInput(f"Preset {name!r} has {key} = {value!r}.", field=f"run.{key}", value=value, fix=fix)
    return Preset(name, **tables)
