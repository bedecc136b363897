"""The environment as a text protocol: what is seen and what may be done now, and one JSON object as the answer.

Language models edit in free text here. A program that does not parse is refused at the price of invalid code and leaves
the old one where it was. An answer that cannot be understood uses up a step and is told what was wrong.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bondhu.domains.coding.env import CodingEnv
from bondhu.domains.coding.observation import TEXTS, cut, written
from bondhu.domains.coding.reading import lines, replaced
from bondhu.domains.coding.reward import Reward
from bondhu.domains.coding.rules import OPERATIONS
from bondhu.domains.coding.workspace import Done, Workspace
from bondhu.errors import InvalidInput, UnknownName, nearest

LONGEST = 600_000  # characters of an answer that are read
MOST_BRACES = 1_000  # places at which an object may begin that are tried
FIELDS: Mapping[str, Mapping[str, Any]] = {  # field to its schema
    "line": {"type": "integer", "minimum": 1, "description": "edit: the first line that is replaced"},
    "to": {"type": "integer", "minimum": 1, "description": "edit: the last one; without it, one line is replaced"},
    "text": {"type": "string", "description": "edit: the new lines whole, with indentation; empty: none"},
    "code": {"type": "string", "description": "generate: the whole module; without it, the next proposal"},
    "for": {"type": "string", "description": "search: what to look for in the module"},
    "question": {"type": "string", "description": "ask: what you want to know of the task"},
}
USES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # action to the fields it needs, and those it takes
    **dict.fromkeys(OPERATIONS, ((), ())),
    "edit": (("line", "text"), ("to",)),
    "generate": ((), ("code",)),
    "search": (("for",), ()),
    "ask": (("question",), ()),
}
SHOWN = {  # action to how it is written, and what it does
    "generate": ('{"action": "generate", "code": "..."}', "replace the whole module"),
    "edit": ('{"action": "edit", "line": 3, "text": "..."}', 'replace line 3; with "to": 5 the lines 3 to 5'),
    "undo": ('{"action": "undo"}', "take the last change back"),
    "search": ('{"action": "search", "for": "..."}', "find lines of the module"),
    "compile": ('{"action": "compile"}', "see whether it compiles"),
    "test": ('{"action": "test"}', "run the tests; if all pass, you are done"),
    "ask": ('{"action": "ask", "question": "..."}', "ask about the task"),
    "context": ('{"action": "context"}', "see more of the module, or what the tests need"),
    "submit": ('{"action": "submit"}', "give it in as it is"),
}
WHY_NOT = {
    "generate": 'Nobody proposes programs: give one as "code".',
    "undo": "Nothing was changed.",
    "compile": "It was compiled already.",
    "test": "The results of this program are known.",
    "ask": "No question is left.",
    "context": "Everything is shown.",
}


class Turn(NamedTuple):
    """What came of one answer."""

    text: str  # what is seen now
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]  # as the environment gives it, and "error" where the answer was not carried out


class Dialogue:
    """Plays an environment in words. Numbers and words may take turns in one episode."""

    def __init__(self, env: CodingEnv) -> None:
        self.env = env

    def begin(self, seed: int | None = None, options: dict[str, Any] | None = None) -> str:
        """Another episode, as `CodingEnv.reset` begins it: what is seen."""
        self.env.reset(seed=seed, options=options)
        return rendered(self.env.work)

    def answer(self, text: str, *, tokens: int = 0, cost: float = 0.0) -> Turn:
        """Carry out an answer. `tokens` and money that it took are paid with it, by the weights of the rewards.

        Raises InvalidInput where no episode is under way.
        """
        error = ""
        try:
            what = understood(text, self.env.work)
        except InvalidInput as problem:
            error = str(problem)
            what = _refusal(error)
        done, truncated, info = self.env.carry_out(lambda work: _charged(what(work), work, tokens, cost))
        error = error or self.env.work.refused * (done.said == self.env.work.refused)
        heading = f"Not done: {error}" if error else done.said
        seen = rendered(self.env.work)
        if done.terminated or truncated:
            seen = f"This is the end: {'solved' if done.solved else 'not solved'}."
        seen = f"{heading}\n\n{seen}" if heading else seen
        return Turn(seen, done.reward.total, done.terminated, truncated, {**info, "error": error} if error else info)


def schema() -> dict[str, Any]:
    """JSON Schema of an answer, for structured output: one flat object, fields that an action does not use are null."""
    actions = {"type": "string", "enum": list(OPERATIONS)}
    fields = {name: {**each, "type": [each["type"], "null"]} for name, each in FIELDS.items()}
    properties = {"action": actions, **fields}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def rendered(work: Workspace) -> str:
    """What is seen, and what may be answered now."""
    parts = {key: cut(text, TEXTS[key]) for key, text in written(work).items()}
    headed = [f"## {key.replace('_', ' ').capitalize()}\n{text}" for key, text in parts.items() if text]
    rows = [f"{form}  {what}" for name, (form, what) in SHOWN.items() if _possible(work, name)]
    left = f"{work.rules.steps - work.steps} steps are left. Answer with one JSON object:"
    return "\n\n".join([*headed, "\n".join([left, *rows])])


def understood(text: str, work: Workspace) -> Callable[[Workspace], Done]:
    """What an answer wants done. Raises InvalidInput: what is wrong with it, and what to write."""
    given = {key: value for key, value in _object(text).items() if value is not None}
    action = given.pop("action", None)
    if action not in OPERATIONS:
        raise UnknownName(
            f"No action {reprlib.repr(action)}.",
            field="action",
            value=action,
            fix=nearest(str(action)[:99], OPERATIONS),
        )
    needed, taken = USES[action]
    for key, value in given.items():
        if key not in (*needed, *taken):
            fix = nearest(key[:99], (*needed, *taken)) if needed or taken else "Leave it out."
            raise UnknownName(f"{action!r} has no {reprlib.repr(key)}.", field=key, value=value, fix=fix)
    for key in (*needed, *(each for each in taken if each in given)):
        _typed(action, key, given)
    if not _possible(work, action) or (action == "generate" and not given and not work.possible("generate")):
        raise InvalidInput(f"{action!r} cannot be done now.", field="action", value=action, fix=WHY_NOT[action])
    return _operation(action, given, work)


def _operation(action: str, given: Mapping[str, Any], work: Workspace) -> Callable[[Workspace], Done]:
    if action == "edit":
        source = _edited(work.source, given)
        return lambda work: work.change("edit", source)
    if action == "generate" and "code" in given:
        return lambda work: work.change("generate", given["code"])
    if action == "search":
        return lambda work: work.search(given["for"])
    if action == "ask":
        return lambda work: work.ask(given["question"])
    plain: dict[str, Callable[[Workspace], Done]] = {
        "generate": Workspace.generate, "undo": Workspace.undo, "compile": Workspace.compile, "test": Workspace.test,
        "context": Workspace.context, "submit": Workspace.submit,
    }  # fmt: skip
    return plain[action]


def _edited(source: str, given: Mapping[str, Any]) -> str:
    count, first = len(lines(source)), given["line"]
    last = given.get("to", first)
    if not 1 <= first <= last <= count:
        what = f"The lines {first} to {last}." if last != first else f"Line {first}."
        raise InvalidInput(what, field="line", value=first, fix=f"The module has the lines 1 to {count}.")
    return replaced(source, first, last, given["text"])


def _possible(work: Workspace, action: str) -> bool:
    """In words one may search again, and for anything."""
    return action in ("generate", "edit", "search") or work.possible(action)


def _charged(done: Done, work: Workspace, tokens: int, cost: float) -> Done:
    weights = work.rules.weights
    paid = {"tokens": weights.tokens * tokens / 1000, "cost": weights.cost * cost}
    return done._replace(reward=done.reward + Reward(sum(paid.values()), paid)) if tokens or cost else done


def _refusal(error: str) -> Callable[[Workspace], Done]:
    return lambda work: work.wait(error)


def _typed(action: str, key: str, given: Mapping[str, Any]) -> None:
    form, kind = SHOWN[action][0], int if FIELDS[key]["type"] == "integer" else str
    if key not in given:
        raise InvalidInput(f"{action!r} needs {key!r}.", field=key, fix=f"Write {form}.")
    if type(given[key]) is not kind:
        wanted = "a whole number" if kind is int else "a text"
        what = f"{key!r} is {reprlib.repr(given[key])}, not {wanted}."
        raise InvalidInput(what, field=key, value=given[key], fix=f"Write {form}.")
    if key in ("for", "question") and not given[key].strip():
        raise InvalidInput(f"{key!r} is empty.", field=key, fix=f"Write {form}.")


def _object(text: str) -> dict[str, Any]:
    """The one JSON object with an action; prose may stand around it. Raises InvalidInput."""
    found, problem = list[dict[str, Any]](), ""
    decoder, at, furthest = json.JSONDecoder(strict=False), 0, -1
    text = text[:LONGEST]
    for _ in range(MOST_BRACES):
        at = text.find("{", at)
        if at < 0:
            break
        try:
            each, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            if error.pos > furthest:
                furthest, problem = error.pos, f"{error.msg} at line {error.lineno}, column {error.colno}"
            at += 1
        except (RecursionError, ValueError) as error:  # the latter: a number of more digits than Python reads
            why = "nested too deeply" if isinstance(error, RecursionError) else "one with a number that is too long"
            raise InvalidInput(f"The answer is {why}.", fix="Write one flat JSON object.") from None
        else:
            found.append(each)
    answers = [each for each in found if "action" in each]
    if len(answers) > 1:
        raise InvalidInput(f"The answer holds {len(answers)} actions.", fix="Give one JSON object.")
    if answers:
        return answers[0]
    if found:
        raise InvalidInput("The JSON object has no 'action'.", field="action", fix=nearest("", OPERATIONS))
    what = f"The answer is not valid JSON: {problem}." if problem else "The answer holds no JSON object."
    raise InvalidInput(what, fix='Write one, such as {"action": "test"}.')
