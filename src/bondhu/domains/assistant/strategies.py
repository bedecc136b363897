"""The actions of an assistant as ways to ask a model: [strategies.PART.VALUE] tables, joined over an action's parts.

A strategy comes from the action alone: nothing that a user writes, and no key of a request, chooses or changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bondhu.domains.tables import known, number, one_of, whole, wrong
from bondhu.errors import SettingsInvalid, UnknownName, nearest

Message = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by part, value and setting

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
JUDGES = ("votes", "shortest", "longest")  # or "upstream:model"
FIRST = ("system", "developer")  # roles of the messages that a conversation begins with
HOTTEST, MOST_SAMPLES, MOST_TOKENS = 2.0, 16, 10_000_000


@dataclass(frozen=True)
class Strategy:
    """How one answer is asked for; what is empty or None leaves the client's request as it is."""

    upstream: str = ""  # name of an [upstreams] table
    model: str = ""  # as the upstream calls it
    system: str = ""  # said before the client's own system message
    examples: tuple[tuple[str, str], ...] = ()  # (user, assistant), after it
    temperature: float | None = None
    reasoning_effort: str | None = None  # one of EFFORTS
    tools: tuple[str, ...] | None = None  # None: the client's; else only these of the client's
    max_tokens: int | None = None  # of the answer
    samples: int = 1  # answers asked for, of which the judge takes one
    judge: str = ""  # "", one of JUDGES, or "upstream:model"


@dataclass(frozen=True)
class Strategies:
    """The strategy of every action."""

    parts: Mapping[str, tuple[str, ...]]  # of an action, in order
    settings: Tables  # checked; by part, value and setting

    def of(self, action: str) -> Strategy:
        """The strategy of an action such as "steps/large": later parts win, system texts are joined by a blank line,
        examples follow one another. Raises UnknownName."""
        values = action.split("/") if len(self.parts) > 1 else [action]
        if len(values) != len(self.parts):
            example = "/".join(each[0] for each in self.parts.values())
            fix = f"Give one value for each part, such as {example!r}."
            raise UnknownName(f"There is no action {action!r}.", field="action", value=action, fix=fix)
        strategy = Strategy()
        for (part, names), value in zip(self.parts.items(), values, strict=True):
            if value not in names:
                what = f"There is no action {action!r}: {part} has no {value!r}."
                raise UnknownName(what, field="action", value=action, fix=nearest(value, names))
            strategy = _over(strategy, self.settings.get(part, {}).get(value, {}))
        return strategy

    def complete(self, upstreams: Collection[str]) -> None:
        """Raise SettingsInvalid where an action has no model or upstream, or one names an upstream that is none."""
        for part, said in self.settings.items():
            for value, settings in said.items():
                path = f"strategies.{part}.{value}"
                if "upstream" in settings:
                    one_of(settings["upstream"], upstreams, f"{path}.upstream")
                if ":" in settings.get("judge", ""):
                    one_of(settings["judge"].partition(":")[0], upstreams, f"{path}.judge")
        for setting in ("upstream", "model"):
            lacking = {part: self._lacking(part, setting) for part in self.parts}
            if all(lacking.values()):  # then there is a combination in which no part says it
                action = "/".join(values[0] for values in lacking.values())
                part, values = list(lacking.items())[-1]
                key = f"strategies.{part}.{values[0]}.{setting}"
                fix = f"Set {key}, or {setting} for every value of another part of [actions]."
                raise SettingsInvalid(f"The action {action!r} has no {setting}.", field=key, fix=fix)

    def _lacking(self, part: str, setting: str) -> list[str]:
        """The values of a part that do not say it."""
        said = self.settings.get(part, {})
        return [value for value in self.parts[part] if not said.get(value, {}).get(setting)]


def strategies(parts: Mapping[str, tuple[str, ...]], tables: Tables) -> Strategies:
    """The strategies that [strategies.PART.VALUE] declare for the parts of a domain's actions; a value without a table
    changes nothing. Raises SettingsInvalid naming the key, its value and the nearest name."""
    checked: dict[str, dict[str, dict[str, Any]]] = {}
    for part, values in known(tables, parts, "strategies").items():
        path = f"strategies.{part}"
        checked[part] = {
            value: _settings(table, f"{path}.{value}") for value, table in known(values, parts[part], path).items()
        }
    return Strategies(parts, checked)


