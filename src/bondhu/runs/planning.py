"""From what somebody asks for to a plan: their wishes first, then the preset, then defaults."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from bondhu import learners
from bondhu.errors import InvalidInput, nearest
from bondhu.learners import plain
from bondhu.runs import presets
from bondhu.runs.plan import Plan
from bondhu.runs.presets import Preset
from bondhu.runs.scene import learner_of
from bondhu.train.asynchronous import Divided

STEPS = 100_000
# Between updates, where no preset says so: learners that remember rows learn little and often.
REMEMBERING = {"environments": 4, "phase": 8}
FORGETTING = {"environments": 8, "phase": 128}


def preset_for(environment: str, learner: str, name: str | None, *, none: bool = False) -> tuple[Preset, str]:
    """The preset asked for, or the one that fits; and one line that says which. Raises as `presets.named`."""
    if none:
        return Preset("none"), "Without a preset."
    found = presets.fitting(environment, learner) if name is None else presets.named(name, learner)
    if found is None:
        return Preset("none"), f"No preset for {learner} in {environment}: defaults."
    return found, f"Preset {found.name}."


def planned(
    environment: str, learner: str, preset: Preset, wishes: Mapping[str, Any], hyperparameters: Mapping[str, Any]
) -> Plan:
    """`wishes` are fields of the plan, None where nobody said anything. Raises InvalidInput for what does not fit."""
    said = {name: value for name, value in wishes.items() if value is not None}
    steps = int(said.get("steps") or preset.run.get("steps") or STEPS)
    given: dict[str, Any] = {**preset.run, **said, "steps": steps}
    options = {**preset.environment, **given.pop("options", {})}
    wanted = {**preset.hyperparameters(steps), **hyperparameters}
    made = learner_of(learner, wanted)  # refuses what the learner does not take
    given = {**(REMEMBERING if hasattr(made, "capacity") else FORGETTING), **given}
    given["phase"] = min(given["phase"], -(-steps // given["environments"]))  # no longer than the run
    plan = Plan(
        environment, learner, **given, options=options, curriculum=preset.curriculum, hyperparameters=plain(made)
    )
    if plan.shared and isinstance(made, Divided):
        return replace(plan, phase=said.get("phase", made.rollout))
    return plan


def warning(learner: str, hyperparameters: Mapping[str, Any]) -> str:
    """One line where the learner, or the one that it holds, is a bandit; "" else. Bandits are not refused: where every
    episode is one decision, they are right."""
    inner = hyperparameters.get("inner")
    if isinstance(inner, Mapping):
        return warning(inner["name"], inner)
    if not learner.startswith("bandit."):
        return ""
    return (
        f"Warning: {learner} learns what each action pays at once and does not look ahead. "
        "Where episodes are longer than one decision, take a learner of tabular or deep."
    )


def settings(texts: Sequence[str], what: str = "--set") -> dict[str, Any]:
    """NAME=VALUE as people type it: a number, true, false, a list; anything else is a text."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            fix = f"Write {what} name=value."
            raise InvalidInput(f"{text!r} sets nothing.", field=what, value=text, fix=fix)
        found[name.strip()] = _typed(value.strip())
    return found


def count(text: str) -> int:
    """A number of steps as people write it: 1e6, 1_000_000, 1000000. Raises InvalidInput for anything else."""
    try:
        number = float(text)
    except ValueError:
        number = 0.5
    if not (1 <= number < math.inf and number == int(number)):
        fix = "Write a whole number such as 100000, 100_000 or 1e5."
        raise InvalidInput(f"{text!r} is no number of steps.", field="steps", value=text, fix=fix)
    return int(number)


def known(learner: str, names: Sequence[str]) -> None:
    """Raise InvalidInput, with the nearest name, for a hyper-parameter that the learner does not have."""
    there = [each.name for each in fields(learners.find(learner))]  # type: ignore[arg-type]  # learners are dataclasses
    for name in names:
        if name not in there:
            raise InvalidInput(f"{learner} has no {name!r}.", field=name, fix=nearest(name, there))


def _typed(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
