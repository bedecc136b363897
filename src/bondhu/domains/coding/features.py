"""What a policy sees of an edit: a row of numbers about the place, the change, and what the tests said."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log1p

import numpy as np

from bondhu.domains.coding.edits import OPERATORS, Edit
from bondhu.domains.coding.kinds import UNKNOWN, kinds
from bondhu.domains.coding.trees import Path, parameters, top_functions
from bondhu.errors import InvalidInput
from bondhu.types import Floats

NODES: dict[str, tuple[type[ast.AST], ...]] = {
    "name": (ast.Name,), "constant": (ast.Constant,), "arithmetic": (ast.BinOp,), "boolean": (ast.BoolOp,),
    "comparison": (ast.Compare,), "unary": (ast.UnaryOp,), "call": (ast.Call,), "attribute": (ast.Attribute,),
    "subscript": (ast.Subscript, ast.Slice), "choice": (ast.IfExp,),
    "collection": (ast.List, ast.Tuple, ast.Set, ast.Dict),
    "comprehension": (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension),
    "assignment": (ast.Assign, ast.AnnAssign), "augmented": (ast.AugAssign,), "return": (ast.Return,),
    "expression": (ast.Expr,), "if": (ast.If,), "loop": (ast.For, ast.While), "function": (ast.FunctionDef, ast.Lambda),
    "other": (ast.AST,),
}  # fmt: skip
INSIDE: dict[str, tuple[type[ast.AST], ...]] = {
    "return": (ast.Return,), "subscript": (ast.Subscript,), "call": (ast.Call,), "loop": (ast.For, ast.While),
    "branch": (ast.If,), "comprehension": NODES["comprehension"],
}  # fmt: skip
FIELDS = {"condition": "test", "iterable": "iter", "right side": "value"}  # on the way from the module
VALUES = ("number", "text", "truth or none", "variable", "nothing", "compound")
CHANGE = (
    *(f"before is {each}" for each in VALUES), *(f"after is {each}" for each in VALUES),
    "characters more", "tokens before", "tokens after", "lines touched", "only shorter", "only longer",
    "new tokens", "new tokens seen in function", "new tokens seen in statement", "old tokens seen in statement",
    "frequency of new tokens", "trigrams seen in function", "uses an unused variable", "drops the last use",
    "likeness of names", "kinds agree", "kinds differ",
)  # fmt: skip
TESTS = (
    "suspicion", "most suspicious", "place among suspects", "not executed", "errors", "wrong answers", "timed out",
    "message names what changes", "index error at an index", "type error at a call", "name error at a name",
    "timed out in a loop", "wrong answer at a value",
)  # fmt: skip
NAMES: tuple[str, ...] = (
    *(f"operator {each}" for each in OPERATORS), *(f"node {each}" for each in NODES),
    *(f"parent {each}" for each in NODES), *(f"inside {each}" for each in (*INSIDE, *FIELDS)), "depth",
    "blocks around", "place in function", "in entry", "last statement",
    *CHANGE, *TESTS,
)  # fmt: skip
TOKEN = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|'[^'\n]*'|\"[^\"\n]*\"|\*\*|//|[<>=!]=|[^\s\w]")
NAME = re.compile(r"[A-Za-z_]\w*$")
PLACED = 2 * len(NODES) + len(INSIDE) + len(FIELDS) + 5


@lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[str, ...]:
    """The words and signs of a piece of code, whether it parses or not."""
    return tuple(TOKEN.findall(text))


@dataclass(frozen=True, eq=False)
class _Surroundings:
    source: str
    root: ast.Module
    entry: str
    spans: Mapping[str, tuple[int, int]]  # lines of the functions
    words: Counter[str]  # of the program without docstrings
    trigrams: frozenset[tuple[str, ...]]
    stated: frozenset[str]  # words of the statement and the docstrings
    unused: frozenset[str]
    reads: Counter[str]
    kinds: Mapping[str, str]
    suspicion: Mapping[int, float]
    problems: tuple[str, ...]


def features(
    source: str, entry: str, edits: Sequence[Edit], statement: str = "", suspicion: Mapping[int, float] | None = None,
    problems: Sequence[str] = (),
) -> Floats:  # fmt: skip
    """Of each edit of `source`, the numbers called `NAMES`: [edits, features] in float32, all of the order of 1.

    `suspicion`: of lines (`localisation`); `problems`: of the tests, "" where one passed, as in "raised IndexError: …".
    """
    around = _surroundings(source, entry, statement, suspicion or {}, problems)
    rows = np.zeros((len(edits), len(NAMES)), np.float32)
    placed: dict[tuple[Path, int], tuple[Floats, frozenset[str]]] = {}
    kinds_of_operator = {name: at for at, name in enumerate(OPERATORS)}
    said = _said(around.problems)
    ordered = {line: at for at, line in enumerate(sorted(around.suspicion, key=lambda each: -around.suspicion[each]))}
    first = len(OPERATORS) + PLACED
    for row, edit in zip(rows, edits, strict=True):
        if edit.operator in kinds_of_operator:
            row[kinds_of_operator[edit.operator]] = 1.0
        key = (edit.path, edit.line)
        if key not in placed:
            placed[key] = _place(around, edit)
        row[len(OPERATORS) : first], inside = placed[key]
        row[first:] = _change(around, edit) + _tests(around, edit, inside, said, ordered)
    return rows


def _surroundings(
    source: str, entry: str, statement: str, suspicion: Mapping[int, float], problems: Sequence[str]
) -> _Surroundings:
    try:
        root = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise InvalidInput(f"The source does not parse: {error}.", field="source", value=source,
                           fix="Edits are made of the syntax tree; mend the text first.") from error  # fmt: skip
    functions = [each for each, _ in top_functions(root)]
    texts = [statement, *(ast.get_docstring(each) or "" for each in functions)]
    program = source
    for each in functions:
        program = program.replace(ast.get_docstring(each, clean=False) or "\0", "")
    nodes = [node for each in functions for node in ast.walk(each)]
    reads = Counter(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound.update(name for each in functions for name in parameters(each.args))
    words = tokens(program)
    known: dict[str, str] = {}
    for each in functions:
        known |= kinds(each, ast.walk(each))
    return _Surroundings(
        source, root, entry, {each.name: (each.lineno, each.end_lineno or each.lineno) for each in functions},
        Counter(words), frozenset(zip(words, words[1:], words[2:], strict=False)),
        frozenset(word for text in texts for word in tokens(text)), frozenset(bound - set(reads)), reads, known,
        suspicion, tuple(problems),
    )  # fmt: skip


def _place(around: _Surroundings, edit: Edit) -> tuple[Floats, frozenset[str]]:
    """Of the node that changes: what it is, in what it stands, and where."""
    chain, fields = _chain(around.root, edit.path)
    inside = {name for name, types in INSIDE.items() if any(isinstance(each, types) for each in chain[:-1])}
    inside.update(name for name, field in FIELDS.items() if field in fields)
    start, end = around.spans.get(_outermost(chain), (1, max(1, around.source.count("\n"))))
    blocks = sum(isinstance(each, (ast.If, ast.For, ast.While, ast.With, ast.Try)) for each in chain[:-1])
    row = [
        *_kind(chain[-1]), *_kind(chain[-2] if len(chain) > 1 else around.root),
        *(float(each in inside) for each in (*INSIDE, *FIELDS)),
        len(chain) / 10, blocks / 4, (edit.line - start) / max(1, end - start), float(edit.function == around.entry),
        float(edit.line >= end),
    ]  # fmt: skip
    return np.array(row, np.float32), frozenset(inside)


def _outermost(chain: Sequence[ast.AST]) -> str:
    return next((each.name for each in chain if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))), "")


def _chain(root: ast.AST, path: Path) -> tuple[list[ast.AST], set[str]]:
    """The nodes from the module to the one at the end of a path; the last step may lie behind the end of a list."""
    chain, fields = [root], set()
    node: object = root
    for step in path:
        if isinstance(step, str):
            fields.add(step)
            node = getattr(node, step)
        elif isinstance(node, list):
            node = node[min(step, len(node) - 1)]
        if isinstance(node, ast.AST):
            chain.append(node)
    return chain, fields


def _kind(node: ast.AST) -> list[float]:
    found = next(name for name, types in NODES.items() if isinstance(node, types))
    return [float(name == found) for name in NODES]


@lru_cache(maxsize=8192)
def _value(text: str) -> int:
    """Which of VALUES a piece of code is."""
    words = tokens(text)
    if not words:
        return 4
    if len(words) > 1 and not (len(words) == 2 and words[0] == "-"):
        return 5
    last = words[-1]
    if last in {"True", "False", "None"}:
        return 2
    return 1 if last[0] in "'\"" else 0 if last[0].isdigit() else 3 if NAME.match(last) else 5


def _change(around: _Surroundings, edit: Edit) -> list[float]:
    old, new = tokens(edit.before), tokens(edit.after)
    more, less = [each for each in new if each not in old], [each for each in old if each not in new]
    one, two = _value(edit.before), _value(edit.after)
    row = [0.0] * (2 * len(VALUES))
    row[one] = row[len(VALUES) + two] = 1.0
    count = max(1, len(more))
    context = (*tokens(around.source[max(0, edit.start - 24) : edit.start])[-2:], *new[:30],
               *tokens(around.source[edit.end : edit.end + 24])[:2])  # fmt: skip
    trigrams = list(zip(context, context[1:], context[2:], strict=False))
    first, second = around.kinds.get(edit.before, UNKNOWN), around.kinds.get(edit.after, UNKNOWN)
    named = one == two == 3
    row += [
        (len(edit.after) - len(edit.before)) / 20, log1p(len(old)) / 3, log1p(len(new)) / 3,
        (edit.before.count("\n") + edit.after.count("\n")) / 4, float(not more), float(not less), len(more) / 5,
        sum(each in around.words for each in more) / count, sum(each in around.stated for each in more) / count,
        sum(each in around.stated for each in less) / max(1, len(less)),
        sum(log1p(around.words[each]) for each in more) / count / 4,
        sum(each in around.trigrams for each in trigrams) / max(1, len(trigrams)),
        float(any(each in around.unused for each in more)), float(any(around.reads[each] == 1 for each in less)),
        _likeness(edit.before, edit.after) if named else 0.0, float(bool(first) and first == second),
        float(bool(first and second) and first != second),
    ]  # fmt: skip
    return row


@lru_cache(maxsize=8192)
def _likeness(one: str, two: str) -> float:
    """Dice's coefficient of the pairs of letters of two names (1945)."""
    pairs, others = ({name[at : at + 2] for at in range(len(name) - 1)} or {name} for name in (one, two))
    return 2 * len(pairs & others) / (len(pairs) + len(others))


