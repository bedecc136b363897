"""What kind of value an expression most likely has, from annotations, constants and the functions that are called.

A guess, so that edits that make no sense are not tried; where nothing is known, everything is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

UNKNOWN, NUMBER, TEXT, TRUTH, SEQUENCE = "", "number", "text", "truth", "sequence"
FUNCTIONS = {
    **dict.fromkeys(("len", "int", "float", "ord", "round", "pow", "ceil", "floor", "sqrt", "gcd", "index", "rindex",
                     "find", "rfind", "count"), NUMBER),
    **dict.fromkeys(("str", "chr", "bin", "hex", "oct", "join", "lower", "upper", "strip", "lstrip", "rstrip", "repr",
                     "replace", "capitalize", "title", "swapcase", "format", "hexdigest", "zfill", "input"), TEXT),
    **dict.fromkeys(("any", "all", "bool", "isinstance", "isdigit", "isalpha", "isalnum", "isupper", "islower",
                     "isspace", "startswith", "endswith", "issubset", "issuperset"), TRUTH),
    **dict.fromkeys(("sorted", "list", "set", "tuple", "dict", "range", "zip", "map", "filter", "reversed",
                     "enumerate", "split", "keys", "values", "items", "splitlines", "Counter"), SEQUENCE),
}  # fmt: skip
HINTS = {"int": NUMBER, "float": NUMBER, "complex": NUMBER, "str": TEXT, "bool": TRUTH,
         **dict.fromkeys(("list", "List", "set", "Set", "dict", "Dict", "tuple", "Tuple", "Iterable", "Sequence",
                          "Iterator", "Mapping"), SEQUENCE)}  # fmt: skip
DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
Kinds = Mapping[str, str]  # of variables


def kind(node: ast.expr | None, known: Kinds) -> str:
    """Of one expression."""
    match node:
        case ast.Constant():
            guess = _of_constant(node.value)
        case ast.Name():
            guess = known.get(node.id, UNKNOWN)
        case ast.Compare():
            guess = TRUTH
        case ast.JoinedStr():
            guess = TEXT
        case ast.UnaryOp():
            guess = TRUTH if isinstance(node.op, ast.Not) else NUMBER
        case ast.BinOp():
            guess = _of_operation(node, known)
        case ast.Call():
            guess = FUNCTIONS.get(getattr(node.func, "attr", getattr(node.func, "id", "")), UNKNOWN)
        case _:
            guess = SEQUENCE if isinstance(node, DISPLAYS) else _of_part(node, known)
    return guess


def _of_part(node: ast.expr | None, known: Kinds) -> str:
    if isinstance(node, ast.Subscript):
        whole = kind(node.value, known)
        return whole if isinstance(node.slice, ast.Slice) or whole == TEXT else UNKNOWN
    if isinstance(node, ast.IfExp):
        return kind(node.body, known) or kind(node.orelse, known)
    return UNKNOWN


def _of_constant(value: object) -> str:
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, (int, float, complex)):
        return NUMBER
    return TEXT if isinstance(value, str) else UNKNOWN


def _of_operation(node: ast.BinOp, known: Kinds) -> str:
    sides = (kind(node.left, known), kind(node.right, known))
    if isinstance(node.op, (ast.Sub, ast.Div, ast.FloorDiv, ast.Pow)):
        return UNKNOWN if SEQUENCE in sides else NUMBER
    for each in (TEXT, SEQUENCE):
        if each in sides:
            return each
    return NUMBER if NUMBER in sides else UNKNOWN


def hint(annotation: ast.expr | None) -> str:
    """Of an annotation such as `list[int]` or `str`."""
    while isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    return HINTS.get(getattr(annotation, "id", ""), UNKNOWN)


def kinds(function: ast.FunctionDef | ast.AsyncFunctionDef, nodes: Iterable[ast.AST]) -> dict[str, str]:
    """Of the variables of a function: the first guess that something in it allows."""
    arguments = function.args
    found = {
        each.arg: hint(each.annotation) for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    }
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _note(found, target, kind(node.value, found))
        elif isinstance(node, ast.AugAssign):
            _note(found, node.target, kind(node.value, found))
        elif isinstance(node, (ast.For, ast.comprehension)):
            _note_loop(found, node.target, node.iter)
        elif isinstance(node, ast.BinOp):
            strict = isinstance(node.op, (ast.Sub, ast.Div, ast.FloorDiv, ast.Pow))
            for each, other in ((node.left, node.right), (node.right, node.left)):
                counted = isinstance(node.op, (ast.Add, ast.Mod)) and kind(other, found) == NUMBER
                _note(found, each, NUMBER if strict or counted else UNKNOWN)
        elif isinstance(node, ast.Compare) and kind(node.comparators[0], found) == NUMBER:
            _note(found, node.left, NUMBER)
    return {name: each for name, each in found.items() if each}


def _note(found: dict[str, str], target: ast.expr, guess: str) -> None:
    if isinstance(target, ast.Name) and guess and not found.get(target.id):
        found[target.id] = guess


def _note_loop(found: dict[str, str], target: ast.expr, over: ast.expr) -> None:
    called = over.func.id if isinstance(over, ast.Call) and isinstance(over.func, ast.Name) else ""
    if called == "enumerate" and isinstance(target, ast.Tuple):
        _note(found, target.elts[0], NUMBER)
    else:
        _note(found, target, NUMBER if called == "range" else TEXT if kind(over, found) == TEXT else UNKNOWN)
