"""How hard a task looks, as numbers that cost nothing, and stages from easy to hard for a curriculum."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bondhu.domains.coding.tasks import Task
from bondhu.errors import InvalidInput

FEATURES = ("lines", "nodes", "branches", "loops", "complexity", "tests", "failing")
BRANCHES = (ast.If, ast.IfExp, ast.match_case, ast.ExceptHandler)
LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.comprehension)


def features(task: Task, failing: float = 1.0) -> NDArray[np.float64]:
    """The numbers of `FEATURES`, in that order, of the program as the agent finds it; where it is only a signature, of
    the solution, which says how much is to be written.

    `failing`: share of the tests that fail at first, in [0, 1]; 1 where nobody has looked. A program that does not
    parse has lines and tests only. Raises InvalidInput for another share.
    """
    if not 0.0 <= failing <= 1.0:
        raise InvalidInput(f"A share of {failing}.", field="failing", value=failing, fix="Give one from 0 to 1.")
    tree = _parsed(task.source)
    source = task.source
    if task.solution is not None and (tree is None or _is_empty(tree)):
        source, tree = task.solution, _parsed(task.solution)
    nodes = list(ast.walk(tree)) if tree else []
    branches = sum(isinstance(node, BRANCHES) for node in nodes)
    loops = sum(isinstance(node, LOOPS) for node in nodes)
    lines = sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in source.splitlines())
    return np.array([lines, len(nodes), branches, loops, complexity(nodes), len(task.tests), failing], np.float64)


def complexity(nodes: Sequence[ast.AST]) -> int:
    """Ways through the program that do not follow from each other: decisions and 1 (McCabe 1976, IEEE TSE 2(4)).

    Each `and` or `or` between two conditions decides as well, as does a condition in a comprehension.
    """
    decisions = sum(isinstance(node, (*BRANCHES, *LOOPS, ast.Assert)) for node in nodes)
    decisions += sum(len(node.values) - 1 for node in nodes if isinstance(node, ast.BoolOp))
    return 1 + decisions + sum(len(node.ifs) for node in nodes if isinstance(node, ast.comprehension))


def stages(tasks: Sequence[Task], count: int, failing: Sequence[float] | None = None) -> list[list[Task]]:
    """The tasks in `count` stages of nearly one size, from easy to hard.

    A task is as hard as the mean of its ranks in the features, so that none counts more for its unit; equals stay in
    order. Raises InvalidInput where there are fewer tasks than stages.
    """
    if not 1 <= count <= len(tasks):
        what = f"{count} stages of {len(tasks)} tasks."
        raise InvalidInput(what, field="count", value=count, fix=f"Ask for 1 to {len(tasks)}.")
    shares = [1.0] * len(tasks) if failing is None else failing
    values = np.array([features(task, share) for task, share in zip(tasks, shares, strict=True)])  # [N, F]
    order = np.argsort(_ranks(values).mean(axis=1), kind="stable")
    return [[tasks[int(place)] for place in part] for part in np.array_split(order, count)]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of every value within its column, [N, F]; equals share the mean of their ranks."""
    below = (values[:, None, :] > values[None, :, :]).sum(axis=1)
    equal = (values[:, None, :] == values[None, :, :]).sum(axis=1)
    return np.asarray(below + (equal - 1) / 2, np.float64)


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _is_empty(tree: ast.Module) -> bool:
    """Whether there are no statements but signatures."""
    bodies = [each.body if isinstance(each, ast.FunctionDef) else [each] for each in tree.body]
    return all(isinstance(each, (ast.Pass, ast.Import, ast.ImportFrom)) for body in bodies for each in body)
