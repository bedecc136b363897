"""What somebody likes in code, from which of two edits they accepted: a weight for each feature of style, with how sure
it is, and a reward made of the weights.

    liked = learned([Pair(accepted, rejected), ...], Reviewer())
    print(liked.told())
    weights = liked.in_weights(Weights())            # the four scores of `quality`, weighed as this person weighs them
    earned = reward(attempt) + liked.paid(attempt, source, reference, Reviewer())  # or all features, as one component

The model is Bradley & Terry's (1952) with a normal prior (`equations.preferences`): inverse reinforcement learning of
one step. What it learns is style; whether an edit is right, the tests say.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bondhu.domains.coding.quality import Reviewer
from bondhu.domains.coding.reward import Attempt, Reward, Weights, completion
from bondhu.equations import preferences
from bondhu.equations.preferences import Normal
from bondhu.errors import InvalidInput
from bondhu.types import Floats, Integers

QUALITY = ("readability", "complexity", "style", "security")  # as `quality` scores them
FORM = ("documented", "annotated", "comprehensions", "brevity", "long names")
FEATURES = (*QUALITY, *FORM)  # each in [0, 1]
SPREAD = 5.0  # standard deviation of a weight beforehand: log-odds for a whole score more
LEVEL = 0.95  # of intervals
LONG_NAME = 12  # characters of a name that counts as long
LONG_BODY = 10  # statements at which brevity is a half
LOOPS = (ast.For, ast.While)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Pair(NamedTuple):
    """Two sources after different edits, of which somebody accepted one."""

    accepted: str
    rejected: str


class Weight(NamedTuple):
    """Of one feature: log-odds of being accepted for a whole score more."""

    name: str
    value: float
    error: float  # standard
    low: float  # of the interval at LEVEL
    high: float
    liked: float  # probability that more of it is preferred to less
    pairs: int  # in which it differed; 0: nothing was learned of it, and this is the prior


@dataclass(frozen=True)
class Preferences:
    """What was learned from pairs."""

    known: Normal  # of the weights
    names: tuple[str, ...]
    differing: Integers  # [F] in how many pairs each feature differed
    pairs: int

    @property
    def weights(self) -> tuple[Weight, ...]:
        """Of every feature, in the order of its name."""
        wide = NormalDist().inv_cdf(0.5 + LEVEL / 2)
        errors = np.sqrt(self.known.covariance.diagonal())
        rows = zip(self.names, self.known.mean.tolist(), errors.tolist(), self.differing.tolist(), strict=True)
        return tuple(
            Weight(
                name, value, error, value - wide * error, value + wide * error, NormalDist().cdf(value / error), many
            )
            for name, value, error, many in rows
        )

    def sure(self, one: Floats, other: Floats) -> float:
        """Probability that this person likes the first better on the whole; features `[F]` each."""
        return float(preferences.sure(self.known, one - other))

    def chance(self, one: Floats, other: Floats) -> float:
        """Probability that this person accepts the first of the two: not even one who likes it better always does."""
        return float(preferences.chance(self.known, one - other))

    def told(self) -> str:
        """A line for each feature, for people."""
        return "\n".join(_line(weight) for weight in self.weights)

    def in_weights(self, given: Weights) -> Weights:
        """The rewards with the four scores of `quality` weighed as learned, together as much as they were: Σ|w| stays.

        Where nothing was learned of them, as they were.
        """
        found = {weight.name: weight.value for weight in self.weights if weight.name in QUALITY}
        size = sum(map(abs, found.values()))
        if not size:
            return given
        scale = sum(abs(getattr(given, name)) for name in QUALITY) / size
        return replace(given, **{name: scale * value for name, value in found.items()})

    def paid(self, attempt: Attempt, source: str, reference: str, reviewer: Reviewer, worth: float = 1.0) -> Reward:
        """`worth` times the chance that a solution is accepted rather than the reference, as a component "preference".

        0 for what is no solution, so that style cannot stand for being right.
        """
        if completion(attempt) != "solved":
            return Reward(0.0, {"preference": 0.0})
        one, other = described([source, reference], reviewer)
        earned = worth * self.chance(one, other)
        return Reward(earned, {"preference": earned})


def learned(pairs: Sequence[Pair], reviewer: Reviewer, spread: float = SPREAD) -> Preferences:
    """From pairs of sources; without any, the prior."""
    accepted = described([pair.accepted for pair in pairs], reviewer)
    rejected = described([pair.rejected for pair in pairs], reviewer)
    return from_features(accepted, rejected, spread=spread)


def from_features(
    accepted: Floats, rejected: Floats, names: Sequence[str] = FEATURES, spread: float = SPREAD
) -> Preferences:
    """The same from features, `[N, F]` each. Raises InvalidInput for other shapes, and for what is no number."""
    if accepted.shape != rejected.shape or accepted.shape[1:] != (len(names),):
        what = f"Pairs of the shapes {accepted.shape} and {rejected.shape}."
        fix = f"Give {len(names)} features of as many accepted as rejected edits."
        raise InvalidInput(what, field="accepted", value=accepted.shape, fix=fix)
    for field, table in (("accepted", accepted), ("rejected", rejected)):
        if not np.isfinite(table).all():
            row, column = np.argwhere(~np.isfinite(table))[0].tolist()
            what = f"The {field} edit {row} has {names[column]!r} = {table[row, column]}."
            raise InvalidInput(what, field=field, value=float(table[row, column]), fix="Give a number.")
    if not spread > 0:
        raise InvalidInput(f"A spread of {spread}.", field="spread", value=spread, fix="Give one above 0.")
    known = preferences.posterior(preferences.pairs(accepted, rejected), preferences.prior(len(names), spread))
    return Preferences(known, tuple(names), (accepted != rejected).sum(axis=0), len(accepted))


def agreement(liked: Preferences, accepted: Floats, rejected: Floats) -> float:
    """Share of pairs, `[N, F]` each, in which what was accepted is what it says; equals count a half."""
    ahead = (accepted - rejected) @ liked.known.mean
    return float(np.mean((ahead > 0) + 0.5 * (ahead == 0)))


def described(sources: Sequence[str], reviewer: Reviewer) -> Floats:
    """FEATURES of every source, `[N, F]`; all 0 for one that does not parse."""
    rows = [[quality.scores[name] for name in QUALITY] for quality in reviewer.review(sources)]
    forms = [_form(source) for source in sources]
    table = [[*row, *form] if form else [0.0] * len(FEATURES) for row, form in zip(rows, forms, strict=True)]
    return np.array(table, np.float64).reshape(len(sources), len(FEATURES))


def _form(source: str) -> list[float]:
    """The numbers called FORM; none where the source does not parse."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return []
    functions = [node for node in nodes if isinstance(node, FUNCTIONS)]
    documented = [ast.get_docstring(each) is not None for each in functions]
    slots = [slot for each in functions for slot in (each.returns, *(of.annotation for of in _parameters(each)))]
    loops = sum(isinstance(node, LOOPS) for node in nodes)
    inline = sum(isinstance(node, COMPREHENSIONS) for node in nodes)
    statements = sum(isinstance(node, ast.stmt) for node in nodes)
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound.update(of.arg for each in functions for of in _parameters(each))
    return [
        _share(documented),
        _share([slot is not None for slot in slots]),
        inline / max(loops + inline, 1),
        1.0 / (1.0 + statements / LONG_BODY),
        _share([min(len(name) / LONG_NAME, 1.0) for name in sorted(bound)]),
    ]


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    given = function.args
    return [*given.posonlyargs, *given.args, *given.kwonlyargs]


def _share(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _line(weight: Weight) -> str:
    if not weight.pairs:
        return f"{weight.name}: nothing is known; it differed in no pair (0 ± {weight.error:.2f}, as assumed)."
    side, chance = ("more", weight.liked) if weight.value >= 0 else ("less", 1.0 - weight.liked)
    return (
        f"{weight.name}: {weight.value:+.2f} ± {weight.error:.2f} ({weight.low:+.2f} to {weight.high:+.2f}); "
        f"{side} is preferred with {chance:.1%}, from {weight.pairs} pairs."
    )
