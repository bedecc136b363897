"""What a repair is made of: the constants, conditions and functions that are at hand in a function and its docstring.

Repairs are mostly made of what the program already contains (Barr et al. 2014, "The plastic surgery hypothesis").
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from bondhu.domains.coding.kinds import NUMBER, kind, kinds
from bondhu.domains.coding.rendering import Renderer
from bondhu.domains.coding.scopes import Function, blocks
from bondhu.domains.coding.trees import Block, Path, Tree, is_text, joined, parameters

LONGEST = 12  # characters of a string in the text around that may be meant as a value
MOST = 12  # constants of each kind that are tried in a place
QUOTED = re.compile(r"\"([^\"\n]*)\"|'([^'\n]*)'")
DIGITS = re.compile(r"(?<![\w.])\d+(?!\w|\.\d)")
EXAMPLE = re.compile(r">>>.*\n\s*(?!>>>)(\S.*)|(?:==?>|➞|→|returns?|=)\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class View:
    """One function of a module as operators see it."""

    tree: Tree
    renderer: Renderer
    function: Function
    path: Path
    blocks: tuple[Block, ...]
    local: tuple[str, ...]  # its variables
    numbers: tuple[int, ...]  # in the function, then in its docstring
    texts: tuple[str, ...]
    quoted: tuple[str, ...]  # short strings of the docstring
    results: tuple[object, ...]  # constants that it returns, or that the examples of the docstring show
    conditions: tuple[ast.expr, ...]
    callables: dict[str, int] = field(default_factory=dict)  # other functions at hand: how many parameters
    tables: tuple[str, ...] = ()  # variables that are looked up by a key
    kinds: dict[str, str] = field(default_factory=dict)  # of variables, where they can be guessed

    @property
    def numeric(self) -> frozenset[str]:
        return frozenset(each for each, guess in self.kinds.items() if guess == NUMBER)

    def kind(self, node: ast.expr) -> str:
        return kind(node, self.kinds)


def view(tree: Tree, function: Function, path: Path, outer: tuple[str, ...], callables: dict[str, int]) -> View:
    """What is at hand in one function; `outer` are the variables of its module."""
    every = tuple(blocks(function, path, outer))
    nodes = [node for statement in function.body if not is_text(statement) for node in ast.walk(statement)]
    text = ast.get_docstring(function, clean=False) or ""
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    numbers = [each for each in constants if isinstance(each, int) and not isinstance(each, bool)]
    quoted = [first or second for first, second in QUOTED.findall(text)]
    inner = {node.name: arity(node) for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return View(
        tree, Renderer(tree), function, path, every,
        joined(parameters(function.args), [each.id for each in nodes if isinstance(each, ast.Name) and
                                           isinstance(each.ctx, ast.Store)]),
        tuple(dict.fromkeys([*numbers, *(int(each) for each in DIGITS.findall(text) if len(each) < 7)])),
        tuple(dict.fromkeys(each for each in constants if isinstance(each, str))),
        tuple(dict.fromkeys(each for each in quoted if len(each) <= LONGEST)),
        _results(nodes, text), _conditions(tree, nodes), {**callables, **inner}, _tables(nodes), kinds(function, nodes),
    )  # fmt: skip


def arity(function: Function) -> int:
    """How many parameters must be given by place."""
    arguments = function.args
    return len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)


def _results(nodes: list[ast.AST], text: str) -> tuple[object, ...]:
    values: list[object] = [node.value.value for node in nodes
                            if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant)]  # fmt: skip
    for first, second in EXAMPLE.findall(text):
        try:
            value = ast.literal_eval((first or second).strip().rstrip("."))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, (bool, int, str, type(None))) and len(repr(value)) <= LONGEST:
            values.append(value)
    return tuple({(type(each), each): each for each in values}.values())[:MOST]


def _conditions(tree: Tree, nodes: list[ast.AST]) -> tuple[ast.expr, ...]:
    """What the function asks somewhere: whole conditions and the terms of them."""
    found: list[ast.expr] = []
    for node in nodes:
        tests = (
            [node.test] if isinstance(node, (ast.If, ast.While, ast.IfExp, ast.Assert)) else getattr(node, "ifs", [])
        )
        for test in tests:
            found += [test, *(test.values if isinstance(test, ast.BoolOp) else ())]
    return tuple({tree.shape(each): each for each in found if not isinstance(each, ast.Constant)}.values())


def _tables(nodes: list[ast.AST]) -> tuple[str, ...]:
    found = [node.value.id for node in nodes if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)]
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Dict, ast.DictComp)):
            found += [each.id for each in node.targets if isinstance(each, ast.Name)]
    return tuple(dict.fromkeys(found))
