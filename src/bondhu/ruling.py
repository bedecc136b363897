"""From tables of settings to rules: those of the gate, `[gate]`, and those of the release, `[release]`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from bondhu.errors import SettingsInvalid, nearest
from bondhu.evaluate.gate import GateRules
from bondhu.release.rules import ReleaseRules

LIMITS = {  # of rules that are numbers; the others are of at least 0
    "confidence": (0.5, 0.9999),
    "maximum_exploration": (0.0, 1.0),
    "minimum_average_reward": (-math.inf, math.inf),
    "margin": (-math.inf, math.inf),
    "maximum_error_rate": (0.0, 1.0),
    "minimum_agreement": (0.0, 1.0),
    "holdout": (0.0, 0.9),
}


def gate_rules(table: Mapping[str, Any], fields: Sequence[str] = (), signals: Sequence[str] = ()) -> GateRules:
    """The rules of `[gate]`; raises SettingsInvalid naming the nearest rule, field of the context, or signal."""
    _check_groups("gate", table, fields)
    return GateRules(**{key: _checked("gate", GateRules, key, value, signals) for key, value in table.items()})


def release_rules(table: Mapping[str, Any], signals: Sequence[str] = (), fields: Sequence[str] = ()) -> ReleaseRules:
    """The rules of `[release]`; raises SettingsInvalid naming the nearest rule, signal, or field of the context."""
    _check_groups("release", table, fields)
    checked = {key: _checked("release", ReleaseRules, key, value, signals) for key, value in table.items()}
    steps = checked.get("steps", ())
    rising = all(type(each) in (int, float) and 0 < each <= 1 for each in steps)
    if not rising or any(later <= earlier for earlier, later in pairwise(steps)):
        fix = "Write rising shares of the people, such as [0.1, 0.5, 1.0]; [] releases at once."
        raise SettingsInvalid(f"Setting release.steps got {list(steps)!r}.", field="release.steps", fix=fix)
    if tuple(steps) == (1.0,) and not checked.get("holdout"):
        fix = "Begin with fewer people, such as [0.5, 1.0], keep a holdout, or write [] to release at once."
        what = "[release] steps = [1.0] leaves nobody to compare with."
        raise SettingsInvalid(what, field="release.steps", value=[1.0], fix=fix)
    return ReleaseRules(**checked)


def _checked(table: str, rules: type[Any], key: str, value: Any, signals: Sequence[str]) -> Any:
    """A value as the rule of this name takes it."""
    names = list(rules.__dataclass_fields__)
    where = f"{table}.{key}"
    if key not in names:
        raise SettingsInvalid(f"Unknown setting {where}.", field=where, fix=nearest(key, names))
    if key == "guardrails":
        return _guardrails(where, value, signals)
    fix = _misfit(key, value, getattr(rules, key))
    if fix:
        raise SettingsInvalid(f"Setting {where} got {value!r}.", field=where, value=value, fix=fix)
    return tuple(value) if isinstance(value, list) else value


def _check_groups(where: str, table: Mapping[str, Any], fields: Sequence[str]) -> None:
    groups = table.get("groups", [])
    if not isinstance(groups, list):
        fix = f'Write a list of fields of the context, such as ["{(*fields, "field")[0]}"].'
        raise SettingsInvalid(f"Setting {where}.groups got {groups!r}.", field=f"{where}.groups", fix=fix)
    for name in groups:
        if name not in fields:
            fix = f"Group by fields of the context. {nearest(str(name), fields)}"
            what = f"Setting {where}.groups got {name!r}."
            raise SettingsInvalid(what, field=f"{where}.groups", value=name, fix=fix)


def _guardrails(where: str, value: Any, signals: Sequence[str]) -> dict[str, float]:
    """Signals, and how much more of each a decision may bring."""
    if not isinstance(value, Mapping):
        fix = f"Write signals and what is tolerated, such as {{ {(*signals, 'dislike')[0]} = 0.01 }}."
        raise SettingsInvalid(f"Setting {where} got {value!r}.", field=where, value=value, fix=fix)
    for name, most in value.items():
        if name not in signals:
            raise SettingsInvalid(
                f"{where} names the unknown signal {name!r}.", field=where, fix=nearest(name, signals)
            )
        if not _is_number(most) or most < 0:
            what = f"Setting {where}.{name} got {most!r}."
            raise SettingsInvalid(what, field=where, value=most, fix="Write a number of at least 0.")
    return {name: float(most) for name, most in value.items()}


def _misfit(key: str, value: Any, default: Any) -> str | None:
    """What to write instead where a value is not of the kind or size that a rule has."""
    if isinstance(default, tuple):
        return None if isinstance(value, list) else "Write a list."
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "Write true or false."
    if not _is_number(value):
        return "Write a number."
    low, high = LIMITS.get(key, (0.0, math.inf))
    within = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
    return None if low <= value <= high else f"Write a number {within}."


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
