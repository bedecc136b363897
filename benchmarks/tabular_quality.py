"""How good the policies are that tabular learners reach, against the exact optimum, over seeds with 95 % intervals.

Every policy is evaluated exactly, within the same limit of decisions a session. ICU-Sepsis needs the folder that
BONDHU_DATA names; without it its rows are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from benchmarks.report import Row, main
from bondhu import screen
from bondhu.domains.probes.markov import Markov, from_table
from bondhu.equations.intervals import t_quantile
from bondhu.equations.planning import best_within, values_within
from bondhu.learners import build
from bondhu.policies.drawing import evenly
from bondhu.train.simulate import simulate
from bondhu.types import Batch, Booleans, Floats, Policy
from examples.icu_sepsis.model import DEATH, Model, Table, data_folder

SEEDS = range(100, 105)  # settings were chosen on seeds from 200 on
ADMISSIONS = 50_000  # in one log
PART = 5_000  # admissions that are played at once; the quick run has no more
LONGEST = 500  # decisions that the optimum of ICU-Sepsis looks ahead; admissions end within a few dozen
GREEDY = {"name": "epsilon_greedy", "epsilon": 0.0}


@dataclass(frozen=True)
class Method:
    """A learner, its hyper-parameters, and how long it learns."""

    name: str
    given: Mapping[str, Any]
    rounds: int  # updates
    sessions: int  # played between two of them


@dataclass(frozen=True)
class World:
    """A toy-text problem of Gymnasium, its goal, and what is tried on it; the first method is the one for the goal."""

    name: str
    limit: int  # decisions of a session
    goal: float
    best: Sequence[Method]
    others: Sequence[Method] = ()

    @cached_property
    def problem(self) -> Markov:
        env: Any = gymnasium.make(self.name).unwrapped
        return from_table(env.P, env.initial_state_distrib, self.limit)

    @cached_property
    def model(self) -> tuple[Floats, Floats]:
        """Chances to go on `[N, A, N]` and mean rewards `[N, A]`; nothing happens after an end."""
        on = ~self.problem.ends
        reward = np.einsum("sap,sap->sa", self.problem.transition, self.problem.reward)
        return self.problem.transition * on * on[:, None, None], reward * on[:, None]

    @cached_property
    def optimum(self) -> float:
        """What is earned by who knows the model and counts the decisions that are left."""
        return float(self.problem.start @ best_within(*self.model, self.limit))

    def worth(self, policy: Policy) -> float:
        """What a policy earns in a session, exactly: backward induction over the limit."""
        chosen = policy.distribution(np.arange(len(self.problem.start))[:, None], self.problem.allowed)
        return float(self.problem.start @ values_within(*self.model, chosen, self.limit))

    def learned(self, method: Method, seed: int) -> Policy:
        """The greedy policy after all rounds of playing with the learner's exploration and updating."""
        rng, learner = np.random.default_rng(seed), build(f"tabular.{method.name}", method.given)
        state = learner.init(self.problem.spec, rng)
        for _ in range(method.rounds):
            batch = self.problem.play(learner.policy(state, explore=True), method.sessions, rng)
            state, _ = learner.update(state, batch, rng)
        return learner.policy(state)


def alike(names: Sequence[str], given: Mapping[str, Any], rounds: int, sessions: int) -> list[Method]:
    """Methods with the same hyper-parameters and the same experience."""
    return [Method(name, given, rounds, sessions) for name in names]


def exploring(epsilon: float, decay: float = 1.0, minimum: float = 0.0) -> dict[str, Any]:
    return {"name": "epsilon_greedy", "epsilon": epsilon, "decay": decay, "minimum": minimum}


def curious(factor: float, known_after: int, initial_value: float) -> dict[str, Any]:
    """R-max: what is not known is worth a lot, and no chance is needed to explore.

    Where chance plays, what was unlucky in its first `known_after` tries is not tried again.
    """
    return {
        "discount": factor,
        "known_after": known_after,
        "initial_value": initial_value,
        "exploration": GREEDY,
    }


TEMPORAL = (
    *("q_learning", "q_lambda", "double_q_learning"),  # of the best policy
    *("expected_sarsa", "sarsa", "sarsa_lambda", "n_step_sarsa"),  # of the policy that acts
)
PLANNED = ("value_iteration", "policy_iteration")