def applied(strategy: Strategy, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the upstream's request, from the client's; that one stays as it is.

    The strategy's system text stands before the client's own, its examples after it. What the strategy sets replaces
    what the client sent; `model` is always the strategy's where it names one.
    """
    asked: dict[str, Any] = {**body, "messages": _messages(strategy, body.get("messages") or ())}
    if strategy.model:
        asked["model"] = strategy.model
    if strategy.temperature is not None:
        asked["temperature"] = strategy.temperature
    if strategy.reasoning_effort is not None:
        asked["reasoning_effort"] = strategy.reasoning_effort
    if strategy.max_tokens is not None:
        newer = "max_completion_tokens" in body or strategy.reasoning_effort is not None
        asked.pop("max_tokens", None)
        asked.pop("max_completion_tokens", None)
        asked["max_completion_tokens" if newer else "max_tokens"] = strategy.max_tokens
    return asked if strategy.tools is None else _with_tools(asked, strategy.tools)


# ------------------------------------------------------------------------------------------------------------- applying


def _messages(strategy: Strategy, messages: Sequence[Message]) -> list[Message]:
    first = 0
    while first < len(messages) and isinstance(messages[first], Mapping) and messages[first].get("role") in FIRST:
        first += 1
    system = [{"role": "system", "content": strategy.system}] if strategy.system else []
    shown = [
        {"role": role, "content": text}
        for pair in strategy.examples
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    return [*system, *messages[:first], *shown, *messages[first:]]


def _with_tools(asked: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Only these of the tools; a choice of one that is gone goes with it."""
    tools = [tool for tool in asked.get("tools") or () if _tool(tool) in names]
    choice = asked.get("tool_choice")
    if not tools:
        return {key: each for key, each in asked.items() if key not in ("tools", "tool_choice", "parallel_tool_calls")}
    if isinstance(choice, Mapping) and _tool(choice) not in names:
        asked.pop("tool_choice")
    return {**asked, "tools": tools}


def _tool(tool: Any) -> str | None:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return function.get("name") if isinstance(function, Mapping) else None


def _over(below: Strategy, settings: Mapping[str, Any]) -> Strategy:
    """The strategy with the settings of one more part."""
    joined = dict(settings)
    if below.system and settings.get("system"):
        joined["system"] = f"{below.system}\n\n{settings['system']}"
    if "examples" in settings:
        joined["examples"] = below.examples + settings["examples"]
    strategy = replace(below, **joined)
    return replace(strategy, judge="votes") if strategy.samples > 1 and not strategy.judge else strategy


# -------------------------------------------------------------------------------------------------------------- reading


def _settings(table: Any, path: str) -> dict[str, Any]:
    return {key: _READ[key](value, f"{path}.{key}") for key, value in known(table, _READ, path).items()}


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(key, value, "Give text in quotes.")
    return value


def _examples(value: Any, key: str) -> tuple[tuple[str, str], ...]:
    fix = 'Give pairs such as [["What is 2 + 2?", "4"]]: what a user says, and what is answered.'
    if not isinstance(value, list | tuple) or not all(isinstance(each, list | tuple) for each in value):
        raise wrong(key, value, fix)
    pairs = [tuple(pair) for pair in value]
    if not all(len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in pairs):
        raise wrong(key, value, fix)
    return tuple((user, assistant) for user, assistant in pairs)


def _tools(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise wrong(key, value, 'Give names of tools such as ["search"]; [] for none of them.')
    return tuple(value)


def _temperature(value: Any, key: str) -> float:
    if (degree := number(value, key, least=0.0)) > HOTTEST:
        raise wrong(key, value, f"Give a number from 0 to {HOTTEST:g}.")
    return degree


def _judge(value: Any, key: str) -> str:
    upstream, colon, model = value.partition(":") if isinstance(value, str) else ("", "", "")
    if colon and upstream.strip() and model.strip():
        return str(value)
    if value not in ("", *JUDGES):
        fix = f'{nearest(str(value), JUDGES)} Or name a model of an upstream that judges: "upstream:model".'
        raise wrong(key, value, fix)
    return str(value)


_READ: Mapping[str, Callable[[Any, str], Any]] = {
    "upstream": _text,
    "model": _text,
    "system": _text,
    "examples": _examples,
    "temperature": _temperature,
    "reasoning_effort": lambda value, key: one_of(value, EFFORTS, key),
    "tools": _tools,
    "max_tokens": lambda value, key: whole(value, key, 1, MOST_TOKENS),
    "samples": lambda value, key: whole(value, key, 1, MOST_SAMPLES),
    "judge": _judge,
}
