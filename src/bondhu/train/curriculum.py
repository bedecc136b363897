"""What to practise next: stages that become harder, or levels from which there is most to learn.

Both are asked before a phase and told afterwards. What they know is a small frozen record that a checkpoint can keep.

    course = Course(Stages((Stage("MiniGrid-MultiRoom-N2-S4-v0"), Stage("MiniGrid-MultiRoom-N4-S5-v0"))), count=16)
    simulation = course.simulation(rng)             # the present stage, or now and then an earlier one
    batch = simulation.play(policy, steps, rng)
    course.tell(simulation.finished())
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from bondhu.catalogue import require
from bondhu.envs.make import make
from bondhu.equations.returns import returns_to_go
from bondhu.errors import InvalidInput, nearest
from bondhu.train.simulate import Simulation
from bondhu.train.trace import Episode
from bondhu.types import Array, Batch, Beliefs, Booleans, Floats, Integers

Vector = VectorEnv[Any, Any, Any]

# ------------------------------------------------------------------------------------------------------------- stages


@dataclass(frozen=True)
class Stage:
    """One environment to practise in."""

    environment: str  # as `envs.make` takes it
    options: Mapping[str, Any] = field(default_factory=dict)  # of the environment


@dataclass(frozen=True)
class Standing:
    """How far somebody has come."""

    stage: int = 0
    recent: tuple[float, ...] = ()  # results of the last episodes of this stage, the newest last


@dataclass(frozen=True)
class Stages:
    """Environments, the easiest first. The next one comes when the last `episodes` reach `threshold` on average."""

    stages: Sequence[Stage]
    threshold: float = 0.7  # of the success rate where environments tell it, else of the mean return
    episodes: int = 100  # that are looked at
    kept: float = 0.1  # share of phases that practise an earlier stage, so that it is not forgotten

    def __post_init__(self) -> None:
        if not self.stages:
            raise InvalidInput("A curriculum needs a stage.", field="stages", fix="List at least one environment.")
        if self.episodes < 1:
            raise InvalidInput("At least one episode must be looked at.", field="episodes", value=self.episodes)
        if not 0.0 <= self.kept < 1.0:
            fix = "Give a share from 0 to less than 1."
            raise InvalidInput(f"'kept' got {self.kept!r}.", field="kept", value=self.kept, fix=fix)

    def after(self, standing: Standing, finished: Sequence[Episode]) -> Standing:
        """Where these episodes of the present stage lead to; one stage further at most."""
        results = [each.total_reward if each.success is None else float(each.success) for each in finished]
        recent = (*standing.recent, *results)[-self.episodes :]
        last = standing.stage + 1 == len(self.stages)
        if last or len(recent) < self.episodes or float(np.mean(recent)) < self.threshold:
            return replace(standing, recent=recent)
        return Standing(standing.stage + 1)

    def chosen(self, standing: Standing, rng: np.random.Generator) -> int:
        """The stage to practise now: the present one, or any earlier one with chance `kept` in all."""
        if standing.stage and rng.random() < self.kept:
            return int(rng.integers(standing.stage))
        return standing.stage


class Course:
    """Stages being practised. Each keeps its own environments, which go on where they stopped."""

    def __init__(
        self,
        stages: Stages,
        count: int = 8,
        *,
        made: Callable[[Stage, int], Vector] | None = None,
        opened: Callable[[Vector], Simulation] = Simulation,
    ) -> None:
        """`count` environments side by side, made by `made`, or by `envs.make`. The caller closes. `opened` as in
        `Practice`."""
        self.stages, self.standing = stages, Standing()
        self._made = made or (lambda stage, count: make(stage.environment, count, options=stage.options))
        self._count, self._simulation = count, opened
        self._open: dict[int, Simulation] = {}
        self._practised = 0

    def simulation(self, rng: np.random.Generator) -> Simulation:
        """What to play in the next phase. Raises InvalidInput where a stage is seen or acted in otherwise than the
        first: what was learned could not be used there."""
        self._practised = self.stages.chosen(self.standing, rng)
        return self._opened(self._practised)

    def tell(self, finished: Sequence[Episode]) -> bool:
        """The episodes that ended in the phase; those of earlier stages do not count. Whether a stage was taken."""
        before = self.standing
        if self._practised == before.stage:
            self.standing = self.stages.after(before, finished)
        return self.standing.stage > before.stage

    def close(self) -> None:
        """Close every environment that was opened; what is practised next begins anew."""
        for simulation in self._open.values():
            simulation.env.close()
        self._open = {}

    def _opened(self, stage: int) -> Simulation:
        if stage not in self._open:
            env = self._made(self.stages.stages[stage], self._count)
            found = self._simulation(env)
            first = self._opened(0).spec if stage else found.spec
            if (found.spec.observation, found.spec.action) != (first.observation, first.action):
                env.close()
                raise _otherwise(self.stages, stage, found.spec, first)
            self._open[stage] = found
        return self._open[stage]


def stages_of(table: Mapping[str, Any]) -> Stages:
    """From plain data, such as a preset's. Raises InvalidInput, with the nearest name, for what stages do not have."""
    parts = [_known(Stage, "stages", each) for each in table.get("stages", ())]
    return Stages(**{**_known_names(Stages, "curriculum", table), "stages": tuple(parts)})