# Exploration fades to nothing within the budget: what on-policy methods learn is then worth what their greedy policy
# earns. Steps fall where chance plays, or returns are averaged; they are small and constant where the world is certain.
# They must not be large: a policy stays as it is for a session at least, and what it repeats meanwhile is overlearned.
LAKE = {"discount": 0.99, "learning_rate": 1.0, "step_power": 0.6, "exploration": exploring(1.0, 0.9999)}
WIDE_LAKE = {**LAKE, "discount": 0.999, "step_power": 0.5}  # credit has further to go
TAXI = {"discount": 0.99, "learning_rate": 0.1, "exploration": exploring(1.0, 0.9995)}
CLIFF = {"discount": 1.0, "learning_rate": 0.1, "exploration": exploring(0.3, 0.998)}

# Returns vary more than one reward does. Where few random sessions reach the goal, exploring less shows it more often.
RETURNS_WIDE_LAKE = {**LAKE, "step_power": 0.8, "exploration": exploring(0.1)}
RETURNS_TAXI = {"discount": 0.99, "first_visit": False, "step_power": 0.5, "exploration": exploring(1.0, 0.9998)}
RETURNS_CLIFF = {**CLIFF, "learning_rate": 1.0, "step_power": 0.6}

WORLDS = (
    World(
        "FrozenLake-v1",
        100,
        0.73,
        alike(PLANNED[:1], curious(0.999, 10, 1.0), 20, 50),
        [
            *alike(PLANNED[1:], curious(0.999, 10, 1.0), 20, 50),
            Method("dyna_q", {**LAKE, "planning": 10, "remembered": 100}, 100, 200),
            *alike([*TEMPORAL, "monte_carlo"], LAKE, 200, 200),
        ],
    ),
    World(
        "FrozenLake8x8-v1",
        200,
        0.88,
        alike(PLANNED[:1], curious(0.999, 50, 1.0), 100, 100),
        [
            *alike(PLANNED[1:], curious(0.999, 50, 1.0), 100, 100),
            Method("dyna_q", {**WIDE_LAKE, "planning": 10, "remembered": 100}, 100, 150),
            *alike(TEMPORAL, WIDE_LAKE, 120, 400),
            Method("monte_carlo", RETURNS_WIDE_LAKE, 150, 400),
        ],
    ),
    World(
        "Taxi-v4",
        200,
        7.7,
        alike(PLANNED[:1], curious(0.99, 1, 20.0), 20, 20),
        [
            *alike(PLANNED[1:], curious(0.99, 1, 20.0), 20, 20),
            Method("dyna_q", {**TAXI, "planning": 10}, 150, 20),
            *alike(TEMPORAL, TAXI, 500, 25),
            Method("monte_carlo", RETURNS_TAXI, 500, 50),
        ],
    ),
    World(
        "CliffWalking-v1",
        200,
        -13.0,
        [Method("q_learning", {**CLIFF, "learning_rate": 0.5, "exploration": exploring(0.1)}, 300, 1)],
        [
            *alike(PLANNED, curious(1.0, 1, 0.0), 20, 1),
            Method("dyna_q", {**CLIFF, "planning": 10}, 100, 1),
            *alike(TEMPORAL, CLIFF, 400, 10),
            Method("monte_carlo", RETURNS_CLIFF, 400, 10),
        ],
    ),
)
SAFE = Method("sarsa", {**CLIFF, "exploration": exploring(0.1)}, 500, 1)


def measure(quick: bool) -> list[Row]:
    seeds = SEEDS[:2] if quick else SEEDS
    worlds: Sequence[World] = [shortened(world) for world in WORLDS] if quick else WORLDS
    rows = [row for world in worlds for row in rows_of(world, seeds)]
    safe = shorter(SAFE) if quick else SAFE
    return [*rows, safe_path(worlds[-1], safe, seeds), *through_gymnasium(worlds[0], quick), *sepsis(seeds, quick)]


def shortened(world: World) -> World:
    """For the quick run: two methods, each with a tenth of its rounds."""
    return replace(world, best=[*map(shorter, world.best)], others=[*map(shorter, world.others[:1])])


