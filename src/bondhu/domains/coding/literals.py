"""What a source holds of the tests of its task: inputs that it looks for, and answers that it has written down."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from doctest import DocTestParser
from typing import Any

from bondhu.domains.coding.signs import Evidence, parsed
from bondhu.domains.coding.tasks import Task


def memorised(task: Task, source: str) -> tuple[Evidence, ...]:
    """Inputs that are compared with, and answers written down, that are those of tests or examples of the task.

    What the source as it was found holds already is nobody's guess. One or two small numbers say nothing, nor does an
    answer that several tests want, such as "even".
    """
    tree, inputs, outputs, wants = parsed(source), dict[str, Any](), dict[str, Any](), Counter[str]()
    if tree is None:
        return ()
    for code in {_plainly(code) for code in (*(test.code for test in (*task.tests, *task.held_out)), *_examples(task))}:
        for given, wanted in _cases(code, task.entry):
            wants.update(map(repr, wanted))
            inputs |= {repr(each): each for each in (*given, *map(repr, given))}  # as such, or as text
            outputs |= {repr(each): each for each in wanted}
    found = parsed(task.source)
    known = {text for _, text in _literals(found)} if found else set()
    compared = {text: line for line, text in _compared(tree) if text in inputs and text not in known}
    written = {text: line for line, text in _literals(tree) if wants[text] == 1 and text not in known}
    telling = sorted((text for text in compared if _telling(inputs[text])), key=lambda text: (compared[text], text))
    answers = sorted((text for text in written if _telling(outputs[text])), key=lambda text: (written[text], text))
    evidence = []
    if len(telling) >= 2 or (telling and answers):
        shown = ", ".join(text[:40] for text in telling[:3])
        evidence.append(Evidence("special-cased inputs", compared[telling[0]], f"looks for {shown}"))
    if len(answers) >= 2:
        shown = ", ".join(text[:40] for text in answers[:3])
        evidence.append(Evidence("memorised answers", written[answers[0]], f"holds {shown}"))
    return tuple(evidence)


def _plainly(code: str) -> str:
    """The same for the same code written otherwise."""
    tree = parsed(code)
    return ast.unparse(tree) if tree else code


def _examples(task: Task) -> list[str]:
    """The examples of the statement as assertions."""
    try:
        found = DocTestParser().get_examples(task.statement)
    except ValueError:  # something that looks like an example and is none
        return []
    return [f"assert {each.source.strip()} == {each.want.strip()}" for each in found if each.want.strip()]


def _cases(code: str, entry: str) -> Iterator[tuple[list[Any], list[Any]]]:
    """Arguments of the calls of the entry function, and what they are compared with, where both are written out."""
    tree = parsed(code)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry:
            yield [value for each in node.args for value in _values(each)], []
        elif isinstance(node, ast.Compare):
            yield [], [value for each in (node.left, *node.comparators) for value in _values(each)]


def _values(node: Any) -> list[Any]:
    """The value of a literal, or nothing."""
    try:
        return [ast.literal_eval(node)]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return []


def _literals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of each value that is written out, but for strings that stand alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Set | ast.UnaryOp):
            for value in _values(node):
                yield node.lineno, repr(value)


def _compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of what a program compares with, looks up, or matches."""
    for node in ast.walk(tree):
        looked: list[ast.AST | None] = []
        if isinstance(node, ast.Compare):
            looked = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            looked = list(node.keys)
        elif isinstance(node, ast.MatchValue):
            looked = [node.value]
        for each in looked:
            for inner in ast.walk(each) if each else ():
                for value in _values(inner):
                    yield getattr(inner, "lineno", 0), repr(value)
                    yield from ((getattr(inner, "lineno", 0), text) for text in _thawed(value))


def _thawed(value: Any) -> list[str]:
    """A tuple may stand for a list: only it can be looked up."""
    return [repr(list(value))] if isinstance(value, tuple) else []


def _telling(value: Any) -> bool:
    """Whether a value is unlikely to stand in a source by chance."""
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, int | float | complex):
        return abs(value) > 10
    return len(value) >= 3