def _said(problems: Sequence[str]) -> tuple[float, float, float, frozenset[str], str]:
    """Shares of the tests that raised, answered wrongly and timed out; words of the messages; all of them."""
    many = max(1, len(problems))
    raised = sum(each.startswith("raised") for each in problems) / many
    wrong = sum(each == "failed" for each in problems) / many
    late = sum(each == "timed out" for each in problems) / many
    text = " ".join(dict.fromkeys(problems))
    return raised, wrong, late, frozenset(re.findall(r"'(\w+)'", text)), text


def _tests(
    around: _Surroundings, edit: Edit, inside: frozenset[str],
    said: tuple[float, float, float, frozenset[str], str], ordered: Mapping[int, int],
) -> list[float]:  # fmt: skip
    raised, wrong, late, named, text = said
    value = min(1.0, around.suspicion.get(edit.line, 0.0))
    place = ordered.get(edit.line, len(ordered))
    return [
        value, float(bool(ordered) and place == 0), place / max(1, len(ordered)),
        float(bool(ordered) and edit.line not in ordered), raised, wrong, late,
        float(bool(named) and any(each in named for each in (*tokens(edit.before), *tokens(edit.after)))),
        float("IndexError" in text and ("subscript" in inside or "iterable" in inside)),
        float("TypeError" in text and ("call" in inside or "(" in edit.after)),
        float("NameError" in text and _value(edit.before) == 3), float(late > 0 and "loop" in inside),
        float(wrong > 0 and _value(edit.before) in {0, 1, 2}),
    ]  # fmt: skip