def shorter(method: Method) -> Method:
    return replace(method, rounds=max(method.rounds // 10, 1))


def rows_of(world: World, seeds: Sequence[int]) -> Iterator[Row]:
    """What each method earns in a session."""
    for method in [*world.best, *world.others]:
        promised = method in world.best
        label = f"{world.name}: {method.name}, {method.rounds * method.sessions:,} episodes"
        worth = over_seeds(label, partial(learned_worth, world, method), seeds)
        yield row(label, worth, world, promised)


def learned_worth(world: World, method: Method, seed: int) -> float:
    return world.worth(world.learned(method, seed))


def row(label: str, worth: Floats, world: World, promised: bool) -> Row:
    name, value = f"{label}, {interval(worth)}", float(worth.mean())
    holds = value >= world.goal - 1e-9 if promised else None
    return Row(name, value, "return", f">= {world.goal:g}" if promised else "", holds, "optimum", world.optimum)


def over_seeds(label: str, worth: Callable[[int], float], seeds: Sequence[int]) -> Floats:
    with screen.console.status(f"{label} …"):
        return np.array([worth(seed) for seed in seeds])


def interval(worth: Floats) -> str:
    """Half of the 95 % interval of the mean."""
    half = t_quantile(0.975, len(worth) - 1) * worth.std(ddof=1) / len(worth) ** 0.5
    return f"± {half:.2g} ({len(worth)} seeds, worst {worth.min():.4g})"


def safe_path(world: World, safe: Method, seeds: Sequence[int]) -> Row:
    """Sarsa learns what exploring costs, and keeps off the edge (Sutton & Barto 2018, example 6.6)."""
    label = f"{world.name}: sarsa, {safe.rounds} episodes"
    kept = over_seeds(label, lambda seed: float(keeps_off(world.problem, world.learned(safe, seed))), seeds)
    share = 100 * float(kept.mean())
    return Row(f"{label}, its greedy path keeps off the edge", share, "% of seeds", ">= 80", share >= 80)


def keeps_off(problem: Markov, policy: Policy) -> bool:
    """Whether the way from the start to the goal never touches a place from which one step falls."""
    edge = (problem.transition * (problem.reward < -1.0)).sum(axis=(1, 2)) > 0
    place, steps = int(problem.start.argmax()), 0
    while not problem.ends[place] and steps < problem.limit:
        action = int(policy.distribution(np.array([[place]]), problem.allowed[:1]).argmax())
        place, steps = int(problem.transition[place, action].argmax()), steps + 1
        if edge[place] and not problem.ends[place]:
            return False
    return bool(problem.ends[place])


def through_gymnasium(world: World, quick: bool) -> list[Row]:
    """The same learner driven through Gymnasium's own vector environment, where its policy is also played."""
    method = world.best[0]
    env = gymnasium.make_vec(
        world.name, num_envs=50, vectorization_mode="sync", vector_kwargs={"autoreset_mode": AutoresetMode.NEXT_STEP}
    )
    rng, learner = np.random.default_rng(SEEDS[0]), build(f"tabular.{method.name}", method.given)
    state, sessions = learner.init(world.problem.spec, rng), 0
    for _ in range(method.rounds):
        batch = simulate(env, learner.policy(state, explore=True), 100, rng)
        state, _ = learner.update(state, batch, rng)
        sessions += finished(batch, world.limit)[0]
    policy = learner.policy(state)
    exact, (count, earned) = (
        world.worth(policy),
        finished(simulate(env, policy, 500 if quick else 5_000, rng), world.limit),
    )
    mean = earned / count
    error = (mean * (1 - mean) / count) ** 0.5  # returns are 0 or 1
    label = f"{world.name} by gymnasium.make_vec: {method.name}, {sessions:,} episodes"
    goal, optimum = f">= {world.goal:g}", world.optimum
    return [
        Row(f"{label}, 1 seed", exact, "return", goal, exact >= world.goal, "optimum", optimum),
        Row(
            f"{label}, then {count:,} more of the greedy policy",
            mean,
            "return",
            "exact ± 3 standard errors",
            abs(mean - exact) <= 3 * error,
            "the same policy, exactly",
            exact,
        ),
    ]


def finished(batch: Batch, limit: int) -> tuple[int, float]:
    """Sessions that ended, truly or at the limit, and what they earned."""
    length = np.bincount(batch.session)
    over = (np.bincount(batch.session, batch.discount == 0) > 0) | (length == limit)
    return int(over.sum()), float(np.bincount(batch.session, batch.reward)[over].sum())


# ----------------------------------------------------------------------------------------------------------- ICU-Sepsis


@dataclass(frozen=True)
class Ward:
    """How admissions were treated when the log was made, and what the learner is told of it."""

    name: str
    treatments: Floats  # [S, A] chances of those behind the log
    allowed: Booleans  # [S, A] what the learner may choose from
    goal: float | None
    methods: Sequence[tuple[str, Mapping[str, Any]]]  # what goes for the goal comes first


class Logs(NamedTuple):
    """One log a seed, of so many admissions."""

    seeds: Sequence[int]
    admissions: int

    def of(self, problem: Markov, treatments: Floats, seed: int) -> Batch:
        """Played in parts that fit the memory."""
        rng = np.random.default_rng(seed)
        return joined([problem.play(Table(treatments), PART, rng) for _ in range(self.admissions // PART)])


def wards(model: Model) -> list[Ward]:
    """From what the model was made for to what hides its structure: there, untried treatments act as others do."""
    with np.load(data_folder() / "dynamics.npz") as arrays:
        recorded = arrays["expert_policy"]
    admissible, every = model.admissible, np.ones_like(model.admissible)
    exact, unsure = {"discount": 1.0}, {"discount": 1.0, "sharing": 30.0, "support": 0.05}
    careful = {"discount": 1.0, "pessimism": 0.1}
    sweeping = {"discount": 1.0, "learning_rate": 1.0, "step_power": 0.8, "passes": 20}
    plain = [("value_iteration", exact), ("policy_iteration", exact), ("q_learning", sweeping)]
    guarded = [("value_iteration", unsure), ("value_iteration", careful), ("value_iteration", exact)]
    known = mixed(model.expert, admissible)
    return [
        Ward("admissible treatments", known, admissible, 0.86, [*plain, ("value_iteration", careful)]),
        Ward("same log, all 25 may be chosen", known, every, 0.86, plain),
        Ward("clinicians beyond the admissible, all 25", mixed(recorded, admissible), every, 0.86, guarded),
        Ward("exploration over all 25 as well, all 25", mixed(recorded, every), every, None, guarded),
    ]


def mixed(clinicians: Floats, explored: Booleans) -> Floats:
    """The clinicians' policy, with 30 % of treatments drawn evenly from those explored."""
    even = evenly(explored)
    return np.where(clinicians.sum(axis=1, keepdims=True) > 0, 0.7 * clinicians + 0.3 * even, even)


def sepsis(seeds: Sequence[int], quick: bool) -> list[Row]:
    """Expected survival after learning from one log a seed, without a discount."""
    try:
        model = Model.load()
    except FileNotFoundError as missing:
        screen.console.print(f"No rows of ICU-Sepsis: {missing}")
        return []
    on = np.arange(DEATH)
    values = best_within(model.transition[np.ix_(on, np.arange(25), on)], model.expected_reward[on], LONGEST)
    optimum = float(model.start[on] @ values)
    logs = Logs(seeds, PART if quick else ADMISSIONS)
    measured = [replace(ward, methods=ward.methods[:1]) for ward in wards(model)[:2]] if quick else wards(model)
    return [each for ward in measured for each in ward_rows(model, ward, optimum, logs)]


def ward_rows(model: Model, ward: Ward, optimum: float, logs: Logs) -> Iterator[Row]:
    """One row a method; all methods learn from the same logs."""
    ends = np.arange(len(model.start)) >= DEATH
    problem = Markov(model.transition, model.reward, model.start, ends, ward.allowed, limit=10_000, factor=1.0)
    label = f"ICU-Sepsis, {logs.admissions:,} admissions, {ward.name}"
    with screen.console.status(f"{label} …"):
        played = (logs.of(problem, ward.treatments, seed) for seed in logs.seeds)
        worth = np.array([learned_from(each, problem, ward.methods) for each in played])
    for number, (name, given) in enumerate(ward.methods):
        goal = ward.goal if number == 0 else None
        holds = None if goal is None else bool(worth[:, number].mean() >= goal)
        told = ", ".join(
            f"{key} {value:g}" for key, value in given.items() if key in {"pessimism", "sharing", "support"}
        )
        what = f"{label}: {name}{' with ' if told else ''}{told}, {interval(worth[:, number])}"
        promise = "" if goal is None else f">= {goal:g}"
        yield Row(what, float(worth[:, number].mean()), "survival", promise, holds, "optimum", optimum)


def joined(parts: Sequence[Batch]) -> Batch:
    """Batches one after the other, their sessions numbered on."""
    begins = np.cumsum([0, *(int(part.session[-1]) + 1 for part in parts)])
    moved = [replace(part, session=part.session + begin) for part, begin in zip(parts, begins, strict=False)]
    names = [each.name for each in fields(Batch) if each.name not in {"context", "objectives"}]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in moved]) for name in names}
    return Batch(**columns)


def learned_from(batch: Batch, problem: Markov, methods: Sequence[tuple[str, Mapping[str, Any]]]) -> list[float]:
    """What the greedy policy of each method is worth, exactly."""
    worth = []
    for name, given in methods:
        rng, learner = np.random.default_rng(0), build(f"tabular.{name}", given)
        state, _ = learner.update(learner.init(problem.spec, rng), batch, rng)
        worth.append(problem.worth(learner.policy(state)))
    return worth


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    main("tabular_quality", measure)
