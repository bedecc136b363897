"""What an attempt at a task is worth: components with weights, each of them reported.

Rewards are made of what the host observed: tests judged outside of the sandbox, how the program ended, its processor
time and memory. What a program says of itself earns nothing. Where the sandbox itself is broken there is an error
(`SandboxUnavailable`) and no reward.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import fsum, isfinite
from pathlib import Path
from typing import Any, Literal

from bondhu.domains.coding.cheating import Report
from bondhu.domains.coding.quality import Quality
from bondhu.domains.coding.shaping import price, progress
from bondhu.domains.coding.testing import Judgement
from bondhu.errors import InvalidInput, SettingsInvalid, nearest
from bondhu.sandbox.program import Ended

Completion = Literal["solved", "partial", "failed", "timeout"]
TABLE = "reward"
LEAST_TIME = 0.005  # seconds: shorter run times differ by noise
LEAST_MEMORY = 32 * 1024  # KiB: the interpreter takes half of it by itself


@dataclass(frozen=True)
class Weights:
    """What each component is worth, as in the table [reward] of a TOML file.

    A time-out costs less than a failure: where an agent can choose to hang, it gains by that. Set `timeout` to `failed`
    there.
    """

    tests: float = 1.0  # times (passed - not passed): each test counts +1 or -1
    completion: float = 1.0  # times one of the next four
    solved: float = 10.0  # every test passed, and every held-out one where there are any
    partial: float = 5.0  # more than the source as it was found: of the held-out tests where there are any
    failed: float = -5.0
    timeout: float = -2.0  # it was stopped, whatever it passed before: those count as tests
    readability: float = 0.25  # this and the next six times a score in [0, 1], and only of a solution
    complexity: float = 0.25
    style: float = 0.25
    security: float = 0.25
    run_time: float = 1.0
    memory: float = 0.5
    tokens: float = -0.1  # for a thousand
    cost: float = -1.0  # for one unit of money
    invalid: float = -1.0  # where the source does not parse
    cheating: float = -5.0  # where it is proven; suspicion costs nothing
    progress: float = 1.0  # times the shaping F of the share of tests passed
    operations: Mapping[str, float] = field(default_factory=dict)  # name to reward for each time; negative: a cost


@dataclass(frozen=True)
class Attempt:
    """What is known of one attempt at a task."""

    passed: tuple[bool, ...]  # the visible tests
    held_out: tuple[bool, ...] = ()
    ended: Ended = "done"
    before: float = 0.0  # share passed by the source as it was found, of the held-out tests or else the visible ones
    quality: Quality | None = None
    cpu: float | None = None  # seconds
    memory: int | None = None  # KiB
    reference_cpu: float | None = None  # seconds of the reference solution, on the same tests and machine
    reference_memory: int | None = None  # KiB
    tokens: int = 0
    cost: float = 0.0  # money
    operations: Mapping[str, int] = field(default_factory=dict)  # name to how many
    cheated: bool = False  # proven, see `cheating`


@dataclass(frozen=True)
class Reward:
    """The sum, and what it is made of."""

    total: float
    components: Mapping[str, float]

    def __add__(self, other: Reward) -> Reward:
        names = [*self.components, *(name for name in other.components if name not in self.components)]
        return _summed({name: self.components.get(name, 0.0) + other.components.get(name, 0.0) for name in names})


def attempt(visible: Judgement, held_out: Judgement | None = None, report: Report | None = None) -> Attempt:
    """What the host saw of a program, as an attempt; the rest can be put in with `dataclasses.replace`."""
    stopped = "timed out" in visible.problems  # also where a test runs by itself
    return Attempt(
        visible.passed,
        held_out.passed if held_out else (),
        "wall" if stopped and visible.outcome.ended == "done" else visible.outcome.ended,
        cpu=visible.outcome.cpu,
        memory=visible.outcome.memory,
        cheated=report is not None and report.cheated,
    )


def completion(attempt: Attempt) -> Completion:
    """How far an attempt came. One that is proven to cheat has failed; what is held out cannot be learned by heart."""
    if attempt.cheated:
        return "failed"
    if all(attempt.passed) and all(attempt.held_out):
        return "solved"
    if attempt.ended in ("cpu", "wall"):
        return "timeout"
    return "partial" if share(attempt.held_out or attempt.passed) > attempt.before else "failed"


def reward(attempt: Attempt, weights: Weights | None = None) -> Reward:
    """The reward at the end of an attempt.

    A solution that wins by being short or quick has to be one: quality and efficiency are paid for it alone. Raises
    InvalidInput where no test was judged, since nothing is known then, and for amounts below 0.
    """
    weights = weights or Weights()
    _checked(attempt)
    came = completion(attempt)
    right = 0 if attempt.cheated else sum(attempt.passed)
    components = {
        "tests": weights.tests * (2 * right - len(attempt.passed)),
        "completion": weights.completion * getattr(weights, came),
        "tokens": weights.tokens * attempt.tokens / 1000,
        "cost": weights.cost * attempt.cost,
        "operations": price(attempt.operations, weights.operations),
        "invalid": weights.invalid if attempt.ended == "invalid" else 0.0,
        "cheating": weights.cheating if attempt.cheated else 0.0,
    }
    scores = _scores(attempt) if came == "solved" else {}
    return _summed(components | {name: getattr(weights, name) * score for name, score in scores.items()})


def step(
    before: float,
    after: float | None,
    discount: float,
    operations: Mapping[str, int] | None = None,
    weights: Weights | None = None,
) -> Reward:
    """The reward of one step on the way: shaping by the shares of tests passed, and the price of what was done.

    `after` is None at the last step of an episode, to which `reward` is added.
    """
    weights = weights or Weights()
    return _summed(
        {
            "progress": weights.progress * progress(before, after, discount),
            "operations": price(operations or {}, weights.operations),
        }
    )


def share(passed: tuple[bool, ...]) -> float:
    """Share of tests passed; 0 where there are none."""
    return sum(passed) / len(passed) if passed else 0.0


def efficiency(used: float, reference: float, least: float) -> float:
    """min(1, reference/used): 1 for as little as the reference. Both count as `least` at least, so that noise does not
    pay."""
    return min(1.0, max(reference, least) / max(used, least))


def from_table(table: Mapping[str, Any]) -> Weights:
    """Weights from a table; raises SettingsInvalid naming the key, its value and the nearest name."""
    known = [each.name for each in fields(Weights)]
    for name, value in table.items():
        if name not in known:
            what = f"[{TABLE}] has an unknown weight {name!r}."
            raise SettingsInvalid(what, field=name, value=value, fix=nearest(name, known))
        if name != "operations":
            _number(f"{TABLE}.{name}", value)
    operations = table.get("operations", {})
    if not isinstance(operations, Mapping):
        what = f"{TABLE}.operations is {operations!r}."
        raise SettingsInvalid(what, field="operations", value=operations, fix="Give a table of names and rewards.")
    for name, value in operations.items():
        _number(f"{TABLE}.operations.{name}", value)
    return Weights(**table)


def load(path: Path) -> Weights:
    """Weights from the table [reward] of a TOML file, where it has one."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} is not TOML: {error}.", fix="Mend that line.") from error
    except OSError as error:
        raise SettingsInvalid(f"{path} cannot be read: {error.strerror}.", fix="Name a readable file.") from error
    table = tables.get(TABLE, {})
    if not isinstance(table, Mapping):
        raise SettingsInvalid(f"{TABLE} in {path} is {table!r}.", field=TABLE, value=table, fix="Make it a table.")
    return from_table(table)