def _known(kind: type[Stage], name: str, table: Mapping[str, Any]) -> Stage:
    return kind(**_known_names(kind, name, table))


def _known_names(kind: type[Any], name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    there = [each.name for each in fields(kind)]
    for key, value in table.items():
        if key not in there:
            raise InvalidInput(f"{name!r} has {key!r}.", field=f"{name}.{key}", value=value, fix=nearest(key, there))
    return dict(table)


def _otherwise(stages: Stages, stage: int, found: Any, first: Any) -> InvalidInput:
    names = stages.stages[stage].environment, stages.stages[0].environment
    what = "observed" if found.observation != first.observation else "acted in"
    return InvalidInput(
        f"Stage {stage + 1}, {names[0]!r}, is {what} otherwise than stage 1, {names[1]!r}.",
        field="stages",
        value=names[0],
        fix="All stages must have the same observation and action space.",
    )


# ------------------------------------------------------------------------------------------------------------- levels


@dataclass(frozen=True, eq=False)
class Scores:
    """What is known of L levels."""

    score: Floats  # [L] learning potential when last played
    last: Integers  # [L] when that was, counted in draws; -1: never
    draws: int  # so far


@dataclass(frozen=True)
class LevelReplay:
    """Prioritised level replay (Jiang, Grefenstette & Rocktäschel 2021; arXiv 2010.03934): levels never played come up
    in the share that they have; the others by the rank of their score and by how long ago they were played."""

    levels: tuple[int, ...]  # seeds of the environment
    temperature: float = 0.1  # β: near 0 only the best rank, large all alike
    staleness: float = 0.1  # ρ, share of draws that go by how long ago it was

    def __post_init__(self) -> None:
        require(self, 1e-3, math.inf, "temperature")
        require(self, 0.0, 1.0, "staleness")
        if not self.levels:
            raise InvalidInput("There are no levels.", field="levels", fix="List at least one seed.")

    def begun(self) -> Scores:
        """Nothing played yet."""
        count = len(self.levels)
        return Scores(np.zeros(count), np.full(count, -1), 0)

    def chances(self, known: Scores) -> Floats:
        """With what chance each level is drawn next: `[L]`."""
        seen = known.last >= 0
        share = seen.mean()
        fresh: Floats = np.where(seen, 0.0, 1.0) / max((~seen).sum(), 1)
        if not seen.any():
            return fresh
        rank = np.empty(int(seen.sum()))
        rank[np.argsort(-known.score[seen], kind="stable")] = np.arange(1, len(rank) + 1)
        best = np.exp(-np.log(rank) / self.temperature)
        old = (known.draws - known.last[seen]).astype(float)
        replayed = np.zeros(len(seen))
        replayed[seen] = (1 - self.staleness) * best / best.sum() + self.staleness * old / old.sum()
        chances: Floats = share * replayed + (1 - share) * fresh
        return chances

    def drawn(self, known: Scores, rng: np.random.Generator) -> tuple[int, Scores]:
        """The seed of the level to play now."""
        place = int(rng.choice(len(self.levels), p=self.chances(known)))
        last = known.last.copy()
        last[place] = known.draws
        return self.levels[place], replace(known, last=last, draws=known.draws + 1)

    def after(self, known: Scores, level: Integers, score: Floats) -> Scores:
        """With what rows of these levels promised, `[T]` each: a level's score is their mean."""
        updated, levels = known.score.copy(), np.asarray(self.levels)
        for each in np.unique(level):
            updated[levels == each] = score[level == each].mean()
        return replace(known, score=updated)


def scores(batch: Batch, beliefs: Beliefs, discount: float = 0.99, decay: float = 0.95) -> Floats:
    """Learning potential of each row: |Σ_k (γλ)^k δ_{t+k}|, the size of its generalised advantage: `[T]` (Jiang et al.
    2021, equation 2). The value of a context is that of its best allowed action."""
    value, following = (
        np.where(allowed, beliefs(seen).value, -np.inf).max(axis=1)
        for seen, allowed in ((batch.observation, batch.allowed), (batch.next_observation, batch.next_allowed))
    )
    error = batch.reward + discount * batch.discount * following - value
    potential: Floats = np.abs(returns_to_go(error, batch.discount, batch.has_next, discount * decay))
    return potential


class Levels(VectorWrapper[Any, Any, Any, Any, Any]):
    """Environments whose every episode is a level: `draw` gives the seed it begins with.

    After each play, `played()` says which level every row of the Batch belongs to.
    """

    def __init__(self, one: Callable[[], gymnasium.Env[Any, Any]], count: int, draw: Callable[[], int]) -> None:
        self._drawn = [_Drawn(one(), draw) for _ in range(count)]
        opened: Any = SyncVectorEnv(
            [partial(_same, each) for each in self._drawn], autoreset_mode=AutoresetMode.NEXT_STEP
        )
        super().__init__(opened)
        self._begins: Booleans = np.zeros(count, bool)
        self._trail: list[tuple[Integers, Booleans]] = []

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin anew with newly drawn levels; `seed` decides nothing."""
        self._begins, self._trail = np.zeros(self.num_envs, bool), []
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: Array) -> tuple[Any, Floats, Array, Array, dict[str, Any]]:
        """One step; levels of environments that only begin anew are not rows."""
        self._trail.append((np.array([each.level for each in self._drawn]), ~self._begins))
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self._begins = terminated | truncated
        return observation, reward, terminated, truncated, info

    def played(self) -> Integers:
        """The level of every row since this was last asked, in the order of `Simulation.play`: `[T]`."""
        if not self._trail:
            return np.zeros(0, np.int64)
        levels, live = (np.stack(each, axis=1) for each in zip(*self._trail, strict=True))
        self._trail = []
        rows: Integers = levels[live]
        return rows


class Practice:
    """Levels being practised: `simulation(rng)` before a phase, `tell(batch, beliefs)` after it."""

    def __init__(
        self,
        replay: LevelReplay,
        one: Callable[[], gymnasium.Env[Any, Any]],
        count: int = 8,
        *,
        opened: Callable[[Vector], Simulation] = Simulation,
    ) -> None:
        """`count` environments made by `one`, side by side; the caller closes. `opened` plays them as the learner sees
        them: `partial(played_in, learner=learner)` of `train.simulate`, without which codes become features and a
        recurrent learner has no memory."""
        self.replay, self.known = replay, replay.begun()
        self._levels = Levels(one, count, self._draw)
        self._simulation = opened(self._levels)
        self._rng: np.random.Generator | None = None

    def simulation(self, rng: np.random.Generator) -> Simulation:
        """What to play in the next phase; levels are drawn with this generator."""
        self._rng = rng
        return self._simulation

    def tell(self, batch: Batch, beliefs: Beliefs) -> None:
        """What was played, and what the learner thought of it before it learned from it."""
        self.known = self.replay.after(self.known, self._levels.played(), scores(batch, beliefs))

    def close(self) -> None:
        """Close the environments."""
        self._levels.close()

    def _draw(self) -> int:
        assert self._rng is not None  # nothing is played before somebody has asked for the simulation
        level, self.known = self.replay.drawn(self.known, self._rng)
        return level


class _Drawn(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: gymnasium.Env[Any, Any], draw: Callable[[], int]) -> None:
        super().__init__(env)
        self._draw, self.level = draw, -1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        del seed  # the level says it
        self.level = self._draw()
        return self.env.reset(seed=self.level, options=options)


def _same(env: _Drawn) -> _Drawn:
    return env
