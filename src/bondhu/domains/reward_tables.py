"""Reads [reward] of a bondhu.toml: what signals are worth, how late they come, and the parts of a vector reward."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from bondhu.domains.tables import Table, known, number, one_of, span, truth, wrong
from bondhu.errors import SettingsInvalid
from bondhu.ports import Objective, Reward, Signal
from bondhu.types import SESSION_CUT, SESSION_END


def reward(table: Any, parts: Mapping[str, tuple[str, ...]]) -> Reward:
    """[reward] and [reward.signals]."""
    known(table, ("default", "wait", "count_late", "delay_horizon", "aggregate", "signals", "objectives"), "reward")
    signals = table.get("signals")
    if not isinstance(signals, Mapping) or not signals:
        fix = "Say what each kind of feedback is worth, such as like = 1.0."
        raise SettingsInvalid("[reward.signals] declares no signal.", field="reward.signals", value=signals, fix=fix)
    return Reward(
        signals={name: _signal(name, worth) for name, worth in signals.items()},
        default=number(table.get("default", Reward.default), "reward.default"),
        wait=number(table.get("wait", Reward.wait), "reward.wait", least=0.0),
        count_late=truth(table.get("count_late", Reward.count_late), "reward.count_late"),
        delay_horizon=_delay_horizon(table),
        objectives=_objectives(table.get("objectives", {}), signals, parts),
        aggregate=_aggregate(table),
    )


def _aggregate(table: Table) -> str:
    chosen = one_of(table.get("aggregate", Reward.aggregate), ("sum", "first"), "reward.aggregate")
    if chosen == "first" and table.get("delay_horizon", 0):
        raise wrong("reward.aggregate", chosen, "It needs delay_horizon = 0: the first of several is not estimated.")
    return chosen


def _delay_horizon(table: Table) -> float:
    key = "reward.delay_horizon"
    horizon = number(table.get("delay_horizon", Reward.delay_horizon), key, least=0.0)
    if horizon and (table.get("default", 0) or table.get("count_late", False)):
        raise wrong(key, horizon, "It needs default = 0.0 and count_late = false: what is missing is estimated.")
    if horizon and horizon <= table.get("wait", Reward.wait):
        raise wrong(key, horizon, "Make it longer than reward.wait, such as ten times as long.")
    return horizon


def _objectives(table: Any, signals: Table, parts: Mapping[str, tuple[str, ...]]) -> dict[str, Objective]:
    if not isinstance(table, Mapping):
        raise wrong("reward.objectives", table, "Write each as a table: [reward.objectives.novelty].")
    return {name: _objective(name, each, signals, parts) for name, each in table.items()}


def _objective(name: str, table: Any, signals: Table, parts: Mapping[str, tuple[str, ...]]) -> Objective:
    path = f"reward.objectives.{name}"
    known(table, ("signals", "actions", "fresh"), path)
    if name in signals:
        raise wrong(path, name, "A signal has this name; choose another.")
    worth = {
        signal: number(value, f"{path}.signals.{signal}")
        for signal, value in known(table.get("signals", {}), signals, f"{path}.signals").items()
    }
    of_parts = {
        part: known(values, parts[part], f"{path}.actions.{part}")
        for part, values in known(table.get("actions", {}), parts, f"{path}.actions").items()
    }
    actions = {
        "/".join(values): sum(
            number(of_parts[part].get(value, 0.0), f"{path}.actions.{part}.{value}")
            for part, value in zip(parts, values, strict=True)
            if part in of_parts
        )
        for values in product(*parts.values())
    }
    fresh = number(table.get("fresh", Objective.fresh), f"{path}.fresh")
    return Objective(worth, {action: value for action, value in actions.items() if value}, fresh)


def _signal(name: str, worth: Any) -> Signal:
    key = f"reward.signals.{name}"
    if name in (SESSION_END, SESSION_CUT):
        raise wrong(key, worth, "This name says how a session stopped and carries no reward; choose another.")
    if not isinstance(worth, Mapping):
        return Signal(number(worth, key))
    known(worth, ("weight", "range", "error"), key)
    if "weight" not in worth:
        raise SettingsInvalid(f"{key}.weight is missing.", field=f"{key}.weight", fix="Give a number.")
    low, high = span(worth.get("range", [Signal.low, Signal.high]), f"{key}.range")
    error = number(worth.get("error", Signal.error), f"{key}.error", least=0.0)
    return Signal(number(worth["weight"], f"{key}.weight"), low, high, error)