def _number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise SettingsInvalid(f"{name} is {value!r}.", field=name, value=value, fix="Give a finite number.")


def _checked(attempt: Attempt) -> None:
    if not attempt.passed:
        raise InvalidInput("An attempt without a test result.", field="passed", fix="Judge it first.")
    for name in ("before", "tokens", "cost"):
        value = getattr(attempt, name)
        if not (isfinite(value) and value >= 0):
            raise InvalidInput(f"An attempt with {name} {value!r}.", field=name, value=value, fix="Count from 0.")


def _scores(attempt: Attempt) -> dict[str, float]:
    """Component to score in [0, 1], where it was measured."""
    scores: dict[str, float] = {}
    if attempt.quality is not None:
        scores |= attempt.quality.scores
    if attempt.cpu is not None and attempt.reference_cpu is not None:
        scores["run_time"] = efficiency(attempt.cpu, attempt.reference_cpu, LEAST_TIME)
    if attempt.memory is not None and attempt.reference_memory is not None:
        scores["memory"] = efficiency(attempt.memory, attempt.reference_memory, LEAST_MEMORY)
    return scores


def _summed(components: Mapping[str, float]) -> Reward:
    return Reward(fsum(components.values()), {name: value + 0.0 for name, value in components.items()})  # never -0.0
